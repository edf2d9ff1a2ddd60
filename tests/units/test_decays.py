"""Decays and gains carried across to the last bit."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim.errors import InputError, NetworkError
from neurosim.synapses import DelayedLinear, DelayedSparse
from neurosim.synapses.connectivity import Bernoulli
from neurosim.synapses.distributions import Constant, Uniform
from neurosim.units import euler_time_constant, just_below, resistance, time_constant


@settings(max_examples=200, deadline=None)
@given(st.floats(0.7, 0.999999), st.sampled_from([1e-3, 1e-4, 5e-4]))
def test_a_shared_decay_comes_back_to_the_last_bit(decay, dt):
    assert math.exp(-dt / time_constant(decay, dt)) == decay


@settings(max_examples=100, deadline=None)
@given(st.floats(0.001, 0.999999))
def test_any_decay_comes_back_in_single_precision(decay):
    single = torch.tensor(decay)
    each = torch.full((7,), decay)
    assert torch.tensor(math.exp(-1e-3 / time_constant(single.item(), 1e-3))) == single
    assert torch.equal(torch.exp(-1e-3 / time_constant(each, 1e-3)).float(), each)
    euler = euler_time_constant(each.double(), 1e-3)
    assert torch.equal((1.0 - 1e-3 / euler).float(), each)


def test_no_memory_is_a_time_constant_too():
    assert ns.LIF(tau_mem=time_constant(0.0, 1e-3), dt=1e-3).decay("tau_mem") == 0.0


@pytest.mark.parametrize("decay", [1.0, -0.1, math.nan])
def test_no_decay_is_refused(decay):
    with pytest.raises(InputError, match=r"a decay over a step must be in \[0, 1\) to have a time constant; got"):
        time_constant(decay, 1e-3)
    with pytest.raises(InputError, match="a decay over a step"):
        time_constant(torch.tensor([0.5, decay]), 1e-3)


def test_a_gain_is_that_of_the_layer():
    for decay in (0.5, 0.9, 0.123):
        assert (1.0 - decay) * resistance(decay, 1.0, torch.float32) == pytest.approx(1.0, rel=2e-16)
    each = torch.rand(1000, dtype=torch.float64).float().double()
    r = resistance(each, 0.5, torch.float32).float()
    off = ((1.0 - each.float()) * r - 0.5).abs()
    assert off.max() <= 3.1e-8 and (off == 0).double().mean() > 0.8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_above_just_below_is_at_or_above(dtype):
    threshold = torch.tensor([1.0, 0.3, -2.0, 0.0], dtype=torch.float64)
    below = just_below(threshold, dtype).to(dtype)
    at = threshold.to(dtype)
    assert (at > below).all() and not (torch.nextafter(at, at - 1) > below).any()
    assert just_below(1.0, dtype) == below[0].item()


@pytest.mark.parametrize(
    ("delay", "dt", "message"),
    [
        (0.0, 1e-4, None),
        (0.0999, 1e-4, None),
        (0.1, 1e-4, r"delay must be in \[0, 0.1\) s; got 0.1. Did you pass milliseconds\? 0.1 ms is 0.0001 s"),
        (1.5, 1e-4, r"\[0, 0.1\) s; got 1.5. Did you pass milliseconds\? 1.5 ms is 0.0015 s"),
        (0.25, 10e-3, None),  # a step of 10 ms
        (2.0, 10e-3, r"\[0, 1\) s; got 2.0. Did you pass milliseconds"),
        (2.5e-4, 1e-3, "an integer number of steps of 0.001 s; got 0.00025 s"),
        (-1e-3, 1e-3, "an integer number of steps"),
        (float("nan"), 1e-3, "an integer number of steps"),
        (float("inf"), 1e-3, "an integer number of steps"),
    ],
)
def test_one_rule_for_delays_everywhere(delay, dt, message):
    pairs = torch.tensor([[0], [0]])
    ways = [
        lambda: ns.Network(
            nodes={"input": ns.Input(1), "n": ns.LIF(dt=dt)},
            edges=[ns.Edge("input", "n", ns.Linear(1, 1), delay=delay)],
        ),
        lambda: DelayedSparse(1, 1, pairs, torch.tensor([delay], dtype=torch.float64), dt=dt),
        lambda: DelayedSparse(1, 1, pairs, torch.tensor([0]), max_delay=delay, dt=dt),
        lambda: DelayedLinear(1, 1, max_delay=delay, dt=dt),
    ]
    if delay <= 0:  # synapses with delays say that of a delay below 0 themselves; a longest delay is above 0
        ways = ways[:1]
    for make in ways:
        if message is None:
            make()
        else:
            with pytest.raises((InputError, NetworkError), match=message):
                make()


def test_drawn_delays_have_the_rule_too():
    with pytest.raises(InputError, match=r"delay must be in \[0, 0.1\) s; got 1.5. Did you pass"):
        DelayedSparse.drawn(3, 3, Bernoulli(1.0), delay=Constant(1.5), seed=0, dt=1e-4)
    with pytest.raises(InputError, match=r"delay must be in \[0, 0.1\) s; .* It may be drawn from Uniform"):
        DelayedSparse.drawn(30, 30, Bernoulli(1.0), delay=Uniform(0.5, 2.5), seed=0, dt=1e-4)


def test_decays_and_time_constants_are_computed_here_alone(root: Path) -> None:
    # A core may have a decay of its own. Of Rockpool it is read as Rockpool computes it, in single precision.
    written = re.compile(r"exp(?:m1)?\(\s*-\s*[\w.]*\bdt\b|-\s*[\w.]*\bdt\s*/\s*(?:math\.|torch\.)?log\(")
    assert written.search("a = math.exp(-self.dt / tau)") and written.search("tau = -dt / math.log(beta)")
    found = {
        path.relative_to(root / "neurosim").as_posix()
        for path in (root / "neurosim").rglob("*.py")
        if path.parent.name != "cores"
        and written.search(re.sub(r'"""[\s\S]*?"""', "", path.read_text(encoding="utf-8")))
    }
    assert found - {"units/decays.py", "exchange/peers/rockpool.py"} == set()
