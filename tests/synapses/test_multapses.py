"""What exporters make of several synapses of one pair of neurons: their sum, or a refusal where it does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.energy.fanout import fan_out
from neurosim.errors import ExportError
from neurosim.hardware.lava import to_lava
from neurosim.hardware.loihi import loihi
from neurosim.hardware.netx import read_netx, write_netx
from neurosim.hardware.quantise import quantise
from neurosim.network.population import Population

DT = 1e-3
PAIRS = torch.tensor([[1, 0, 1, 0, 1, 1], [2, 1, 2, 1, 1, 0]])
MATRIX = [[0.0, 10.0, 0.0], [32.0, 16.0, 6.0]]


def network(neuron: Population, weight: tuple[float, ...] = (2.0, 3.0, 4.0, 7.0, 16.0, 32.0)) -> ns.Network:
    """Two pairs of the three by two neurons have two synapses each."""
    return ns.Sequential(ns.Sparse(3, 2, PAIRS, torch.tensor(weight)), neuron, names=["out"])


def test_nir_holds_their_sum() -> None:
    nir = pytest.importorskip("nir")
    from neurosim.exchange.nir import to_nir

    (node,) = (n for n in to_nir(network(ns.IF(dt=DT))).nodes.values() if isinstance(n, nir.Linear))
    assert node.weight.tolist() == MATRIX


def test_lava_holds_their_sum() -> None:
    (sparse,) = to_lava(network(ns.IF(dt=DT))).graph.sparse
    matrix = np.zeros((2, 3))
    np.add.at(matrix, (sparse.after, sparse.before), sparse.weight)
    assert matrix.tolist() == MATRIX and len(sparse.weight) == 4


def test_a_sum_that_the_chip_cannot_hold_is_refused_by_lava() -> None:
    to_lava(network(loihi(dt=DT, v_th=9)))
    with pytest.raises(
        ExportError, match=r"edge 'input->out': .* several synapses of one pair, together come to .* 400"
    ):
        to_lava(network(loihi(dt=DT, v_th=9), (200.0, 3.0, 200.0, 7.0, 16.0, 32.0)))


def test_netx_holds_their_sum(tmp_path: Path) -> None:
    write_netx(network(loihi(dt=DT, v_th=9)), tmp_path / "a.net")
    (synapse,) = (s for s in read_netx(tmp_path / "a.net", dt=DT).edges[0].synapses if isinstance(s, ns.Linear))
    assert synapse.weight.tolist() == MATRIX
    with pytest.raises(ExportError, match="netx clips beyond"):
        write_netx(network(loihi(dt=DT, v_th=9), (200.0, 3.0, 200.0, 7.0, 16.0, 32.0)), tmp_path / "b.net")


def test_each_counts_as_a_synapse() -> None:
    fan = fan_out(network(ns.IF(dt=DT)).edges[0].synapses[0], (3,))
    assert fan is not None
    assert fan.existing.tolist() == fan.effective.tolist() == [1, 3, 2] and fan.weights == 6


def test_quantising_keeps_each() -> None:
    net = network(ns.IF(dt=DT))
    made = quantise(net, torch.ones(20, 1, 3)).net.edges[0].synapses[0]
    assert isinstance(made, ns.Sparse)
    (given,) = net.edges[0].synapses
    assert isinstance(given, ns.Sparse) and torch.equal(made.connections, given.connections)
    assert torch.equal(made.weight.argsort(), given.weight.argsort())
