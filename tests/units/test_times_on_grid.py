"""R15: one rule for every time that must lie on the grid, at every door that takes one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.errors import NeurosimError, UnitError
from neurosim.plasticity import PairSTDP
from neurosim.synapses import DelayedLinear, DelayedSparse, Drawn, RoundedDelays
from neurosim.synapses.connectivity import FixedInDegree
from neurosim.units import steps_obstacle, steps_of

DT = 1e-4


def network(edge):
    return ns.Network({"x": ns.Input(2), "n": ns.LIF(size=2)}, [edge], dt=DT)


def edge(delay):
    return network(ns.Edge("x", "n", ns.Linear(2, 2), delay=delay)).edges[0].delay_steps


def t_ref(value):
    layer = ns.layer(cores.refractory_lif)(t_ref=value, dt=DT)
    return round(layer.value("t_ref") / DT)


def assigned(value):
    layer = ns.layer(cores.refractory_lif)(t_ref=torch.tensor([2e-3, 2e-3], dtype=torch.float64), dt=DT)
    layer.t_ref = torch.tensor([2e-3, value], dtype=torch.float64)
    return round(float(layer.value("t_ref")[1]) / DT)


def each(value, dtype=torch.float64):
    pairs = torch.tensor([[0, 1], [0, 1]])
    return int(DelayedSparse(2, 2, pairs, torch.tensor([0.0, value], dtype=dtype), dt=DT).delay.max())


def single(value):
    return each(value, torch.float32)


def longest(value):
    return DelayedLinear(2, 2, value, dt=DT).memory


def room(value):
    return RoundedDelays(torch.ones(2, 2), torch.zeros(2, 2).long(), max_delay=value, dt=DT).memory


def drawn(value):
    return network(ns.Edge("x", "n", Drawn(FixedInDegree(1), weight=1.0, delay=value)))["x->n"][0].min_delay


def dendritic(value):
    rule = PairSTDP(dendritic_delay=value)
    return len(rule.factors(torch.zeros(3, 1, 1), torch.zeros(3, 1, 1), DT)[1][2])


def seconds(value):
    net = ns.Network({"n": ns.LIF(size=1, init=dict(v=0.1))}, [], dt=DT)
    return ns.simulate(net, seconds=value, record=["n.v"]).T


DOORS = [edge, t_ref, assigned, each, single, longest, room, drawn, dendritic, seconds]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_r15_times_on_the_grid_are_taken(door):
    for steps in (1, 3, 7, 33, 299, 999):
        assert door(steps * DT) == steps
    assert door(0.3 * 1e-2) == 30  # 0.003 less one unit in the last place


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_r15_times_between_steps_are_refused_with_their_neighbours(door):
    for time, low, high in ((2.5 * DT, 0.0002, 0.0003), (998.4 * DT, 0.0998, 0.0999)):
        with pytest.raises(NeurosimError, match=rf"integer number of steps.*nearest are {low:g} s and {high:g} s"):
            door(time)
    if door is not single:  # whose type resolves 1e-4 of a step there
        with pytest.raises(NeurosimError, match="integer number of steps"):
            door(900.00001 * DT)


def test_r15_long_times_are_not_taken_within_a_share_of_themselves():
    assert steps_of("run", "seconds", 100.0, DT) == 1_000_000
    assert steps_of("run", "seconds", 3600.0, 1e-5) == 360_000_000
    assert steps_of("run", "seconds", 1e6, DT) == 10**10
    assert steps_of("run", "seconds", np.float32(1.5e-3), DT) == 15
    assert steps_of("run", "seconds", 2, DT) == 20_000 and steps_of("run", "seconds", 0.0, DT) == 0
    with pytest.raises(
        UnitError, match=r"run: seconds must be .*got 100.00005 s. The nearest are 100 s and 100.0001 s"
    ):
        steps_of("run", "seconds", 100.00005, DT)
    for wrong in (-DT, math.nan, math.inf):
        with pytest.raises(UnitError, match="integer number of steps"):
            steps_of("run", "seconds", wrong, DT)
    for other in ("1", True, None, 1j):
        with pytest.raises(UnitError, match="run: seconds must be a number of s"):
            steps_of("run", "seconds", other, DT)
    assert steps_obstacle("delay", 5e-4 + 2e-10, 1e-4) and not steps_obstacle("delay", 5e-4 + 5e-11, 1e-4)


def test_seconds_or_steps():
    net = ns.Network({"n": ns.LIF(size=1, init=dict(v=0.1))}, [], dt=DT)
    by_time, by_steps = (
        ns.simulate(net, record=["n.v"], **k).traces["n.v"] for k in (dict(seconds=0.01), dict(steps=100))
    )
    assert np.array_equal(by_time, by_steps)
    with pytest.raises(NeurosimError, match=r"steps=3 and seconds=0.1 both give the length"):
        ns.simulate(net, steps=3, seconds=0.1)
    with pytest.raises(NeurosimError, match=r"steps=2000 and batch=None are for networks without Input"):
        fed = ns.Sequential(ns.Linear(1, 1), ns.LIF(), dt=DT)
        ns.simulate(fed, torch.ones(5, 1, 1), seconds=0.2)
