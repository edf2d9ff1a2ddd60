"""The step `dt`: given once, to the network, or to each part of it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.errors import InputError, NetworkError, UnitError
from neurosim.models import LiquidNeurons
from neurosim.network import Stateful
from neurosim.network.description import describe
from neurosim.parallel import PSN, SlidingPSN
from neurosim.synapses import DelayedLinear, DelayedSparse, RoundedDelays
from neurosim.synapses.connectivity import FixedInDegree
from neurosim.synapses.distributions import Uniform

DT = 0.5e-3
PAIRS = torch.tensor([[0, 1, 2, 2], [0, 1, 0, 1]])

POPULATIONS = {
    "lif": lambda **k: ns.LIF(tau_mem=7e-3, size=3, **k),
    "trained": lambda **k: ns.LIF(tau_mem=7e-3, size=3, learn=["tau_mem", "v_th"], **k),
    "refractory": lambda **k: ns.layer(cores.refractory_lif)(t_ref=2e-3, size=3, **k),
    "per neuron": lambda **k: ns.CubaLIF(tau_syn=torch.tensor([1e-3, 2e-3, 3e-3]), **k),
    "parallel": lambda **k: SlidingPSN(3, **k),
    "whole run": lambda **k: PSN(40, **k),
    "liquid": lambda **k: LiquidNeurons(3, **k),
}
DELAYS = {
    "rounded": lambda **k: RoundedDelays(torch.ones(3, 2), torch.tensor([[0, 3], [1, 2], [4, 1]]), **k),
    "bounded": lambda **k: RoundedDelays(torch.ones(3, 2), torch.ones(3, 2).long(), max_delay=3e-3, **k),
    "trained": lambda **k: DelayedLinear(2, 3, 5e-3, bias=True, **k),
    "listed": lambda **k: DelayedSparse(2, 3, PAIRS, torch.tensor([0.0, 1e-3, 2e-3, 5e-3]), **k),
    "drawn": lambda **k: DelayedSparse.drawn(2, 3, FixedInDegree(2), delay=Uniform(1e-3, 4e-3), seed=1, **k),
}


def seeded(make, **options):
    torch.manual_seed(3)
    return make(**options)


def network(population, synapse, **options):
    edges = [ns.Edge("x", "n", synapse)]
    return ns.Network({"x": ns.Input(2), "n": population}, edges, **options)


def outputs(net):
    torch.manual_seed(0)
    return net((torch.rand(40, 2, 2) < 0.4).float() * 5)[0]


@pytest.mark.parametrize("name", POPULATIONS)
def test_a_population_without_a_step_gets_that_of_its_network(name):
    make = POPULATIONS[name]
    torch.manual_seed(1)
    synapse = ns.Linear(2, 3)
    late = network(seeded(make), synapse, dt=DT)
    early = network(seeded(make, dt=DT), copy.deepcopy(synapse))
    assert late.dt == early.dt == late["n"].dt == DT
    assert torch.equal(outputs(late), outputs(early))
    assert repr(late) == repr(early) and describe(late) == describe(early)
    assert [*late.state_dict()] == [*early.state_dict()]
    late.load_state_dict(early.state_dict())
    for again in (copy.deepcopy(late), pickle.loads(pickle.dumps(late))):
        assert again["n"].dt == DT and torch.equal(outputs(again), outputs(early))


@pytest.mark.parametrize("name", DELAYS)
def test_delays_without_a_step_get_that_of_their_network(name):
    make = DELAYS[name]
    late = network(ns.LIF(), seeded(make), dt=DT)
    early = network(ns.LIF(dt=DT), seeded(make, dt=DT))
    assert late["x->n"][0].memory == early["x->n"][0].memory > 0
    assert torch.equal(outputs(late), outputs(early)) and repr(late) == repr(early)
    for again in (copy.deepcopy(late), pickle.loads(pickle.dumps(late))):
        assert torch.equal(outputs(again), outputs(early))


@pytest.mark.parametrize("make", [*POPULATIONS.values(), *DELAYS.values()], ids=[*POPULATIONS, *DELAYS])
def test_nothing_runs_without_a_step_and_copies_keep_that_there_is_none(make):
    for part in (made := make(), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert not part.has_dt
        part.eval()
        n = 2 if hasattr(part, "n_in") else 3
        with pytest.raises(InputError, match=r"dt is not set\. Pass dt="):
            part(torch.ones(40, 1, n))
        with pytest.raises(InputError, match=r"dt is not set\. Pass dt="):
            part.dt  # noqa: B018
        assert "dt=None" in repr(part)


def test_a_step_is_set_once():
    layer = ns.LIF()
    with pytest.raises(InputError, match="dt of a layer"):
        layer.dt = DT
    layer.set_dt(DT)
    layer.set_dt(DT)
    assert torch.equal(layer(torch.ones(20, 1, 1))[0], ns.LIF(dt=DT)(torch.ones(20, 1, 1))[0])
    with pytest.raises(InputError, match=r"dt is 0.0005 s and cannot become 0.001 s"):
        layer.set_dt(1e-3)
    with pytest.raises(UnitError, match=r"lif: dt must be a number in \(0, 0.1\) s; got 1"):
        ns.LIF().set_dt(1)


def test_times_are_checked_when_the_step_is_known():
    layer = ns.layer(cores.refractory_lif)(t_ref=2e-3, size=3)
    with pytest.raises(
        UnitError, match=r"node 'n': refractory_lif: t_ref must be an integer number of steps of 0.0003"
    ):
        network(layer, ns.Linear(2, 3), dt=0.3e-3)
    assert not layer.has_dt  # as before
    assert network(layer, ns.Linear(2, 3), dt=DT)["n"].dt == DT
    delayed = DELAYS["listed"]()
    with pytest.raises(InputError, match="edge 'x->n': DelayedSparse: delay must be an integer number of steps"):
        network(ns.LIF(), delayed, dt=0.3e-3)
    assert not delayed.has_dt and network(ns.LIF(), delayed, dt=DT)["x->n"][0].memory == 10


def test_a_refused_network_leaves_its_parts_without_a_step():
    layer, inner, delayed = ns.LIF(learn=["tau_mem"]), SlidingPSN(3), DELAYS["trained"]()
    edges = [ns.Edge("x", "a", delayed), ns.Edge("a", "b", ns.Linear(4, 3))]
    with pytest.raises(ns.NeurosimError, match="spikes must be"):
        ns.Network({"x": ns.Input(2), "a": layer, "b": inner}, edges, dt=DT)
    assert not layer.has_dt and not inner.has_dt and not inner.fire.has_dt and not delayed.has_dt
    assert not [*delayed.parameters()] and [name for name, _ in layer.named_parameters()] == ["log_tau_mem"]
    edges[1] = ns.Edge("a", "b", ns.Linear(3, 3))
    assert ns.Network({"x": ns.Input(2), "a": layer, "b": inner}, edges, dt=1e-3).dt == 1e-3


def test_other_steps_and_no_step_are_refused():
    for wrong in (dict(dt=DT), dict()):
        with pytest.raises(NetworkError, match="share"):
            nodes = {"x": ns.Input(2), "a": ns.LIF(dt=1e-3), "b": ns.LIF(dt=2e-3)}
            ns.Network(nodes, [ns.Edge("x", "a", ns.Linear(2, 2)), ns.Edge("a", "b", ns.Linear(2, 2))], **wrong)
    with pytest.raises(NetworkError, match=r"dt=0.0005 s of the network; got 0.001 s in node 'n'. Leave dt out"):
        network(ns.LIF(dt=1e-3), ns.Linear(2, 3), dt=DT)
    with pytest.raises(NetworkError, match=r"share one dt; got 0.0005 s in node 'n', 0.001 s in edge 'x->n'"):
        network(ns.LIF(dt=DT), DELAYS["rounded"](dt=1e-3))
    with pytest.raises(NetworkError, match="no dt: neither the network nor any of"):
        network(ns.LIF(), ns.Linear(2, 3))
    with pytest.raises(UnitError, match="Network: dt must be a number"):
        network(ns.LIF(), ns.Linear(2, 3), dt=1.0)


def test_parts_without_a_step_take_that_of_the_others():
    net = ns.Sequential(ns.Linear(2, 3), ns.LIF(), ns.Linear(3, 3), ns.Recurrent(ns.LIF(dt=DT), ns.Linear(3, 3)))
    assert {layer.dt for layer in net.neurons().values()} == {DT} == {net.dt}
    chain = ns.Sequential(net, ns.Linear(3, 2), ns.LI(), dt=DT)
    assert chain.dt == DT and Stateful(chain)(torch.ones(5, 1, 2)).shape == (5, 1, 2)


def test_parts_put_in_the_place_of_others_get_the_step():
    net = network(ns.LIF(), DELAYS["rounded"](), dt=DT)
    net.nodes["n"] = ns.LIF(size=3, tau_mem=5e-3)
    net.synapses["x->n"][0] = new = DELAYS["rounded"]()
    assert net["n"].dt == DT and new.dt == DT and outputs(net).shape == (40, 2, 3)
    layer, delayed = ns.LIF(size=4), RoundedDelays(torch.ones(3, 2), torch.ones(3, 2).long())
    with pytest.raises(NetworkError, match="shape is"):
        net.nodes["n"] = layer
    with pytest.raises(NetworkError, match="delays of 1 to 1 steps would replace"):
        net.synapses["x->n"][0] = delayed
    assert not layer.has_dt and not delayed.has_dt  # as before
    with pytest.raises(NetworkError, match=r"dt is 0.0005 s in this network, not 0.001 s"):
        net.synapses["x->n"][0] = DELAYS["rounded"](dt=1e-3)
    with pytest.raises(NetworkError, match=r"dt is 0.0005 in this network, not 0.001"):
        net.nodes["n"] = ns.LIF(size=3, dt=1e-3)


def test_training_and_compilation():
    net = network(ns.LIF(size=3, learn=["tau_mem"]), ns.Linear(2, 3), dt=DT)
    same = network(ns.LIF(size=3, learn=["tau_mem"], dt=DT), ns.Linear(2, 3))
    same.load_state_dict(net.state_dict())
    for each in (net, same):
        outputs(each).sum().backward()
    assert torch.equal(net["n"].log_tau_mem.grad, same["n"].log_tau_mem.grad) and net["n"].log_tau_mem.grad.any()
