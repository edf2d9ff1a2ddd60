"""Synapses with delays of their own on the edges of a network, loops and edge delays beside them."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.synapses.delayed import DelayedLinear
from neurosim.synapses.traced import Traces

DT = 1e-3


def delayed(n_in: int, n_out: int) -> DelayedLinear:
    """Synapses with delays up to five steps."""
    return DelayedLinear(n_in, n_out, 5 * DT, dt=DT)


def network(loop: bool) -> ns.Network:
    """Two populations in double precision: a chain of maps, delays on top of delays and, if wanted, a cycle."""
    torch.manual_seed(0)
    edges = [
        ns.Edge("in", "a", delayed(8, 6)),
        ns.Edge("a", "b", (delayed(6, 6), ns.Linear(6, 4))),
        ns.Edge("a", "b", delayed(6, 4), delay=3 * DT, name="a->b later"),
        ns.Edge("in", "b", ns.Linear(8, 4), delay=2 * DT),
    ]
    if loop:
        edges += [ns.Edge("b", "a", delayed(4, 6), delay=2 * DT), ns.Edge("a", "a", delayed(6, 6))]
    neurons = {name: ns.LIF(dt=DT, tau_mem=3e-3, v_th=0.05) for name in ("a", "b")}
    return ns.Network({"in": ns.Input(8), **neurons}, edges).double()


def spikes(steps: int) -> torch.Tensor:
    """Random input of three samples."""
    return (torch.rand(steps, 3, 8, generator=torch.Generator().manual_seed(1)) < 0.2).double()


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("through_time", [False, True])
def test_a_run_cut_anywhere_is_the_same_run(loop, training, through_time):
    net, x = network(loop).train(training), spikes(40)
    whole, end = net(x, through_time=through_time)
    assert whole.sum() > 30
    assert end.edges["a->b later"].shape == (8, 3, 6) and end.edges["a->b"].shape == (5, 3, 6)
    for cuts in ([17, 23], [1] * 40, [0, 3, 37]):
        state, parts = None, []
        for part in x.split(cuts):
            z, state = net(part, state, through_time=through_time)
            parts.append(z)
        assert torch.equal(torch.cat(parts), whole)
        assert all(torch.equal(state.edges[name], end.edges[name]) for name in end.edges)


@pytest.mark.parametrize("loop", [False, True])
def test_without_gradients_through_time_a_run_is_its_steps_one_by_one(loop):
    net, x, g = network(loop), spikes(20), torch.randn(20, 3, 4, dtype=torch.float64)
    net(x, through_time=False)[0].backward(g)
    wanted = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    state = None
    for t in range(20):
        z, state = net(x[t : t + 1], state, through_time=False)
        z.backward(g[t : t + 1])
        state = state.detach()
    torch.testing.assert_close([p.grad for p in net.parameters()], wanted)
    assert all(p.abs().sum() > 0 for p in wanted)


@pytest.mark.parametrize("loop", [False, True])
def test_recomputing_gives_the_same_gradients(loop):
    net, x, g = network(loop), spikes(20), torch.randn(20, 3, 4, dtype=torch.float64)
    net(x)[0].backward(g)
    wanted = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    net(x, recompute=True)[0].backward(g)
    torch.testing.assert_close([p.grad for p in net.parameters()], wanted)


def test_traces_are_refused_by_name():
    with pytest.raises(InputError, match="edge 'in->a': weights cannot learn from traces where synapses have delays"):
        network(False)(spikes(4), through_time=False, traces=Traces())
