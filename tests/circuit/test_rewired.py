"""Synapses that are lost and grow in the engine of circuits, against runs of networks that are rewired by hand."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit.engine import Engine
from neurosim.circuit.rule_checks import checked_rules
from neurosim.errors import InputError, ShapeError
from neurosim.plasticity import HomeostaticScaling, PairSTDP, RewardModulated, Rewards, Rewiring, TsodyksMarkram
from neurosim.plasticity.rewiring import Pairing
from neurosim.synapses import DelayedSparse, Sparse
from tests.circuit.test_intervals import same
from tests.circuit.test_plastic import NE, large, network

DT = 1e-4
PAIR = PairSTDP(w_max=40.0, a_plus=0.8, a_minus=0.9, mu=1.0)
REWIRING = Rewiring(every=60 * DT, weight=18.0, below=15.0, fraction=0.1)
SCALING = HomeostaticScaling(200.0, rate=5e-4, tau=0.05, every=50 * DT)
REWARDED = RewardModulated(PAIR, rate=2.0, tau=5e-3, reward=Rewards([20 * DT, 150 * DT], [1.0, 2.0]))


def replaced(net, connections, delay, weight):
    """The network with other synapses of E->E, and where in its list each of those given is."""
    number = torch.arange(len(weight))
    order = np.lexsort(
        (number, connections[0], connections[1]) if delay is None else (number, connections[0], delay, connections[1])
    )
    ends = torch.from_numpy(np.stack(connections))[:, order]
    values = weight[order]
    synapse = (
        Sparse(NE, NE, ends, values)
        if delay is None
        else DelayedSparse(NE, NE, ends, torch.from_numpy(delay[order]), values, dt=DT)
    )
    edges = [ns.Edge(e.source, e.target, synapse if e.name == "E->E" else e.synapses, delay=e.delay) for e in net.edges]
    return ns.Network(dict(net.nodes.items()), edges, output="E"), torch.from_numpy(order)


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("keep", ["in", "out"])
def test_the_run_is_that_of_networks_rewired_by_hand(keep, delayed):
    net = network(delayed)
    rewiring = Rewiring(every=60 * DT, weight=18.0, below=15.0, fraction=0.1, keep=keep)
    run = ns.simulate(net, steps=200, seed=5, plasticity={"E->E": (PAIR, rewiring)})
    synapse = net["E->E"][0]
    post, pre = (end.numpy() for end in synapse.connections)
    delay = synapse.delay.numpy() if delayed else None
    pairing, weight = Pairing(post, pre), synapse.weight.detach().clone()
    order, now, state, spikes = torch.arange(len(weight)), net, None, []
    for number in (1, 2, 3, 4):
        start = dict(seed=5) if state is None else dict(state=state)
        part = ns.simulate(now, steps=60 if number < 4 else 20, plasticity={"E->E": PAIR}, **start)
        spikes.append(part.spikes["E"])
        weight = torch.empty_like(weight)
        weight[order] = part.state.plastic["E->E"].weight[0]
        if number < 4:
            lost = rewiring.lost(weight.double().numpy())
            pairing, grown = rewiring.grown(pairing, lost, (NE, NE), number, zlib.crc32(b"E->E"), is_loop=True)
            assert len(grown) > 100
            weight[grown] = 18.0
            now, order = replaced(net, pairing, delay, weight)
            held = part.state.plastic["E->E"]._replace(weight=weight[order][None])
            state = part.state._replace(plastic={"E->E": held})
    wanted = ns.Events.joined(spikes)
    assert np.array_equal(run.spikes["E"].step, wanted.step)
    assert np.array_equal(run.spikes["E"].neuron, wanted.neuron)
    found = run.state.plastic["E->E"]
    assert torch.equal(found.weight[0], weight)
    assert np.array_equal(found.connections[0].numpy(), np.stack(pairing))
    kept = 0 if keep == "in" else 1
    assert np.array_equal(found.connections[0, kept].numpy(), (post, pre)[kept])


@pytest.mark.parametrize("rules", [REWIRING, (PAIR, REWIRING), (REWARDED, SCALING, REWIRING)])
def test_chunks_and_files_and_trials_change_nothing(rules, tmp_path):
    net, plasticity = network(delayed=True), {"E->E": rules}
    record = ["E", *(ns.Trace(f"E->E.{each}", every=30 * DT) for each in ("weight", "post", "pre"))]
    settings = dict(steps=300, seed=5, plasticity=plasticity, record=record)
    whole = ns.simulate(net, batch=2, **settings)
    ends = np.asarray(whole.traces["E->E.pre"])[:, 0]
    assert (ends[0] == net["E->E"][0].connections[1].numpy()).all()
    assert (ends[-1] != ends[0]).mean() > 0.2
    same(ns.simulate(net, batch=2, chunk=13, **settings), whole)
    with ns.simulate(net, batch=2, chunk=64, path=tmp_path / "a.h5", checkpoint=0.0, **settings) as stored:
        same(stored, whole)
    alone = ns.simulate(net, trials=[1], **settings)
    assert torch.equal(alone.state.plastic["E->E"].connections[0], whole.state.plastic["E->E"].connections[1])
    assert torch.equal(alone.state.plastic["E->E"].weight[0], whole.state.plastic["E->E"].weight[1])
    first = ns.simulate(net, steps=117, seed=5, batch=2, plasticity=plasticity)
    rest = ns.simulate(net, steps=183, state=first.state, plasticity=plasticity)
    same(
        ns.Recording({}, {}, dt=DT, T=183, B=2, state=rest.state),
        ns.Recording({}, {}, dt=DT, T=300, B=2, state=whole.state),
    )


def test_the_result_is_that_of_one_part():
    net, found = large(300), []
    rules = checked_rules(net, {"E->E": (PAIR, Rewiring(every=40 * DT, weight=18.0, fraction=0.2))})
    for parts in (1, 2, 3):
        engine = Engine(net, net.initial_state(batch=1, seed=3), ["E"], parts=parts, plasticity=rules)
        assert len(set(engine.wiring.division.bounds["E"])) > min(parts, 2)
        found.append(([engine.advance(steps)["E"] for steps in (130, 70)], engine.state().plastic["E->E"]))
    for events, state in found[1:]:
        for mine, wanted in zip(events, found[0][0], strict=True):
            assert np.array_equal(mine.step, wanted.step)
            assert np.array_equal(mine.neuron, wanted.neuron)
        assert all(torch.equal(a, b) for a, b in zip(state, found[0][1], strict=True))


def test_what_is_impossible_is_refused_by_name():
    net = network()
    for rules, message in (
        ((TsodyksMarkram(), REWIRING), "stands alone"),
        ((PAIR, Rewiring(every=DT, weight=50.0)), "a new synapse has the weight 50, outside the bounds"),
    ):
        with pytest.raises(InputError, match=message):
            ns.simulate(net, steps=3, plasticity={"E->E": rules})
    state = ns.simulate(net, steps=3, seed=1, plasticity={"E->E": PAIR}).state
    with pytest.raises(ShapeError, match="connections must be"):
        ns.simulate(net, steps=3, state=state, plasticity={"E->E": (PAIR, REWIRING)})
    one = ns.Network({"x": ns.circuit.Poisson(5.0, 1), "n": ns.LIF(size=1, dt=DT)}, [
        ns.Edge("x", "n", ns.Drawn(ns.circuit.OneToOne(), weight=1.0)),
        ns.Edge("n", "n", Sparse(1, 1, torch.zeros(2, 1, dtype=torch.int64), torch.ones(1)), delay=DT),
    ])  # fmt: skip
    with pytest.raises(InputError, match="no partner in a population of one neuron"):
        ns.simulate(one, steps=3, plasticity={"n->n": Rewiring(every=DT, weight=1.0)})
