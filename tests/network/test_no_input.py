"""Networks without Input and without sources: start values alone drive them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit import Poisson
from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.models import LiquidNeurons
from neurosim.network.description import describe, differences
from neurosim.synapses import Drawn, Sparse
from neurosim.synapses.connectivity import FixedInDegree
from neurosim.synapses.distributions import Uniform

START = dict(v=Uniform(0.0, 3.0))


def ring(**options):
    torch.manual_seed(1)
    nodes = {"a": ns.LIF(size=6, init=START), "b": ns.CubaLIF(size=4), "out": ns.LI(size=2, init=dict(v=1.0))}
    edges = [
        ns.Edge("a", "b", ns.Linear(6, 4)),
        ns.Edge("b", "a", ns.Linear(4, 6), delay=2e-3),
        ns.Edge("b", "out", ns.Linear(4, 2)),
    ]
    return ns.Network(nodes, edges, dt=1e-3, **options)


def test_start_values_drive_a_network():
    net = ring()
    run = ns.simulate(net, steps=30, batch=3, seed=2, record=["a", "b", "out"])
    assert (run.T, run.B) == (30, 3) and len(run.spikes["a"]) > 3
    other = ns.simulate(net, steps=30, batch=3, seed=3, record=["a"])
    assert not np.array_equal(other.spikes["a"].to_grid(), run.spikes["a"].to_grid())
    first = ns.simulate(net, steps=12, batch=3, seed=2, record=["a"])
    rest = ns.simulate(net, steps=18, state=first.state, record=["a"])
    parts = torch.cat([torch.as_tensor(each.spikes["a"].to_grid()) for each in (first, rest)])
    assert torch.equal(parts, torch.as_tensor(run.spikes["a"].to_grid()))
    assert "a" in str(net.explain(steps=3))
    x = torch.zeros(30, 3, 1)
    nodes = {"x": ns.Input(1), **{name: ns.LIF(size=6, init=START) for name in ["a"]}}
    fed = ns.Network(nodes, [ns.Edge("x", "a", ns.Linear(1, 6))], dt=1e-3)
    alone = ns.Network({"a": ns.LIF(size=6, init=START)}, [], dt=1e-3)
    start = fed.initial_state(x, seed=4)
    assert torch.equal(fed(x, start)[0], alone(None, start, steps=30)[0]) and start.nodes["a"].v.any()


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_of_networks_without_input(recompute):
    net = ring(output="b")
    with torch.no_grad():
        net["a->b"][0].weight.abs_().mul_(20)
    start = net.initial_state(batch=3, seed=2)
    z, after = net(None, start, steps=30, recompute=recompute)
    assert z.any()
    (z.sum() + after.nodes["a"].v.sum()).backward()
    assert all(net[name][0].weight.grad.any() for name in ("a->b", "b->a"))


def test_populations_without_edges():
    for population in (ns.LIF(size=3, init=dict(v=0.5)), LiquidNeurons(3), ns.layer(ports)(size=3)):
        net = ns.Network({"n": population}, [], dt=1e-3)
        out, _ = net(steps=4, batch=2)
        assert out.shape == (4, 2, 3)
        assert torch.equal(net(None, net(steps=2, batch=2)[1], steps=2)[0], out[2:])
    net = ns.Network({"noise": Poisson(100.0, 2), "n": ns.LIF(size=3, init=dict(v=0.5))}, [], dt=1e-3)
    assert net(steps=4)[0].shape == (4, 1, 3)


@ns.core(inputs=dict(excitation=None, gain=2.0), state=("v",))
def ports(excitation, gain, v):
    """Two input ports, one with a value where nothing feeds it."""
    return v, v + gain * (1.0 + excitation)


def test_the_engine_of_circuits_leaves_populations_without_edges_to_the_layers():
    nodes = {"a": ns.LIF(size=5, init=dict(v=2.0)), "b": ns.LIF(size=5)}
    net = ns.Network(nodes, [ns.Edge("a", "b", Sparse.random(5, 5, density=0.5))], dt=1e-3)
    run = ns.simulate(net, steps=10, record=["a", "b.v"])
    assert run.engine == "layered" and len(run.spikes["a"]) == 5 and run.traces["b.v"].any()
    with pytest.raises(InputError, match="no edge feeds 'a' at 'i'"):
        ns.simulate(net, steps=10, engine="circuit")


def test_sizes_and_steps_are_needed():
    with pytest.raises(NetworkError, match="the shape of 'n' cannot be computed; pass size="):
        ns.Network({"n": ns.LIF()}, [], dt=1e-3)
    with pytest.raises(InputError, match="no Input; give steps="):
        ring()()
    with pytest.raises(ShapeError, match="state"):
        ring()(None, ns.Network({"n": ns.LIF(size=2)}, [], dt=1e-3).initial_state(), steps=3)


def drawn(seed, **options):
    nodes = {"noise": Poisson(300.0, 20), "n": ns.LIF(size=30, init=dict(v=Uniform(0.0, 1.0)))}
    return ns.Network(nodes, [ns.Edge("noise", ("n",), Drawn(FixedInDegree(5), weight=0.5))], dt=1e-3, seed=seed)


def test_three_seeds_of_three_streams():
    """Connectivity, start values and noise: changing the seed of one leaves the others."""

    def streams(connectivity, start, noise):
        net = drawn(connectivity)
        seed = dict(start=start, noise=noise)
        spikes = ns.simulate(net, steps=50, seed=seed, record=["noise"]).spikes["noise"].to_grid()
        matrix = net["noise->n"][0].materialised().dense()
        return matrix.detach(), net.initial_state(seed=seed).nodes["n"].v, torch.as_tensor(spikes)

    first = streams(1, 2, 3)
    for changed, seeds in enumerate([(9, 2, 3), (1, 9, 3), (1, 2, 9)]):
        for stream, (a, b) in enumerate(zip(first, streams(*seeds), strict=True)):
            assert torch.equal(a, b) == (stream != changed)
    for wrong in (-1, 1.0, True, 2**63):
        with pytest.raises(InputError, match="seed must be an integer"):
            drawn(wrong)


def test_rules_to_several_targets_draw_a_matrix_each():
    nodes = {"noise": Poisson(300.0, 20), "a": ns.LIF(size=30), "b": ns.LIF(size=30)}
    for learn in (False, True):
        rule = Drawn(FixedInDegree(5), weight=Uniform(0.0, 1.0), learn=learn)
        net = ns.Network(nodes, [ns.Edge("noise", ("a", "b"), rule)], dt=1e-3, seed=2)
        a, b = (net[f"noise->{name}"][0].materialised().dense() for name in "ab")
        assert not torch.equal(a, b) and (a != 0).any(1).all()
        assert len([*net.parameters()]) == 2 * learn


def test_the_seed_is_part_of_what_a_network_computes():
    assert any("seed was 5, now it is 6" in text for text in differences(describe(drawn(5)), describe(drawn(6))))


def test_a_folded_network_keeps_its_connectivity_seed():
    from neurosim.network import fold

    net = drawn(5)
    folded = fold(net)
    assert folded.seed == 5
    matrices = [each["noise->n"][0].materialised().dense() for each in (net, folded)]
    assert torch.equal(*matrices)
