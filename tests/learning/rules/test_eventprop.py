"""EventProp on the grid against the exact gradients of the events, which finite differences have confirmed."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

import neurosim as ns
from benchmarks.activations import activations
from neurosim.circuit.exact_events import exact_events
from neurosim.errors import InputError
from neurosim.learning.rules import eventprop
from neurosim.learning.rules.eventprop import CubaLI, EventProp
from tests.learning.rules.small_networks import close, gradients

TAUS = dict(tau_mem=20e-3, tau_syn=5e-3)
N_IN, N, K, DURATION = 4, 6, 2, 60e-3


@dataclasses.dataclass(frozen=True)
class Distance(ns.Loss):
    """Half the squared distance of the membrane from 0.3, mean over time."""

    def __call__(self, output, target):
        return 0.5 * (output - 0.3).square().sum(2).mean(0).mean()

    def prediction(self, output):
        return output.sum(0).argmax(1)


def weights(loops: bool):
    generator = torch.Generator().manual_seed(1)
    w_in = 4.0 + torch.randn(N, N_IN, generator=generator, dtype=torch.float64)
    w_rec = 0.8 * torch.randn(N, N, generator=generator, dtype=torch.float64) * loops
    w_out = torch.randn(K, N, generator=generator, dtype=torch.float64)
    return w_in, w_rec, w_out


def network(dt: float, loops: bool = False, delay: float = 4e-3) -> ns.Network:
    edges = [
        ns.Edge("input", "pool", ns.Linear(N_IN, N)),
        ns.Edge("pool", "out", ns.Linear(N, K), delay=delay / 2),
        *([ns.Edge("pool", "pool", ns.Linear(N, N), delay=delay)] if loops else []),
    ]
    nodes = {"input": ns.Input(N_IN), "pool": ns.CubaLIF(dt=dt, **TAUS), "out": CubaLI(dt=dt, **TAUS)}
    net = ns.Network(nodes, edges).double()
    w_in, w_rec, w_out = weights(loops)
    with torch.no_grad():
        for synapse, w in zip(net.synapses.values(), (w_in, w_out, w_rec), strict=False):
            synapse[0].weight.copy_(w)
    return net


def spikes(dt: float):
    """Return input spikes on a grid of 1 ms, on the grid and as times."""
    generator = torch.Generator().manual_seed(4)
    steps = torch.randint(0, 30, (8,), generator=generator)
    sources = torch.arange(8) % N_IN
    x = torch.zeros(round(DURATION / dt), 1, N_IN, dtype=torch.float64)
    each = round(1e-3 / dt)
    for step, source in zip(steps, sources, strict=True):
        x[int(step) * each, 0, source] += 1
    return x, steps.double() * 1e-3, sources


@pytest.mark.parametrize("loops", [False, True], ids=["forward", "recurrent"])
def test_on_a_fine_grid_it_is_the_exact_gradient_of_the_events(loops):
    _, times, sources = spikes(1e-3)
    w_in, w_rec, w_out = weights(loops)
    whole = torch.zeros(N + K, N_IN + N + K, dtype=torch.float64)
    whole[:N, :N_IN], whole[:N, N_IN : N_IN + N], whole[N:, N_IN : N_IN + N] = w_in, w_rec, w_out
    delay = torch.zeros_like(whole)
    delay[:N, N_IN:], delay[N:, N_IN:] = 4e-3, 2e-3
    whole.requires_grad_()
    samples = [1e-4 * (k + 1) for k in range(round(DURATION / 1e-4) - 1)]
    heights = [1.0] * N + [math.inf] * K
    choices = dict(duration=DURATION, delay=delay, threshold=heights, samples=samples)
    events, voltages = exact_events(whole, times, sources, **TAUS, **choices)
    assert len(events) >= 5 * N
    (0.5 * (voltages[:, N:] - 0.3).square().sum(1).mean()).backward()
    found = whole.grad
    expected = [found[:N, :N_IN], found[N:, N_IN : N_IN + N], found[:N, N_IN : N_IN + N]][: 2 + loops]
    apart = []
    for dt in (2e-4, 5e-5):
        x, *_ = spikes(dt)
        net = network(dt, loops)
        assert int(net.run(x, None, ("pool",)).recorded["pool"].sum()) == len(events)
        grid = gradients(EventProp(), net, x, torch.zeros(1), Distance())
        apart.append(max(float((a - b).norm() / b.norm()) for a, b in zip(grid, expected, strict=True)))
    assert apart[0] < 0.25 and apart[1] < 0.5 * apart[0], apart


def test_readout_weights_get_the_gradient_of_the_grid_itself():
    net, (x, *_) = network(1e-3), spikes(1e-3)
    found = gradients(EventProp(), net, x, torch.zeros(1), Distance())
    exact = gradients(ns.BPTT(), net, x, torch.zeros(1), Distance())
    assert close(found[1:], exact[1:], 1e-12) and not close(found[:1], exact[:1], 0.05)


@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_change_nothing(chunk):
    net, (x, *_) = network(1e-3, loops=True), spikes(1e-3)
    x = torch.cat((x, x.flip(0)), 1)
    part = gradients(EventProp(chunk=chunk), net, x, torch.zeros(2), Distance())
    assert close(part, gradients(EventProp(chunk=1000), net, x, torch.zeros(2), Distance()), 1e-12)


def cycle() -> ns.Network:
    """Two populations that drive each other and themselves, with delays of every kind."""
    torch.manual_seed(3)
    nodes = {
        "input": ns.Input(N_IN),
        "a": ns.CubaLIF(dt=1e-3, **TAUS),
        "b": ns.CubaLIF(dt=1e-3, **TAUS),
        "out": CubaLI(dt=1e-3, **TAUS),
    }
    edges = [
        ns.Edge("input", "a", ns.Linear(N_IN, N, bias=True), delay=3e-3),
        ns.Edge("a", "b", ns.Linear(N, N)),
        ns.Edge("b", "a", ns.Linear(N, N), delay=2e-3),
        ns.Edge("b", "b", ns.Linear(N, N)),
        ns.Edge("a", "out", ns.Linear(N, K), delay=5e-3),
        ns.Edge("b", "out", ns.Linear(N, K)),
    ]
    net = ns.Network(nodes, edges).double()
    with torch.no_grad():
        for name, synapse in net.synapses.items():
            synapse[0].weight.add_(4.0 if name == "input->a" else 1.5 if name == "a->b" else 0.0)
    return net


@pytest.mark.parametrize("steps", [14, 60])
@pytest.mark.parametrize("chunk", [1, 4, 7])
def test_chunks_change_nothing_of_a_cycle_either(chunk, steps):
    net, (x, *_) = cycle(), spikes(1e-3)
    x = torch.cat((x, x.flip(0)), 1)[:steps]
    fired = net.run(x, None, ("a", "b")).recorded
    assert steps == 14 or all(1 < z.sum() < z.numel() / 2 for z in fired.values())

    def found(size):
        return gradients(EventProp(chunk=size, rate_weight=1e-2, spikes=2.0), net, x, torch.zeros(2), Distance())

    assert close(found(chunk), found(1000), 1e-12)
    assert steps == 14 or all(g.any() for g in found(chunk))


def test_a_silent_neuron_has_no_gradient_and_no_surrogate_is_used():
    net, (x, *_) = network(1e-3), spikes(1e-3)
    w_in, _ = net.parameters()
    with torch.no_grad():
        w_in[2] *= 0.1
    found = gradients(EventProp(rate_weight=1.0, spikes=3.0), net, x, torch.zeros(1), Distance())
    assert not found[0][2].any() and not found[1][:, 2].any() and found[0][1].any()
    before = gradients(EventProp(), net, x, torch.zeros(1), Distance())
    net.neurons()["pool"].spike = ns.triangle(7.0, 3.0)
    assert close(gradients(EventProp(), net, x, torch.zeros(1), Distance()), before, 0)


def test_the_rate_weight_sets_the_number_of_spikes():
    net, (x, *_) = network(1e-3), spikes(1e-3)
    counts = net.run(x, None, ("pool",)).recorded["pool"].sum((0, 1))
    plain = gradients(EventProp(), net, x, torch.zeros(1), Distance())[0]

    def added(spikes):
        rule = EventProp(rate_weight=1e-3, spikes=spikes)
        return gradients(rule, net, x, torch.zeros(1), Distance())[0] - plain

    low, high = added(0.0), added(12.0)
    fires = counts > 0
    assert fires.sum() >= 3 and (low[fires].sum(1) > 0).all() and (high[fires].sum(1) < 0).all()
    assert torch.allclose(low / counts.clamp_min(1)[:, None], high / (counts - 12)[:, None])


def test_a_bias_gets_the_sum_and_a_frozen_weight_nothing():
    torch.manual_seed(0)
    parts = (ns.Linear(N_IN, N, bias=True), ns.CubaLIF(dt=1e-3), ns.Linear(N, K, bias=True), CubaLI(dt=1e-3))
    net, (x, *_) = ns.Sequential(*parts).double(), spikes(1e-3)
    with torch.no_grad():
        parts[0].weight.add_(2.5)
    parts[0].weight.requires_grad_(False)
    EventProp().gradients(net, x, torch.zeros(1), Distance())
    (exact,) = torch.autograd.grad(Distance()(net(x)[0], None), parts[2].bias)
    found = parts[2].bias.grad
    assert found is not None and close([found], [exact], 1e-12)
    assert parts[0].weight.grad is None and parts[0].bias.grad.any()


def test_its_memory_grows_with_spikes_and_not_with_steps(monkeypatch):
    tapes = []

    class Kept(eventprop.Tape):
        def __init__(self, *args):
            super().__init__(*args)
            tapes.append(self)

    monkeypatch.setattr(eventprop, "Tape", Kept)
    net, (x, *_) = network(1e-3), spikes(1e-3)
    longer = torch.cat((x, x.new_zeros(300, 1, N_IN)))
    peaks = []
    for data in (x, longer, torch.cat((longer, longer))):
        with activations(data, *net.parameters()) as count:
            EventProp().gradients(net, data, torch.zeros(1), Distance())
        peaks.append(count.peak / len(data))
    fired = int(net.run(x, None, ("pool",)).recorded["pool"].sum())
    assert [tape.bytes for tape in tapes] == [16 * fired, 16 * fired, 32 * fired]
    # Autograd holds the output for the loss alone: K numbers a step, a few times.
    assert max(peaks) <= 4 * K * 8


def test_it_trains_in_the_loop():
    torch.manual_seed(0)
    y = torch.arange(24) % 2
    x = torch.zeros(30, 24, 4)
    x.scatter_(0, torch.randint(0, 12, (2, 24, 4)), 1.0)
    x *= (y[:, None] == torch.arange(4) // 2).float()
    net = ns.Sequential(ns.Linear(4, 16), ns.CubaLIF(dt=1e-3), ns.Linear(16, 2), CubaLI(dt=1e-3))
    for w, mean, deviation in zip(net.parameters(), (4.0, 0.0), (1.5, 1.0), strict=True):
        torch.nn.init.normal_(w, mean, deviation)
    how = dict(loss=ns.MaxMembrane(), optimizer=torch.optim.Adam(net.parameters(), 0.05), epochs=30, progress=False)
    history = ns.fit(net, [(x, y)], rule=EventProp(), clip=1.0, **how)
    assert history["loss"][-1] < 0.5 * history["loss"][0]


def test_unsupported_use_is_refused_by_name():
    x, y = torch.rand(5, 2, 3), torch.tensor([0, 1])

    def refused(match, *parts):
        with pytest.raises(InputError, match=match):
            EventProp().gradients(ns.Sequential(*parts), x, y, ns.CrossEntropy())

    with pytest.raises(InputError, match=r"EventProp\(chunk=0\)"):
        EventProp(chunk=0)
    with pytest.raises(InputError, match=r"EventProp\(floor=nan\): a finite number from 0 up"):
        EventProp(floor=math.nan)
    with pytest.raises(InputError, match="needs the Network itself"):
        EventProp().gradients(lambda x, state=None: None, x, y, ns.CrossEntropy())
    refused("'lif1' must be CubaLIF; it is lif", ns.Linear(3, 3), ns.LIF(dt=1e-3), ns.Linear(3, 2), CubaLI(dt=1e-3))
    refused("must be CubaLI; it is leaky_integrator", ns.Linear(3, 2), ns.LI(dt=1e-3))
    soft = ns.CubaLIF(dt=1e-3, reset="subtract")
    refused("must have reset=\"value\"; it has 'subtract'", ns.Linear(3, 3), soft, ns.Linear(3, 2), CubaLI(dt=1e-3))
    refused(r"plain numbers for \['r'\]", ns.Linear(3, 2), CubaLI(dt=1e-3, r=torch.ones(2)))
    two = ns.Network(
        nodes={"a": ns.Input(3), "b": ns.Input(3), "out": CubaLI(dt=1e-3)},
        edges=[ns.Edge("a", "out", ns.Linear(3, 2)), ns.Edge("b", "out", ns.Linear(3, 2))],
    )
    with pytest.raises(InputError, match="one input"):
        EventProp().gradients(two, x, y, ns.CrossEntropy())
    back = ns.Network(
        nodes={"a": ns.Input(3), "out": CubaLI(dt=1e-3)},
        edges=[ns.Edge("a", "out", ns.Linear(3, 2)), ns.Edge("out", "out", ns.Linear(2, 2))],
    )
    with pytest.raises(InputError, match="leaves the output"):
        EventProp().gradients(back, x, y, ns.CrossEntropy())
