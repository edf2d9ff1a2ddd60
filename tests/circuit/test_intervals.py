"""Plastic edges of circuits between whose intervals the host changes or records weights: scaling and recording."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit.engine import Engine
from neurosim.circuit.explanation import explained
from neurosim.circuit.rule_checks import checked_rules
from neurosim.errors import InputError, UnitError
from neurosim.plasticity import (
    HomeostaticScaling,
    HomeostaticThreshold,
    PairSTDP,
    RewardModulated,
    Rewards,
    SynapticScaling,
    ThresholdHomeostasis,
    TsodyksMarkram,
)
from tests.circuit.test_plastic import NE, large, network

DT = 1e-4
PAIR = PairSTDP(w_max=40.0, a_plus=0.8, a_minus=0.9)
SCALING = HomeostaticScaling(200.0, rate=5e-4, tau=0.05, every=50 * DT)
REWARDED = RewardModulated(PAIR, rate=2.0, tau=5e-3, reward=Rewards([20 * DT, 150 * DT], [1.0, 2.0]))


def test_scaling_is_that_of_the_layered_rule_between_calls():
    net = network()
    run = ns.simulate(net, steps=320, seed=5, plasticity={"E->E": SCALING}, record=["E"])
    rule = SynapticScaling(net, {"E": 200.0}, rate=5e-4, tau=0.05, edges={"E": "E->E"})
    before, state, spikes = net["E->E"][0].weight.detach().clone(), net.initial_state(batch=1, seed=5), []
    for steps in (*[50] * 6, 20):
        result = net.run(None, state, ["E"], steps=steps, batch=1)
        state, z = result.state, result.recorded["E"]
        spikes.append(z)
        if steps == 50:
            rule.learn({"E": z})
    wanted = ns.Events.from_grid(torch.cat(spikes), DT)
    assert np.array_equal(run.spikes["E"].step, wanted.step)
    assert np.array_equal(run.spikes["E"].neuron, wanted.neuron)
    weight = run.state.plastic["E->E"].weight[0]
    assert not torch.allclose(weight, before, rtol=1e-2)
    torch.testing.assert_close(weight, net["E->E"][0].weight.detach(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("per_neuron", [False, True])
def test_thresholds_are_those_of_the_layered_rule_between_calls(per_neuron):
    net = network()
    if per_neuron:
        net = with_thresholds(net, torch.linspace(0.9, 1.1, NE))
    rule = HomeostaticThreshold(200.0, rate=5e-4, tau=0.05, every=50 * DT)
    run = ns.simulate(net, steps=320, seed=5, plasticity={"E": rule, "E->E": PAIR}, record=["E"])
    layered = net if per_neuron else with_thresholds(net, torch.ones(NE))
    learner = ThresholdHomeostasis(layered, {"E": 200.0}, rate=5e-4, tau=0.05)
    state, spikes = layered.initial_state(batch=1, seed=5), []
    for steps in (*[50] * 6, 20):
        part = ns.simulate(layered, steps=steps, state=state, plasticity={"E->E": PAIR}, record=["E"])
        state = part.state
        spikes.append(part.spikes["E"])
        if steps == 50:
            learner.learn({"E": part.spikes["E"].to_grid()})
    wanted = ns.Events.joined(spikes)
    assert np.array_equal(run.spikes["E"].step, wanted.step)
    assert np.array_equal(run.spikes["E"].neuron, wanted.neuron)
    assert torch.equal(run.state.plastic["E"].threshold[0], layered.nodes["E"].value("v_th"))
    assert float(run.state.plastic["E"].threshold.std()) > 1e-3
    assert torch.equal(run.state.plastic["E->E"].weight, state.plastic["E->E"].weight)


def test_neurons_at_rest_fire_when_their_thresholds_fall_below_it():
    silent = ns.circuit.SpikeTrain(ns.Events(step=[399], neuron=[0], T=400, dt=DT, shape=1))
    net = ns.Network(
        {"x": silent, "n": ns.LIF(dt=DT, size=200)},
        [
            ns.Edge("x", "n", ns.Drawn(ns.circuit.AllToAll(), weight=0.25)),
            ns.Edge("n", "n", ns.Drawn(ns.circuit.Bernoulli(0.1), weight=0.125), delay=DT),
        ],
    )
    rule = HomeostaticThreshold(100.0, rate=6e-3, every=100 * DT, lowest=-0.5)  # falls by 0.6 in each interval
    run = ns.simulate(net, steps=400, plasticity={"n": rule}, record=["n"])
    assert run.spikes["n"].step.min() == 200
    assert len(run.spikes["n"]) > 200


def with_thresholds(net, values):
    nodes = dict(net.nodes.items())
    nodes["E"] = nodes["E"].with_values(v_th=values)
    return ns.Network(nodes, [ns.Edge(e.source, e.target, e.synapses, delay=e.delay) for e in net.edges], output="E")


def test_scaling_drives_neurons_to_the_target_rate():
    drive = np.linspace(300.0, 900.0, 8)
    net = ns.Network(
        {"drive": ns.circuit.Poisson(drive, 8), "n": ns.LIF(size=8)},
        [ns.Edge("drive", "n", ns.Drawn(ns.circuit.OneToOne(), weight=6.0))],
        dt=1e-3,
    )
    rule = HomeostaticScaling(20.0, rate=2e-3, tau=2.0, every=0.5)
    run = ns.simulate(net, seconds=60.0, seed=1, plasticity={"drive->n": rule})
    events = run.spikes["n"]
    early, late = (
        np.bincount(events.neuron[(events.step >= a) & (events.step < a + 30_000)], minlength=8) / 30.0
        for a in (0, 30_000)
    )
    assert np.abs(late - 20.0).max() < 3.0 < np.abs(early - 20.0).max()


RULES = [PAIR, SCALING, (PAIR, SCALING), (REWARDED, SCALING)]
THRESHOLDS = HomeostaticThreshold(200.0, rate=5e-4, tau=0.05, every=70 * DT)


def same(a, b):
    assert a.state.plastic.keys() == b.state.plastic.keys()
    for name, state in b.state.plastic.items():
        for field in state._fields:
            assert torch.equal(getattr(a.state.plastic[name], field), getattr(state, field)), field
    for name, events in b.spikes.items():
        assert np.array_equal(a.spikes[name].step, events.step)
        assert np.array_equal(a.spikes[name].neuron, events.neuron)
    for name, trace in b.traces.items():
        assert np.array_equal(np.asarray(a.traces[name]), np.asarray(trace)), name


def record(neurons=None):
    return [
        "E",
        ns.Trace("E.v", neurons=3, every=7 * DT),
        ns.Trace("E->E.weight", synapses=[5, 900, 17], every=30 * DT),
    ]


@pytest.mark.parametrize("rules", RULES)
def test_weights_are_recorded_after_the_changes_of_their_step(rules):
    net = network(delayed=True)
    run = ns.simulate(net, steps=200, seed=5, plasticity={"E->E": rules}, record=record())
    trace = np.asarray(run.traces["E->E.weight"])
    assert trace.shape == (7, 1, 3)
    assert np.array_equal(run.times("E->E.weight"), np.arange(0, 200, 30) * DT)
    assert len(np.unique(trace)) > 5
    for row, step in enumerate(range(0, 200, 30)):
        shorter = ns.simulate(net, steps=step + 1, seed=5, plasticity={"E->E": rules})
        assert np.array_equal(trace[row], shorter.state.plastic["E->E"].weight[:, [5, 900, 17]].numpy())


@pytest.mark.parametrize("rules", RULES)
def test_recording_and_chunks_and_files_and_trials_change_nothing(rules, tmp_path):
    net, plasticity = network(delayed=True), {"E->E": rules, "E": THRESHOLDS}
    whole = ns.simulate(net, steps=300, seed=5, batch=2, plasticity=plasticity, record=record())
    plain = ns.simulate(net, steps=300, seed=5, batch=2, plasticity=plasticity, record=["E"])
    same(ns.Recording({**whole.spikes}, {}, dt=DT, T=300, B=2, state=whole.state), plain)
    same(ns.simulate(net, steps=300, seed=5, batch=2, plasticity=plasticity, record=record(), chunk=13), whole)
    with ns.simulate(
        net, steps=300, seed=5, batch=2, plasticity=plasticity, record=record(), chunk=64, path=tmp_path / "a.h5",
        checkpoint=0.0,
    ) as stored:  # fmt: skip
        same(stored, whole)
        assert np.array_equal(stored.times("E->E.weight"), whole.times("E->E.weight"))
    alone = ns.simulate(net, steps=300, seed=5, trials=[1], plasticity=plasticity, record=record())
    assert np.array_equal(np.asarray(alone.traces["E->E.weight"])[:, 0], np.asarray(whole.traces["E->E.weight"])[:, 1])
    first = ns.simulate(net, steps=117, seed=5, batch=2, plasticity=plasticity)
    rest = ns.simulate(net, steps=183, state=first.state, plasticity=plasticity)
    same(
        ns.Recording({}, {}, dt=DT, T=183, B=2, state=rest.state),
        ns.Recording({}, {}, dt=DT, T=300, B=2, state=whole.state),
    )


def test_a_run_that_ends_early_is_resumed_with_its_weights(tmp_path):
    net, plasticity, path = network(delayed=True), {"E->E": (PAIR, SCALING), "I": THRESHOLDS}, tmp_path / "run.h5"
    whole = ns.simulate(net, steps=300, seed=5, plasticity=plasticity, record=record())
    settings = dict(steps=300, seed=5, plasticity=plasticity, record=record(), chunk=40, path=path, checkpoint=0.0)

    class Stopped(Exception):
        pass

    calls = itertools.count()
    advance = Engine.advance

    def stopping(self, *arguments):
        if next(calls) == 4:
            raise Stopped
        return advance(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "advance", stopping)
        with pytest.raises(Stopped):
            ns.simulate(net, **settings)
    assert not path.exists()
    with ns.simulate(net, **settings, resume=True) as resumed:
        same(resumed, whole)


def test_weights_of_all_synapses_at_each_step_without_a_trace():
    net = network()
    run = ns.simulate(net, steps=20, seed=5, plasticity={"E->E": PAIR}, record=["E->E.weight"])
    trace = np.asarray(run.traces["E->E.weight"])
    assert trace.shape == (20, 1, len(net["E->E"][0].weight))
    assert np.array_equal(trace[-1, 0], run.state.plastic["E->E"].weight[0].numpy())
    assert explained(net, ["E->E.weight"], 1, {"E->E": PAIR}).applies
    assert np.array_equal(trace[0, 0], net["E->E"][0].weight.detach().numpy())


def test_the_result_is_that_of_one_part():
    net, found = large(300), []
    rules = checked_rules(net, {"E->E": (PAIR, SCALING), "E": THRESHOLDS})
    for parts in (1, 3):
        what = {
            "E": None,
            "E->E.weight": ns.Trace("E->E.weight", every=40 * DT).sampling(100, 200, DT, of_synapses=True),
        }
        engine = Engine(net, net.initial_state(batch=1, seed=3), what, parts=parts, plasticity=rules)
        assert engine.wiring.division.parts == parts
        found.append((engine.advance(200), engine.state().plastic["E->E"]))
    (one, state), (other, other_state) = found
    assert np.array_equal(one["E"].step, other["E"].step)
    assert torch.equal(one["E->E.weight"], other["E->E.weight"])
    assert all(torch.equal(a, b) for a, b in zip(state, other_state, strict=True))


def test_what_is_impossible_is_refused_by_name():
    net = network()
    impossible: tuple[tuple[Any, type[Exception], str], ...] = (
        ((PAIR, PAIR), InputError, "rules of one kind"),
        ((SCALING, TsodyksMarkram()), InputError, "stands alone"),
        ((), InputError, "no rule"),
        (HomeostaticScaling(5.0, rate=1e-3, every=0.5 * DT), UnitError, "every"),
    )
    for rules, kind, message in impossible:
        with pytest.raises(kind, match=message):
            ns.simulate(net, steps=3, plasticity={"E->E": rules})
    unknown: tuple[tuple[Any, Any, str], ...] = (
        ("E->I.weight", PAIR, "do not change in this run"),
        ("E->E.weight", TsodyksMarkram(), "do not change in this run"),
        ("E->E.pre", PAIR, r"can record \['weight'\]"),
        (ns.Trace("E->E.weight", neurons=3), PAIR, "give synapses= instead of neurons="),
        (ns.Trace("E->E.weight", synapses=[10**6]), PAIR, "has synapses 0 ..."),
        (ns.Trace("E.v", synapses=[1]), PAIR, "give neurons= instead of synapses="),
    )
    for what, rule, text in unknown:
        with pytest.raises(InputError, match=text):
            ns.simulate(net, steps=3, plasticity={"E->E": rule}, record=[what])
    for rules, text in (
        ({"E->E": THRESHOLDS}, "needs the name of a population"),
        ({"noise": THRESHOLDS}, "population"),
    ):
        with pytest.raises(InputError, match=text):
            ns.simulate(net, steps=3, plasticity=rules)
    state = ns.simulate(net, steps=3, seed=1, plasticity={"E": THRESHOLDS}).state
    with pytest.raises(InputError, match="holds weights that changed"):
        ns.simulate(net, steps=3, state=state)
    for arguments in (dict(target=0.0, rate=1.0), dict(target=1.0, rate=-1.0), dict(target=1.0, rate=1.0, every=0.0)):
        with pytest.raises(InputError, match="must be a number above 0"):
            HomeostaticScaling(**arguments)
