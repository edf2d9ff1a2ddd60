"""Synapses with delays of their own on the edges of a network, loops and edge delays beside them."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, NetworkError
from neurosim.synapses import DelayedLinear, RoundedDelays
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
    assert end.in_flight["a"].shape == (8, 3, 6) and end.in_flight["in"].shape == (5, 3, 8)
    for cuts in ([17, 23], [1] * 40, [0, 3, 37]):
        state, parts = None, []
        for part in x.split(cuts):
            z, state = net(part, state, through_time=through_time)
            parts.append(z)
        assert torch.equal(torch.cat(parts), whole)
        assert all(torch.equal(state.in_flight[name], line) for name, line in end.in_flight.items())


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
    with pytest.raises(InputError, match="edge 'in->a': weights cannot learn from traces where synapses have"):
        network(False)(spikes(4), through_time=False, traces=Traces())


def cycle(shortest: int, delay: float | None = 0.0) -> ns.Network:
    """A driven population with a loop of fixed delays from `shortest` to 8 steps, in double precision."""
    torch.manual_seed(0)
    late = torch.randint(shortest, 9, (6, 6))
    late[0, 0], late[0, 1] = shortest, 8
    loop = RoundedDelays((0.4 * torch.randn(6, 6) * 256).round() / 256, late, dt=DT)
    edges = [ns.Edge("in", "a", ns.Linear(8, 6)), ns.Edge("a", "a", loop, delay=delay)]
    return ns.Network({"in": ns.Input(8), "a": ns.LIF(dt=DT, tau_mem=3e-3, v_th=0.05)}, edges).double()


def chunks(net: ns.Network, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, list[int]]:
    """Return the output and the steps of each call of the loop."""
    lengths: list[int] = []
    (synapse,) = net.edges[1].synapses
    assert isinstance(synapse, RoundedDelays)

    def over(line: torch.Tensor, *, through_time: bool = True) -> torch.Tensor:
        lengths.append(len(line) - synapse.delay_span)
        return RoundedDelays.over(synapse, line, through_time=through_time)

    monkeypatch.setattr(synapse, "over", over)
    return net(x)[0], lengths


@pytest.mark.parametrize(("shortest", "delay", "chunk"), [(5, 0.0, 5), (1, 0.0, 1), (5, None, 6), (0, 2 * DT, 2)])
def test_a_cycle_runs_as_many_steps_at_once_as_its_shortest_delay(shortest, delay, chunk, monkeypatch):
    net, x = cycle(shortest, delay), spikes(40)
    z, lengths = chunks(net, x, monkeypatch)
    assert lengths == [chunk] * (40 // chunk) + [40 % chunk] * (40 % chunk > 0)
    assert net.edges[1].min_delay == chunk
    # The same connections, an edge for each delay.
    feed, loop = net.edges
    edges = [ns.Edge("in", "a", feed.synapses)]
    edges += [
        ns.Edge("a", "a", synapse, delay=late + loop.delay, name=f"after {round(late / DT)}")
        for late, synapse in loop.synapses[0].by_delay()
    ]
    wanted, _ = ns.Network(dict(net.nodes), edges)(x)
    assert torch.equal(z, wanted) and z.sum() > 30
    first, state = net(x[:13])
    assert torch.equal(torch.cat((first, net(x[13:], state)[0])), z)


def test_a_cycle_of_two_populations_is_as_late_as_its_synapses():
    torch.manual_seed(0)
    loop = RoundedDelays(torch.randn(6, 4), torch.randint(3, 7, (6, 4)), dt=DT)
    edges = [ns.Edge("in", "a", ns.Linear(8, 6)), ns.Edge("a", "b", ns.Linear(6, 4)), ns.Edge("b", "a", loop)]
    neurons = {name: ns.LIF(dt=DT, tau_mem=3e-3, v_th=0.05) for name in ("a", "b")}
    net = ns.Network({"in": ns.Input(8), **neurons}, edges).double()
    x = spikes(40)
    whole, end = net(x)
    state, parts = None, []
    for part in x.split(1):
        z, state = net(part, state)
        parts.append(z)
    assert torch.equal(torch.cat(parts), whole) and whole.sum() > 30
    assert end.in_flight["b"].shape == (6, 3, 4)


def test_a_cycle_whose_delays_are_no_delays_is_refused():
    with pytest.raises(NetworkError, match="edge 'a->a': a loop takes at least one step"):
        cycle(0)
    net = cycle(2)
    net.load_state_dict({**net.state_dict(), "synapses.a->a.0.delay": torch.zeros(6, 6).long()})
    with pytest.raises(InputError, match=r"edge 'a->a': the shortest delay of its synapses is now 0 steps"):
        net(spikes(4))


def test_without_gradients_through_time_none_comes_through_delays_from_a_step_on():
    x = spikes(20).requires_grad_()
    synapse = RoundedDelays(torch.randn(6, 8), torch.randint(3, 7, (6, 8)), dt=DT).double()
    current, _ = synapse(x)
    current.sum().backward()
    assert x.grad.abs().sum() > 0
    assert not synapse(x, through_time=False)[0].requires_grad
    assert torch.equal(synapse(x, through_time=False)[0], current)
