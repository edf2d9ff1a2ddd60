"""Synapses as a rule: bound by a network, drawn when needed, the same in training and in a run."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import neurosim as ns
from neurosim.circuit import Bernoulli, FixedInDegree, Normal, Uniform
from neurosim.errors import InputError, NetworkError
from neurosim.kernels.drawing import cpu, memory, reference
from neurosim.synapses.delayed_sparse import DelayedSparse

DT = 1e-3
DELAY = Uniform(1e-3, 6e-3)


def network(loop: ns.Drawn, feed: ns.Drawn | None = None) -> ns.Network:
    torch.manual_seed(0)
    return ns.Network(
        nodes={"x": ns.Input(20), "a": ns.LIF(dt=DT, size=30, v_th=0.3)},
        edges=[
            ns.Edge("x", "a", feed or ns.Drawn(Bernoulli(0.5), weight=0.5)),
            ns.Edge("a", "a", loop, delay=0.0),
        ],
    )


def as_listed(net: ns.Network) -> ns.Network:
    """Return the same network with the synapses one by one."""
    edges = []
    for edge in net.edges:
        drawn = edge.synapses[0]
        made = copy.deepcopy(drawn.materialised())
        delay = edge.delay + (0.0 if isinstance(made, DelayedSparse) else drawn.min_delay * DT)
        edges.append(ns.Edge(edge.source, edge.target, made, delay=delay))
    return ns.Network({name: copy.deepcopy(node) for name, node in net.nodes.items()}, edges)


@pytest.mark.parametrize("delay", [2e-3, DELAY])
def test_a_run_is_that_of_the_synapses_one_by_one(delay):
    net = network(ns.Drawn(FixedInDegree(10, autapses="excluded"), Normal(0.05, 0.1), delay))
    assert not [*net.parameters()] and not [name for name in net.state_dict() if "synapses" in name]
    x = (torch.rand(50, 3, 20) < 0.2).float()
    z, _ = net(x)
    assert z.any() and torch.equal(z, as_listed(net)(x)[0])
    first, middle = net(x[:17])
    assert torch.equal(z, torch.cat((first, net(x[17:], middle)[0])))
    double = net.double()(x.double())[0]
    assert double.dtype is torch.float64 and net["a->a"][0].weight.dtype is torch.float64


def test_r16_delays_that_may_be_drawn_bound_those_that_are():
    """The least delay of the law need not be drawn; the network counts on the law alone."""
    delay = Normal(4e-3, 1e-3, low=1e-3, outside="redrawn")
    net = network(ns.Drawn(FixedInDegree(1), 0.4, delay))
    loop = net["a->a"][0]
    made = loop.materialised()
    assert loop.min_delay == 1 < made.min_delay and made.memory == loop.memory
    x = (torch.rand(50, 3, 20) < 0.2).float()
    assert torch.equal(net(x)[0], as_listed(net)(x)[0])


def test_one_rule_on_two_edges_draws_twice():
    rule = ns.Drawn(FixedInDegree(10), 0.1)
    nodes = {"x": ns.Input(30), "a": ns.LIF(dt=DT, size=30), "b": ns.LIF(dt=DT, size=30)}
    net = ns.Network(nodes, [ns.Edge("x", "a", rule), ns.Edge("x", "b", rule)])
    one, two = net["x->a"][0], net["x->b"][0]
    assert not torch.equal(one.connections, two.connections)
    again = ns.Network(nodes, [ns.Edge("x", "a", rule), ns.Edge("x", "b", rule)])
    assert torch.equal(one.connections, again["x->a"][0].connections)
    assert one.bind(30, 30, "x->a", 0, DT, False) is one
    assert not torch.equal(one.connections, one.bind(30, 30, "x->a", 1, DT, False).connections)
    assert copy.deepcopy(one).connections.equal(one.connections)
    assert pickle.loads(pickle.dumps(one)).connections.equal(one.connections)


def test_edges_that_would_draw_the_same_are_refused():
    nodes = {"x": ns.Input(20), "a": ns.LIF(dt=DT, size=30)}
    rule = ns.Drawn(FixedInDegree(5), 0.1)
    names = ("plumless", "buckeroo")  # whose CRC-32 are equal
    with pytest.raises(NetworkError, match="edges 'plumless' and 'buckeroo' would draw their synapses from the same"):
        ns.Network(nodes, [ns.Edge("x", "a", rule, name=name) for name in names])
    bound = rule.bind(20, 30, "x->a", 0, DT, False)
    with pytest.raises(NetworkError, match="edges 'one' and 'two' would draw"):
        ns.Network(nodes, [ns.Edge("x", "a", each, name=n) for n, each in (("one", bound), ("two", copy.copy(bound)))])
    assert ns.Network(nodes, [ns.Edge("x", "a", bound, name=name) for name in names]).plan().synapses == 300


def test_synapses_that_learn_are_parameters_from_the_start():
    net = network(ns.Drawn(FixedInDegree(10), Normal(0.05, 0.1), DELAY, learn=True))
    (weight,) = net.parameters()
    assert weight is net["a->a"][0].weight and weight.requires_grad
    x = (torch.rand(30, 2, 20) < 0.3).float()
    before = weight.detach().clone()
    net(x)[0].sum().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert not torch.equal(weight, before)
    fresh = network(ns.Drawn(FixedInDegree(10), Normal(0.05, 0.1), DELAY, learn=True))
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh(x)[0], net(x)[0])
    moved = copy.deepcopy(net)
    assert moved["a->a"][0].weight is next(moved.parameters())
    with pytest.raises(InputError, match="these synapses learn and are bound to the edge 'a->a'"):
        net["a->a"][0].bind(30, 30, "other", 0, DT, True)
    shared = network(net["a->a"][0])
    assert next(shared.parameters()) is weight and torch.equal(shared(x)[0], net(x)[0])


def test_r11_synapses_as_data():
    net = network(ns.Drawn(FixedInDegree(10), Normal(0.05, 0.1), 3e-3))
    value = net["a->a"][0].lowered((30,))
    assert value.delay.unique().tolist() == [3]
    assert torch.equal(value.matrix(), net["a->a"][0].materialised().dense())


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: ns.Drawn(0.1), InputError, "rule must be a ConnectionRule such as Bernoulli(0.1)"),
        (lambda: ns.Drawn(Bernoulli(0.1), "1"), InputError, "weight must be a number or a Distribution"),
        (lambda: ns.Drawn(Bernoulli(0.1), 1.0).weight, InputError, "the sizes are not known before a network connects"),
        (lambda: ns.Drawn(Bernoulli(0.1), 1.0)(torch.ones(1, 1, 3)), InputError, "the sizes are not known"),
        (
            lambda: network(ns.Drawn(FixedInDegree(31, "excluded"), 1.0)),
            NetworkError,
            "edge 'a->a': FixedInDegree: count=31 synapses without multapses are more than the 30 presynaptic neurons",
        ),
        (
            lambda: network(ns.Drawn(Bernoulli(0.1), Normal(0.1, 1.0, high=1e4, outside="clipped"), bits=4)),
            NetworkError,
            "on a grid of 4 bits would be off by",
        ),
        (lambda: network(ns.Drawn(Bernoulli(0.1), 1.0, bits=21)), NetworkError, "bits must be an integer from 2 to 20"),
        (
            lambda: network(ns.Drawn(Bernoulli(0.1), 1.0, delay=1.5e-3)),
            NetworkError,
            "integer number of steps of 0.001",
        ),
        (lambda: network(ns.Drawn(Bernoulli(0.1), 1.0)), NetworkError, "a loop takes at least one step"),
        (
            lambda: ns.Network(
                {"x": ns.Input(3), "a": ns.LIF(dt=DT)}, [ns.Edge("x", "a", ns.Drawn(Bernoulli(0.1), 1.0))]
            ),
            NetworkError,
            "edge 'x->a': Drawn needs the size of 'a'; pass size= when making its neurons.",
        ),
        (
            lambda: network(ns.Drawn(Bernoulli(0.1), 1.0).bind(30, 30, "a", 0, 2e-3, True)),
            NetworkError,
            "all populations and delays must share one dt; got 0.001 s in node 'a', 0.002 s in edge 'a->a'.",
        ),
        (
            lambda: ns.Network(
                {"x": ns.Input((3, 3)), "a": ns.LIF(dt=DT, size=4)}, [ns.Edge("x", "a", ns.Drawn(Bernoulli(0.1), 1.0))]
            ),
            NetworkError,
            "edge 'x->a': Drawn joins populations of shape [N]; 'x' is [3, 3].",
        ),
        (
            lambda: ns.Network(
                {"x": ns.Input(3), "a": ns.LIF(dt=DT, size=4)},
                [ns.Edge("x", "a", [ns.Drawn(Bernoulli(0.1), 1.0), ns.Linear(4, 4)])],
            ),
            NetworkError,
            "edge 'x->a': a Drawn is the only synapse of its edge; got 2 synapses.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, kind, said):
    with pytest.raises(kind) as caught:
        make()
    assert said in str(caught.value)


def test_a_plan_says_what_will_be_drawn(monkeypatch):
    """R12: synapses, bytes, time, error and delays before anything is drawn; refused if it does not fit."""
    positive = Normal(0.05, 0.01, low=0.0, outside="redrawn")
    net = network(ns.Drawn(FixedInDegree(10), positive, DELAY), ns.Drawn(Bernoulli(0.5), weight=0.3))
    monkeypatch.setattr(reference, "draw_pairs", None)  # nothing is drawn
    monkeypatch.setattr(cpu, "Structure", None)
    plan = net.plan()
    feed, loop = plan.projections
    assert (feed.name, feed.synapses, feed.format) == ("x->a", 300, "bits") and 0 < feed.weight_error < 2**-14
    assert (loop.name, loop.synapses, loop.format) == ("a->a", 300, "packed") and 0 < loop.weight_error < 1e-3
    assert loop.delays == (1e-3, 6e-3) and feed.delays == (0.0, 0.0)
    assert plan.synapses == 600 and plan.nbytes == feed.nbytes + loop.nbytes and plan.seconds > 0
    lines = str(plan).splitlines()
    assert lines[0].split()[:3] == ["projection", "synapses", "format"] and lines[3].startswith("in all      600")
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(InputError, match=r"600 synapses in 2 projections need 2.81 kB of memory; 1 kB are free"):
        net.plan().check()
    with pytest.raises(InputError, match=r"300 synapses, one by one, need 3.6 kB of memory; 1 kB are free"):
        net["a->a"][0].materialised()
    monkeypatch.setattr(memory, "available", lambda: None)
    net.plan().check()
    assert str(net.plan()).splitlines()[-1].startswith("in all")


def test_r12_a_simulation_that_does_not_fit_is_refused_before_it_draws(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2000)
    net = network(ns.Drawn(FixedInDegree(10), Normal(0.05, 0.01), DELAY))
    with pytest.raises(InputError, match="synapses in 2 projections need"):
        ns.simulate(net, torch.zeros(5, 1, 20), engine="circuit")
    enormous = ns.Drawn(FixedInDegree(10**6), Normal(0.05, 0.01)).bind(10**8, 10**8, "a->a", 0, DT, True)
    assert enormous.plan().synapses == 10**14
    with pytest.raises(InputError, match="one by one, need"):
        enormous.materialised()
