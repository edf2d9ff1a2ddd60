"""Exact spike times, and their exact gradients against finite differences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from neurosim.circuit.exact_events import LIMIT, exact_events
from neurosim.errors import InputError, ShapeError, UnitError
from tests.observed import observed

TAU_MEM, TAU_SYN = 20e-3, 5e-3
F64 = torch.float64


def two_layers(hidden=4, out=2, inputs=3, loops=False, seed=0):
    """Weights [N, n_in + N] of a net with a hidden and a second layer, delays, and input spikes."""
    generator = torch.Generator().manual_seed(seed)
    n = hidden + out
    weight, delay = torch.zeros(n, inputs + n, dtype=F64), torch.zeros(n, inputs + n, dtype=F64)
    weight[:hidden, :inputs] = 1.6 + 0.6 * torch.randn(hidden, inputs, generator=generator, dtype=F64)
    weight[hidden:, inputs : inputs + hidden] = 3.0 + 0.5 * torch.randn(out, hidden, generator=generator, dtype=F64)
    if loops:
        weight[:hidden, inputs : inputs + hidden] = 0.4 * torch.randn(hidden, hidden, generator=generator, dtype=F64)
    delay.uniform_(1e-3, 6e-3, generator=generator)
    times = torch.rand(12, generator=generator, dtype=F64) * 50e-3
    sources = torch.arange(12) % inputs
    return weight, delay, times, sources


def differences(loss, tensor: Tensor, step: float) -> Tensor:
    """Central differences of `loss` by each entry of `tensor` that is not 0."""
    found = torch.zeros_like(tensor)
    for place in itertools.product(*map(range, tensor.shape)):
        if tensor[place] == 0:
            continue
        ends = []
        for sign in (1, -1):
            moved = tensor.clone()
            moved[place] += sign * step
            ends.append(float(loss(moved)))
        found[place] = (ends[0] - ends[1]) / (2 * step)
    return found


def near(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    assert float(expected.abs().max()) > 0, "nothing is being tested"
    error = float((found - expected).abs().max()) / float(expected.abs().max())
    if error <= tolerance:
        observed(error)
    return error <= tolerance


@pytest.mark.parametrize("loops", [False, True], ids=["forward", "recurrent"])
@pytest.mark.parametrize("delayed", [False, True], ids=["at once", "delayed"])
def test_gradients_of_spike_times_are_those_of_finite_differences(loops, delayed):
    weight, delay, times, sources = two_layers(loops=loops)
    delay = delay if delayed else torch.zeros_like(delay)
    seeds = torch.rand(200, generator=torch.Generator().manual_seed(1), dtype=F64)

    def loss(weight=weight, times=times, delay=delay):
        events, _ = exact_events(
            weight, times, sources, tau_mem=TAU_MEM, tau_syn=TAU_SYN, duration=0.2, delay=delay if delayed else None
        )
        last = events.time[events.neuron >= 4]
        assert len(last) >= 2 and len(events) > len(last) + 3
        # Times in units of 10 ms, each with a weight of its own, and not linear.
        return ((last / 10e-3).square() * seeds[: len(last)]).sum()

    given = {"weight": weight, "times": times, **({"delay": delay} if delayed else {})}
    leaves = {name: t.clone().requires_grad_() for name, t in given.items()}
    loss(**leaves).backward()
    assert near(leaves["weight"].grad, differences(lambda w: loss(weight=w), weight, 1e-6), 1e-6)
    assert near(leaves["times"].grad, differences(lambda t: loss(times=t), times, 1e-8), 1e-6)
    if delayed:
        active = delay * (weight != 0)
        assert near(leaves["delay"].grad, differences(lambda d: loss(delay=d), active, 1e-8), 1e-6)


def test_gradients_of_a_membrane_that_is_read_are_those_of_finite_differences():
    weight, delay, times, sources = two_layers()
    thresholds = [1.0] * 4 + [math.inf] * 2
    # Not where an arrival may fall: the spikes are far from these times, or the membrane is continuous there.
    samples = [0.01 + 0.0037 * k for k in range(30)]

    def loss(weight=weight, times=times, delay=delay):
        choices = dict(tau_mem=TAU_MEM, tau_syn=TAU_SYN, duration=0.15, threshold=thresholds, samples=samples)
        events, voltages = exact_events(weight, times, sources, delay=delay, **choices)
        assert len(events) > 5 and events.neuron.max() < 4
        return 0.5 * (voltages[:, 4:] - 0.3).square().sum()

    leaves = [t.clone().requires_grad_() for t in (weight, times, delay)]
    loss(*leaves).backward()
    assert near(leaves[0].grad, differences(lambda w: loss(weight=w), weight, 1e-6), 1e-6)
    assert near(leaves[1].grad, differences(lambda t: loss(times=t), times, 1e-8), 1e-6)
    active = delay * (weight != 0)
    assert near(leaves[2].grad, differences(lambda d: loss(delay=d), active, 1e-8), 1e-6)


def test_the_first_spike_time_is_the_closed_form():
    """With tau_mem = 2 tau_syn the threshold is met where a square root says."""
    tau, w = 10e-3, 6.0
    weight = torch.tensor([[w, 0.0]], dtype=F64)
    none = torch.zeros(0, dtype=torch.int64)
    at = torch.tensor([2e-3], dtype=F64)
    events, _ = exact_events(weight, at, torch.tensor([0]), tau_mem=2 * tau, tau_syn=tau, duration=12e-3)
    # V = w (y - y^2), y = exp(-s / 2 tau): threshold 1 where y = (1 + sqrt(1 - 4 / w)) / 2.
    expected = 2e-3 - 2 * tau * math.log((1 + math.sqrt(1 - 4 / w)) / 2)
    assert abs(float(events.time[0]) - expected) < 1e-15
    silent, _ = exact_events(weight * 0.5, at, torch.tensor([0]), tau_mem=2 * tau, tau_syn=tau, duration=1.0)
    assert silent.time.shape == (0,) and torch.equal(silent.neuron, none)
    # A synapse slower than the membrane does as well.
    slow, _ = exact_events(weight, at, torch.tensor([0]), tau_mem=tau, tau_syn=2 * tau, duration=8e-3)
    y = (1 - math.sqrt(1 - 4 / (2 * w))) / 2  # V = 2 w (y - y^2)
    assert abs(float(slow.time[0]) - (2e-3 - 2 * tau * math.log(1 - y))) < 1e-15


def test_a_silent_neuron_has_no_gradient():
    weight, delay, times, sources = two_layers()
    weight[2, :3] *= 0.05
    leaf = weight.clone().requires_grad_()
    events, _ = exact_events(leaf, times, sources, tau_mem=TAU_MEM, tau_syn=TAU_SYN, duration=0.2, delay=delay)
    assert 2 not in events.neuron
    events.time.sum().backward()
    assert not leaf.grad[2].any() and not leaf.grad[:, 3 + 2].any() and leaf.grad[1, :3].all()


def test_what_it_cannot_do_is_said():
    weight, delay, times, sources = two_layers()
    choices = dict(tau_mem=TAU_MEM, tau_syn=TAU_SYN, duration=0.1)
    with pytest.raises(UnitError, match="tau_mem must be in"):
        exact_events(weight, times, sources, **{**choices, "tau_mem": 20})
    with pytest.raises(InputError, match="they must differ"):
        exact_events(weight, times, sources, **{**choices, "tau_mem": TAU_SYN})
    with pytest.raises(ShapeError, match="weight must be"):
        exact_events(weight[:, :3], times, sources, **choices)
    with pytest.raises(ShapeError, match="delay must be"):
        exact_events(weight, times, sources, delay=delay[1:], **choices)
    with pytest.raises(ShapeError, match="times and sources"):
        exact_events(weight, times, sources[1:], **choices)
    with pytest.raises(InputError, match="must be float64"):
        exact_events(weight.float(), times, sources, **choices)
    with pytest.raises(InputError, match="must not be negative"):
        exact_events(weight, times, sources, delay=-delay, **choices)
    with pytest.raises(InputError, match="inputs 0 to 2"):
        exact_events(weight, times, sources + 1, **choices)
    with pytest.raises(InputError, match="above 0"):
        exact_events(weight, times, sources, threshold=0.0, **choices)


def test_a_run_that_explodes_ends_with_a_message(monkeypatch):
    monkeypatch.setattr("neurosim.circuit.exact_events.LIMIT", 50)
    assert LIMIT == 100_000
    weight = torch.tensor([[100.0, 100.0]], dtype=F64)
    at, one = torch.tensor([0.0], dtype=F64), torch.tensor([0])
    with pytest.raises(InputError, match="more than 50 events"):
        exact_events(weight, at, one, tau_mem=TAU_MEM, tau_syn=TAU_SYN, duration=0.1)
