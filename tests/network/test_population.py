"""Anything that keeps to the contract of a population can be a node, whatever it is made of."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, NetworkError, ShapeError, UnitError
from neurosim.network import LayerOutput, Population


class Count(NamedTuple):
    total: torch.Tensor


class Accumulator(Population):
    """Output and state are the sum of the input so far."""

    @property
    def is_spiking(self):
        return False

    def initial_state(self, i):
        return Count(i.new_zeros(i.shape[1:]))

    def run(self, i, state=None, record=(), *, through_time=True):
        self._check_current(i)
        (total,) = self.initial_state(i) if state is None else state
        out = total + i.cumsum(0)
        return LayerOutput(out, Count(out[-1]), {name: out.detach() for name in record})


def test_a_population_of_ones_own_is_a_node():
    net = ns.Sequential(ns.Linear(3, 2), Accumulator("accumulator", 1e-3), ns.Linear(2, 2), ns.LIF(dt=1e-3))
    x = torch.randn(8, 4, 3)
    _, state = net(x)
    assert [*net.populations()] == ["accumulator1", "lif2"] and net.dt == 1e-3
    assert torch.allclose(state.nodes["accumulator1"].total, net.edges[0](x).sum(0), atol=1e-5)
    kept = ns.simulate(net, x, record=["accumulator1", "accumulator1.total", "lif2"], chunk=3)
    assert kept.traces["accumulator1"].shape == (8, 4, 2)
    assert torch.allclose(torch.from_numpy(kept.traces["accumulator1"]), net.edges[0](x).cumsum(0), atol=1e-5)
    assert isinstance(state.detach().nodes["accumulator1"], Count)


def test_a_layer_of_a_core_is_a_population_and_its_kind_is_the_core():
    assert isinstance(ns.LIF(dt=1e-3), Population) and ns.LIF(dt=1e-3).kind == "lif"
    net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3), names=["out"])
    assert net.neurons() == net.populations() == {"out": net.nodes["out"]}


def test_one_without_a_core_is_not_passed_over():
    net = ns.Sequential(ns.Linear(3, 2), Accumulator("accumulator", 1e-3), names=["out"])
    with pytest.raises(NetworkError, match="node 'out' is of type Accumulator, which has no core"):
        net.neurons()


def test_what_every_population_checks():
    with pytest.raises(TypeError, match="abstract"):
        Population("nothing", 1e-3)  # type: ignore[abstract]
    with pytest.raises(UnitError, match=r"accumulator: dt must be a number in \(0, 0.1\) s; got 1. Did you pass milli"):
        Accumulator("accumulator", 1)
    layer = Accumulator("accumulator", 1e-3, size=3)
    assert layer.size == (3,)
    with pytest.raises(ShapeError, match=r"accumulator: i must be a tensor \[T, B, ...\]; got list"):
        layer([1.0])
    with pytest.raises(ShapeError, match=r"accumulator: i must be \[T, B, 3\]; got \[2, 1, 4\]"):
        layer(torch.randn(2, 1, 4))
    with pytest.raises(InputError, match=r"accumulator: i must be a current in floating point; got torch.int64"):
        layer(torch.ones(2, 1, 3, dtype=torch.int64))
