"""One step without gradients has the bits of the general way, and follows every change of the network."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import neurosim as ns
from neurosim.errors import ShapeError
from neurosim.network import streaming
from neurosim.network.preference import STRATEGIES

DT = 1e-3
GENERAL = STRATEGIES[1:]


def chain(make=ns.LIF, last=ns.LIF, bias=False):
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(9, 40, bias=bias), make(), ns.Linear(40, 3, bias=bias), last(), dt=DT)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 40.0
    return net


def stream(net, strategies=STRATEGIES, steps=12, batch=2, between=lambda net, k: None):
    net.strategies, state, outputs = strategies, None, []
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for k in range(steps):
            between(net, k)
            z, state = net((torch.rand(1, batch, 9, generator=generator) < 0.3).float(), state)
            outputs.append(z)
    return [torch.cat(outputs), *(v for each in state.nodes.values() for v in each)]


def assert_same(found, wanted):
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.fixture
def prepared_steps(monkeypatch):
    """Return a list that gets an element for each step that ran prepared."""
    seen = []
    run = streaming.StepPlan.run

    def counted(self, x, state):
        found = run(self, x, state)
        seen.extend([] if found is None else [found])
        return found

    monkeypatch.setattr(streaming.StepPlan, "run", counted)
    return seen


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("make", "last"), [(ns.LIF, ns.LIF), (ns.CubaLIF, ns.LI), (ns.ALIF, ns.IF)])
def test_a_step_has_the_bits_of_the_general_way(make, last, bias, prepared_steps):
    net = chain(make, last, bias)
    found = stream(net)
    assert len(prepared_steps) == 11  # all but the first, which has no state yet
    wanted = stream(net, GENERAL)
    assert_same(found, wanted)
    assert wanted[0].any()


def _scale(net):
    net.edges[0].synapses[0].weight.mul_(0.5)


def _replace_synapse(net):
    torch.manual_seed(5)
    net.synapses["input->lif1"][0] = ns.Linear(9, 40)


def _replace_neurons(net):
    net.nodes["lif1"] = ns.LIF(tau_mem=3e-3, dt=DT)


def _reset(net):
    net.nodes["lif1"].reset = "subtract"


def _hook(net):
    net.nodes["lif2"].register_forward_hook(lambda module, given, result: (result[0] + 1.0, result[1]))


def _hook_of_synapse(net):
    net.edges[1].synapses[0].register_forward_hook(lambda module, given, result: 3.0 * result)


CHANGES = [_scale, _replace_synapse, _replace_neurons, _reset, _hook, _hook_of_synapse]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_it_follows_a_change(change, prepared_steps):
    def between(net, k):
        if k == 5:
            change(net)

    net, same = chain(), chain()
    found, wanted = stream(net, between=between), stream(same, GENERAL, between=between)
    assert_same(found, wanted)
    assert 4 <= len(prepared_steps) < 12
    assert not torch.equal(wanted[0], stream(chain(), GENERAL)[0])


def test_a_state_that_does_not_fit_is_refused():
    net = chain()
    stream(net)
    with torch.no_grad():
        _, state = net(torch.zeros(1, 2, 9))
        with pytest.raises(ShapeError):
            net(torch.zeros(1, 3, 9), state)
        with pytest.raises(ShapeError):
            net(torch.zeros(1, 2, 8), state)


def test_the_state_given_is_not_changed():
    net = chain()
    with torch.no_grad():
        _, state = net(torch.ones(1, 2, 9))
        before = [v.clone() for each in state.nodes.values() for v in each]
        net(torch.ones(1, 2, 9), state)
    assert_same([v for each in state.nodes.values() for v in each], before)


def test_a_network_that_has_streamed_can_be_copied():
    net = chain()
    wanted = stream(net)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_same(stream(other), wanted)


def test_with_gradients_the_network_runs_in_the_general_way(prepared_steps):
    net = chain()
    _, state = net(torch.ones(1, 2, 9))
    z, _ = net(torch.ones(1, 2, 9), state)
    assert z.requires_grad and not prepared_steps


def test_it_returns_the_output_that_the_network_has_now(prepared_steps):
    net, same = chain(), chain()
    stream(net)
    for each in (net, same):
        each.output = each.edges[0].target
    assert_same(stream(net), stream(same, GENERAL))
    assert prepared_steps


def test_it_runs_a_method_set_on_a_synapse():
    net = chain()
    assert stream(net)[0].any()
    synapse = net.edges[1].synapses[0]
    forward = synapse.forward
    synapse.forward = lambda x: 0.0 * forward(x)
    assert not stream(net)[0].any()
