"""Short-term plasticity of Tsodyks and Markram: closed forms, the engine of circuits, and its state."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit.sources import SpikeTrain
from neurosim.errors import InputError, UnitError
from neurosim.plasticity import TsodyksMarkram
from neurosim.synapses import DelayedSparse, Sparse

DT = 1e-4
RULES = [TsodyksMarkram(0.5, 0.8), TsodyksMarkram(0.05, 0.1, 1.0), TsodyksMarkram(1.0, 0.02, 0.3)]


def network(times, delays=(0,), weight=0.375):
    """One source whose currents are what an integrator with two neurons and no leak receives."""
    spikes = SpikeTrain(ns.Events(step=times, neuron=[0] * len(times), T=max(times) + 1, dt=DT, shape=1))
    ends = torch.tensor([[0, 1], [0, 0]])
    weights = torch.tensor([weight, 2 * weight])
    late = torch.tensor([delays[0], delays[-1]])
    synapse = DelayedSparse(1, 2, ends, late * DT, weights, dt=DT) if len(delays) > 1 else Sparse(1, 2, ends, weights)
    return ns.Network(
        {"pre": spikes, "n": ns.LIF(dt=DT, v_th=1e9)},
        [ns.Edge("pre", "n", synapse, delay=0.0 if len(delays) > 1 else delays[0] * DT)],
    ).to(torch.float64)


def received(net, steps, rule, **more):
    """Current of each neuron in each step, from the membrane, and the run."""
    run = ns.simulate(net, steps=steps, plasticity={"pre->n": rule}, record=["n.v"], **more)
    v = np.asarray(run.traces["n.v"])[:, 0]
    alpha = math.exp(-DT / 20e-3)
    return (v - alpha * np.concatenate((np.zeros((1, 2)), v[:-1]))) / (1 - alpha), run


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("regular", [True, False])
def test_r6_the_amplitudes_are_those_of_the_recurrence_for_regular_and_random_trains(rule, regular):
    rng = np.random.default_rng(3)
    times = list(range(500, 2000, 100)) if regular else sorted(set(rng.integers(100, 2500, 25).tolist()))
    current, _ = received(network(times), max(times) + 1, rule)
    wanted = np.array(rule.amplitudes([t * DT for t in times]))
    np.testing.assert_allclose(current[times], 0.375 * wanted[:, None] * [1, 2], rtol=1e-9, atol=1e-12)
    assert abs(np.delete(current, times, 0)).max() < 1e-12


@pytest.mark.parametrize("start", [0, 1, 5000])
def test_r6_the_first_amplitude_is_that_of_a_rested_synapse_whenever_it_comes(start):
    for rule in RULES:
        current, _ = received(network([start]), start + 1, rule)
        assert current[start, 0] == pytest.approx(0.375 * rule.u, rel=1e-12)


def test_the_amplitude_of_a_regular_train_approaches_the_closed_form():
    rule, interval = TsodyksMarkram(0.2, 0.3, 0.5), 0.05
    last = rule.amplitudes([n * interval for n in range(400)])[-1]
    f, d = math.exp(-interval / 0.5), math.exp(-interval / 0.3)
    u = 0.2 / (1 - 0.8 * f)
    assert last == pytest.approx(u * (1 - d) / (1 - (1 - u) * d), rel=1e-12)


def test_r6_each_axonal_delay_of_an_edge_has_the_amplitudes_of_the_train_that_arrives():
    times = [100, 150, 151, 400]
    current, _ = received(network(times, (3, 40)), 500, RULES[1])
    wanted = np.array(RULES[1].amplitudes([t * DT for t in times]))
    np.testing.assert_allclose(current[np.array(times) + 3, 0], 0.375 * wanted, rtol=1e-9)
    np.testing.assert_allclose(current[np.array(times) + 40, 1], 0.75 * wanted, rtol=1e-9)


def test_a_run_continues_from_its_state_and_from_a_file(tmp_path):
    net, rule = network([100, 150, 300, 410], (3, 40)), RULES[1]
    whole, run = received(net, 500, rule)
    assert np.array_equal(received(net, 500, rule, chunk=7)[0], whole)
    ns.simulate(net, steps=200, plasticity={"pre->n": rule}, path=tmp_path / "a.h5").close()
    for first in (ns.simulate(net, steps=200, plasticity={"pre->n": rule}), ns.Recording.load(tmp_path / "a.h5")):
        rest = ns.simulate(net, steps=300, state=first.state, plasticity={"pre->n": rule}, record=["n.v"])
        assert np.array_equal(np.asarray(rest.traces["n.v"]), np.asarray(run.traces["n.v"])[200:])
        assert torch.equal(rest.state.plastic["pre->n"].pre, run.state.plastic["pre->n"].pre)


def test_wrong_numbers_are_refused_by_name():
    with pytest.raises(InputError, match="u must be in"):
        TsodyksMarkram(u=0.0)
    for field in ("tau_rec", "tau_facil"):
        with pytest.raises((InputError, UnitError), match=field):
            TsodyksMarkram(**{field: 800.0})
