"""Networks whose loops run in one call, against the same networks run step by step."""

from __future__ import annotations

import copy

import pytest
import torch

import neurosim as ns
from neurosim.kernels.common.bits import unpack
from neurosim.kernels.recurrent import operator as recurrent
from neurosim.network.preference import STRATEGIES
from neurosim.synapses.block import BlockLinear
from tests.user_cores import izhikevich

DT = 1e-3


def exact(net, gain=1.0):
    """Round weights, after a gain, to multiples of 1/64: sums of them are the same in any order."""
    with torch.no_grad():
        for synapses in net.synapses.values():
            for weight in synapses.parameters():
                weight.copy_((weight * gain * 64).round() / 64)
    return net


def recurrent_net(neuron=None, loop=None, bias=False, before=True, gain=1.0, delay=2e-3):
    neuron = lif() if neuron is None else neuron
    loop = ns.Linear(12, 12, bias=bias) if loop is None else loop
    edges = [ns.Edge("input", "hidden", ns.Linear(6, 12))] if before else []
    edges += [ns.Edge("hidden", "hidden", loop), ns.Edge("hidden", "out", ns.Linear(12, 3), delay=delay)]
    edges += [] if before else [ns.Edge("input", "out", ns.Linear(6, 3))]
    nodes = {"input": ns.Input(6), "hidden": neuron, "out": ns.LI(dt=DT)}
    return exact(ns.Network(nodes, edges), gain)


def lif(**choices):
    return ns.LIF(dt=DT, v_th=0.05, **choices)


NETS = {
    "lif": recurrent_net,
    "bias": lambda: recurrent_net(bias=True),
    "blocks": lambda: recurrent_net(loop=BlockLinear(12, 12, 3, bias=True)),
    "alif": lambda: recurrent_net(ns.ALIF(dt=DT, v_th=0.05, beta=0.02, spike=ns.triangle()), gain=2.0),
    "learned": lambda: recurrent_net(ns.CubaLIF(dt=DT, v_th=0.05, size=12, learn=("tau_mem", "tau_syn"))),
    "nothing from outside": lambda: recurrent_net(lif(size=12), bias=True, before=False, gain=2.0),
    "a core of the user's": lambda: recurrent_net(ns.layer(izhikevich)(dt=DT), gain=80.0),
}


@pytest.fixture
def step_by_step(monkeypatch):
    """Let networks run step by step."""

    def run(function):
        with monkeypatch.context() as patch:
            patch.setattr(ns.Network, "strategies", tuple(s for s in STRATEGIES if "loop" not in s.name))
            return function()

    return run


def everything(net, x, state=None, through_time=True):
    """Return what is recorded, the final state and all gradients."""
    names = [*net.nodes, "hidden.v", "hidden.u", "out.v"]
    z, after, values, *_ = net.run(x, state, names, through_time=through_time)
    held = [*(v for s in after.nodes.values() for v in s), *after.in_flight.values()]
    loss = sum((v * torch.linspace(0.5, 1.5, v.numel()).view_as(v)).sum() for v in (z, *held))
    found = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
    filled = [torch.zeros_like(p) if g is None else g for p, g in zip(net.parameters(), found, strict=True)]
    return values, after, filled


@pytest.mark.parametrize("through_time", [True, False])
@pytest.mark.parametrize("made", NETS)
def test_one_call_gives_what_the_steps_give(made, through_time, step_by_step):
    net = NETS[made]()
    x = (torch.rand(30, 4, 6) < 0.5).float()
    _, state = net((torch.rand(7, 4, 6) < 0.5).float())
    for start in (None, state.detach()):
        values, after, found = everything(net, x, start, through_time)
        wanted, last, expected = step_by_step(lambda start=start: everything(net, x, start, through_time))
        assert torch.equal(values["hidden"], wanted["hidden"]) and 0.02 < values["hidden"].mean() < 0.98
        for name, value in wanted.items():
            torch.testing.assert_close(values[name], value, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
        assert {k: v.shape for k, v in after.in_flight.items()} == {k: v.shape for k, v in last.in_flight.items()}
        assert torch.equal(after.in_flight["hidden"], last.in_flight["hidden"])
        for (name, _), a, b in zip(net.named_parameters(), found, expected, strict=True):
            assert (a - b).abs().max() <= 1e-5 * b.abs().max(), name


@pytest.mark.parametrize("made", NETS)
def test_it_is_one_call(made, monkeypatch):
    calls = []
    real = recurrent.run
    monkeypatch.setattr(recurrent, "run", lambda call: (calls.append(call.drive.shape), real(call))[1])
    NETS[made]()(torch.ones(9, 2, 6))
    assert calls == [(9, 2, 12)]


class Own(ns.Linear):
    """A synapse that does something else."""

    def apply_step(self, x):
        return super().apply_step(x).clamp(max=0.1)


STEPWISE = {
    "two steps late": lambda: ns.Edge("hidden", "hidden", ns.Linear(12, 12), delay=2e-3),
    "two synapses": lambda: ns.Edge("hidden", "hidden", (ns.Linear(12, 4), ns.Linear(4, 12))),
    "sparse": lambda: ns.Edge("hidden", "hidden", ns.Sparse(12, 12, torch.arange(12).repeat(2, 1), torch.ones(12))),
    "a class of the user's": lambda: ns.Edge("hidden", "hidden", Own(12, 12)),
}


def looped_by(*edges):
    nodes = {"input": ns.Input(6), "hidden": ns.LIF(dt=DT, v_th=0.05)}
    return ns.Network(nodes, [ns.Edge("input", "hidden", ns.Linear(6, 12)), *edges])


@pytest.mark.parametrize("edge", STEPWISE)
def test_other_loops_run_step_by_step(edge, monkeypatch):
    monkeypatch.setattr(recurrent, "run", None)
    assert looped_by(STEPWISE[edge]())(torch.ones(9, 2, 6))[0].shape == (9, 2, 12)


def test_two_loops_run_step_by_step(monkeypatch):
    monkeypatch.setattr(recurrent, "run", None)
    loops = [ns.Edge("hidden", "hidden", ns.Linear(12, 12), name=name) for name in ("one", "other")]
    assert looped_by(*loops)(torch.ones(9, 2, 6))[0].shape == (9, 2, 12)


def test_a_hook_on_the_synapse_sees_every_step():
    net, seen = recurrent_net(), []
    handle = net.edges[1].synapses[0].register_forward_hook(lambda module, given, out: seen.append(out.shape))
    wanted, _ = net(torch.ones(9, 2, 6))
    assert seen == [(1, 2, 12)] * 9
    handle.remove()
    assert torch.equal(net(torch.ones(9, 2, 6))[0], wanted) and len(seen) == 9


def test_the_next_layer_is_given_the_bits(monkeypatch):
    given, real = [], ns.Neuron.run_linear
    monkeypatch.setattr(ns.Neuron, "run_linear", lambda *a, **k: (given.append(k["packed_bits"]), real(*a, **k))[1])
    edges = [
        ns.Edge("input", "hidden", ns.Linear(70, 70)),
        ns.Edge("hidden", "hidden", ns.Linear(70, 70)),
        ns.Edge("hidden", "out", ns.Linear(70, 70)),
    ]
    net = ns.Network({"input": ns.Input(70), "hidden": lif(), "out": lif()}, edges)
    z = net.run((torch.rand(20, 3, 70) < 0.1).float(), None, ["hidden"]).recorded["hidden"]
    assert len(given) == 1 and z.any()
    assert torch.equal(unpack(given[0], 70, torch.float32), z.flatten(0, 1))


def test_no_steps_leave_the_state():
    net = recurrent_net()
    _, state = net(torch.ones(5, 2, 6))
    z, after, values, *_ = net.run(torch.ones(0, 2, 6), state, ["hidden", "hidden.v"])
    assert z.shape == (0, 2, 3) and values["hidden.v"].shape == (0, 2, 12)
    assert torch.equal(after.in_flight["hidden"], state.in_flight["hidden"])
    assert torch.equal(after.nodes["hidden"].v, state.nodes["hidden"].v)


def test_the_state_does_not_hold_on_to_the_run():
    net = recurrent_net()
    with torch.no_grad():
        _, state = net(torch.ones(500, 2, 6))
    assert state.in_flight["hidden"].untyped_storage().nbytes() == 2 * 2 * 12 * 4  # two steps, two samples


def test_simulate_records_a_recurrent_run(step_by_step):
    net, x = recurrent_net(), (torch.rand(40, 3, 6) < 0.5).float()
    fast = ns.simulate(net, x, record=("hidden", "hidden.v"))
    slow = step_by_step(lambda: ns.simulate(net, x, record=("hidden", "hidden.v")))
    assert torch.equal(fast.spikes["hidden"].to_grid(), slow.spikes["hidden"].to_grid())
    torch.testing.assert_close(torch.as_tensor(fast.traces["hidden.v"]), torch.as_tensor(slow.traces["hidden.v"]))


@pytest.mark.parametrize("rule", [ns.BPTT, ns.SLTT])
def test_training_gives_the_same_network(rule, step_by_step):
    batches = [((torch.rand(15, 8, 6) < 0.5).double(), torch.randint(3, (8,))) for _ in range(3)]
    first = recurrent_net(delay=0.0).double()

    def trained():
        net = copy.deepcopy(first)
        ns.fit(
            net, batches, optimizer=torch.optim.SGD(net.parameters(), lr=0.02), rule=rule(), epochs=2, progress=False
        )
        return net

    fast, slow = trained(), step_by_step(trained)
    for (name, a), b, start in zip(fast.named_parameters(), slow.parameters(), first.parameters(), strict=True):
        assert (a - b).abs().max() <= 1e-9 * b.abs().max(), name
        assert not torch.equal(a, start), name
