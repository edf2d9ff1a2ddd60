"""Spikes in flight: one line for each source, which edges of all delays read."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.network.in_flight import arriving, delayed, shifted
from neurosim.synapses import DelayedLinear, RoundedDelays

DT = 1e-3


def exact(net: ns.Network) -> ns.Network:
    """Round weights to multiples of 1/64: sums of them are the same in any order."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_((weight * 64).round() / 64)
    return net


def spikes(steps: int, samples: int = 3, n: int = 6) -> torch.Tensor:
    """Random input."""
    return (torch.rand(steps, samples, n, generator=torch.Generator().manual_seed(1)) < 0.3).double()


def fan_of(delays: tuple[int, ...], loop: bool = False) -> ns.Network:
    """A population with an edge of each delay, in steps, to the next, and with a loop of one step if wanted."""
    torch.manual_seed(0)
    edges = [ns.Edge("in", "a", ns.Linear(6, 8))]
    edges += [ns.Edge("a", "a", ns.Linear(8, 8))] * loop
    edges += [ns.Edge("a", "b", ns.Linear(8, 4), delay=n * DT, name=f"after {n}") for n in delays]
    neurons = {name: ns.LIF(dt=DT, tau_mem=3e-3, v_th=0.1) for name in ("a", "b")}
    return exact(ns.Network({"in": ns.Input(6), **neurons}, edges).double())


@pytest.mark.parametrize("delay", [1, 2, 4])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 7, 9])
def test_a_delayed_output_is_what_was_sent_that_many_steps_before(delay, steps):
    sent = torch.arange(14.0)[:, None]
    line, z = sent[:5], sent[5:]
    assert torch.equal(delayed(line, z, delay, steps), sent[5 - delay : 5 - delay + steps])
    if steps <= delay:
        assert delayed(line, z, delay, steps).untyped_storage().data_ptr() == line.untyped_storage().data_ptr()
    z = z[:steps]
    after = shifted(line, z)
    assert torch.equal(after, sent[steps : steps + 5])
    assert after.untyped_storage().nbytes() == 5 * 4 and after.data_ptr() != z.data_ptr()


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("through_time", [True, False])
@pytest.mark.parametrize("recompute", [True, False])
def test_each_edge_reads_the_one_line_of_its_source_at_its_own_delay(loop, through_time, recompute):
    delays = (0, 1, 3, 7)
    net, x = fan_of(delays, loop), spikes(30)
    z, state = net(x, through_time=through_time, recompute=recompute)
    sent = net.run(x, None, ["a"]).recorded["a"]
    assert set(state.in_flight) == {"a"} and torch.equal(state.in_flight["a"], sent[-7:])
    assert not state.in_flight["a"].requires_grad or through_time
    edges = {edge.name: edge for edge in net.edges}
    late = {n: torch.cat((torch.zeros(n, 3, 8).double(), sent))[:30] for n in delays}
    current = sum(edges[f"after {n}"](late[n]) for n in delays)
    assert torch.equal(net.nodes["b"](current)[0], z) and 0.01 < z.mean() < 0.9
    for n in delays:
        assert torch.equal(arriving(edges[f"after {n}"], sent, None), late[n])
        assert torch.equal(arriving(edges[f"after {n}"], sent[12:], net(x[:12])[1]), late[n][12:])


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("cuts", [[1] * 30, [2, 3, 25], [0, 7, 6, 17], [8, 22]])
def test_a_run_in_pieces_has_outputs_and_gradients_of_the_run_in_one(loop, cuts):
    net, x = fan_of((0, 1, 3, 7), loop), spikes(30)
    g = torch.randn(30, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    results = []
    for pieces in ([30], cuts):
        net.zero_grad()
        state, outputs = None, []
        data = x.clone().requires_grad_()
        for part in data.split(pieces):
            z, state = net(part, state)
            outputs.append(z)
        torch.cat(outputs).backward(g)
        found = [data.grad, *(p.grad for p in net.parameters())]
        assert all(bool(each.any()) for each in found)
        results.append((torch.cat(outputs), state.in_flight["a"], found))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_weights_whose_spikes_arrive_after_the_run_have_gradients_of_zero(steps):
    net = fan_of((5, 7))
    z, state = net(spikes(steps))
    z.sum().backward()
    assert z.requires_grad and all(p.grad is not None for p in net.parameters())
    weight = next(net.parameters())
    assert not weight.grad.any()
    assert state.in_flight["a"].requires_grad


def test_gradients_of_all_edges_add_up_in_the_line_of_their_source():
    net, x = fan_of((1, 3, 7)), spikes(4)
    _, state = net(spikes(9))
    line = state.in_flight["a"].detach().requires_grad_()
    given = ns.NetworkState(state.detach().nodes, {"a": line})
    z, after = net(x, given)
    g = torch.randn_like(z)
    i = torch.zeros(4, 3, 4).double().requires_grad_()
    edges = {edge.name: edge for edge in net.edges}
    sent = net.run(x, given, ["a"]).recorded["a"]
    both = torch.cat((line.detach(), sent)).requires_grad_()
    current = sum(edges[f"after {n}"](both[7 - n : 11 - n]) for n in (1, 3, 7)) + i
    found = torch.autograd.grad((z * g).sum() + after.in_flight["a"][0].sum(), line)[0]
    out = net.nodes["b"](current, given.nodes["b"])[0]
    expected = torch.autograd.grad((out * g).sum() + both[4].sum(), both)[0]
    torch.testing.assert_close(found, expected[:7], rtol=1e-12, atol=1e-12)
    assert bool(found[:6].any())


def test_a_network_of_64_edges_keeps_the_spikes_of_their_source_once():
    nodes = {"in": ns.Input(6), "a": ns.LIF(dt=DT), **{f"b{k}": ns.LIF(dt=DT) for k in range(64)}}
    edges = [ns.Edge("in", "a", ns.Linear(6, 100))]
    edges += [ns.Edge("a", f"b{k}", ns.Linear(100, 2), delay=(k + 1) * DT) for k in range(64)]
    net = ns.Network(nodes, edges)
    for x in (torch.zeros(200, 5, 6), torch.zeros(1, 5, 6)):
        with torch.no_grad():
            states = (net.initial_state(x), net(x)[1], net(x)[1].detach(), net(x)[1].select(slice(None)))
        for state in states:
            storages = {v.untyped_storage().data_ptr(): v.untyped_storage() for v in state.in_flight.values()}
            assert sum(storage.nbytes() for storage in storages.values()) == 64 * 5 * 100 * 4


def test_a_cycle_with_synapses_of_shorter_delays_than_its_chunks():
    torch.manual_seed(0)
    late = torch.randint(0, 3, (4, 6))
    late[0, 0], late[0, 1] = 0, 2
    edges = [
        ns.Edge("in", "a", ns.Linear(6, 6)),
        ns.Edge("a", "b", RoundedDelays(torch.randn(4, 6), late, dt=DT)),
        ns.Edge("b", "a", ns.Linear(4, 6), delay=7 * DT),
    ]
    neurons = {name: ns.LIF(dt=DT, tau_mem=3e-3, v_th=0.05) for name in ("a", "b")}
    net, x = exact(ns.Network({"in": ns.Input(6), **neurons}, edges).double()), spikes(40)
    whole, end = net(x)
    state, parts = None, []
    for part in x.split(1):
        z, state = net(part, state)
        parts.append(z)
    assert torch.equal(torch.cat(parts), whole) and whole.sum() > 30
    assert {name: len(line) for name, line in end.in_flight.items()} == {"a": 2, "b": 7}
    assert all(torch.equal(state.in_flight[name], line) for name, line in end.in_flight.items())


def test_an_edge_that_leaves_a_cycle_reaches_further_back_than_the_cycle():
    torch.manual_seed(0)
    edges = [
        ns.Edge("in", "a", ns.Linear(6, 6)),
        ns.Edge("a", "b", DelayedLinear(6, 4, 2 * DT, dt=DT)),
        ns.Edge("b", "a", ns.Linear(4, 6), delay=2 * DT),
        ns.Edge("b", "out", ns.Linear(4, 3), delay=9 * DT),
        ns.Edge("a", "out", DelayedLinear(6, 3, 4 * DT, dt=DT), delay=2 * DT),
    ]
    neurons = {name: ns.LIF(dt=DT, tau_mem=3e-3, v_th=0.05) for name in ("a", "b", "out")}
    net, x = exact(ns.Network({"in": ns.Input(6), **neurons}, edges).double()).eval(), spikes(40)
    whole, end, recorded, *_ = net.run(x, None, ["a", "b"])
    assert torch.equal(end.in_flight["b"], recorded["b"][-9:]) and torch.equal(end.in_flight["a"], recorded["a"][-6:])
    for cuts in ([1] * 40, [13, 27], [3, 30, 7]):
        state, parts = None, []
        for part in x.split(cuts):
            z, state = net(part, state)
            parts.append(z)
        assert torch.equal(torch.cat(parts), whole) and whole.sum() > 5
        assert all(torch.equal(state.in_flight[name], line) for name, line in end.in_flight.items())
