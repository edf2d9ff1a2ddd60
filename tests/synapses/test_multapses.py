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
from neurosim.hardware.loihi import loihi_neurons
from neurosim.hardware.netx import read_netx, write_netx
from neurosim.hardware.quantise import quantise
from neurosim.network.population import Population
from neurosim.synapses import DelayedSparse

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
    np.add.at(matrix, (sparse.post, sparse.pre), sparse.weight)
    assert matrix.tolist() == MATRIX and len(sparse.weight) == 4


def test_a_sum_that_the_chip_cannot_hold_is_refused_by_lava() -> None:
    to_lava(network(loihi_neurons(dt=DT, v_th=9)))
    with pytest.raises(
        ExportError, match=r"edge 'input->out': .* several synapses of one pair, have sums .* up to 400"
    ):
        to_lava(network(loihi_neurons(dt=DT, v_th=9), (200.0, 3.0, 200.0, 7.0, 16.0, 32.0)))


def test_netx_holds_their_sum(tmp_path: Path) -> None:
    write_netx(network(loihi_neurons(dt=DT, v_th=9)), tmp_path / "a.net")
    (synapse,) = (s for s in read_netx(tmp_path / "a.net", dt=DT).edges[0].synapses if isinstance(s, ns.Linear))
    assert synapse.weight.tolist() == MATRIX
    with pytest.raises(ExportError, match="netx clips beyond"):
        write_netx(network(loihi_neurons(dt=DT, v_th=9), (200.0, 3.0, 200.0, 7.0, 16.0, 32.0)), tmp_path / "b.net")


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


# With delays.


def delayed(delay: list[int], neuron: Population | None = None) -> ns.Network:
    """The second and the third synapse are those of one pair."""
    pairs, weight = torch.tensor([[0, 1, 1, 1], [0, 1, 1, 2]]), torch.tensor([2.0, 4.0, 6.0, 8.0])
    synapse = DelayedSparse(3, 2, pairs, torch.tensor(delay), weight, dt=DT)
    nodes = {"input": ns.Input(3), "out": neuron or ns.IF(dt=DT, v_th=9.0)}
    return ns.Network(nodes, [ns.Edge("input", "out", synapse)])


def test_lava_merges_those_of_one_delay() -> None:
    for net in (delayed([1, 3, 3, 2]), delayed([1, 3, 3, 2], loihi_neurons(dt=DT, v_th=9))):
        (sparse,) = to_lava(net).graph.sparse
        assert [*zip(*(a.tolist() for a in (sparse.post, sparse.pre, sparse.weight, sparse.delay)), strict=True)] == [
            (0, 0, 2, 1),
            (1, 1, 10, 3),
            (1, 2, 8, 2),
        ]


def test_lava_runs_them_as_they_are() -> None:
    pytest.importorskip("lava.magma")
    from neurosim.hardware.lava import verify

    x = (torch.rand(40, 1, 3, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    compared = verify(delayed([1, 3, 3, 2]), x)
    assert compared.spikes > 10 and compared.spikes_differing == 0


@pytest.mark.parametrize("integers", [False, True])
def test_synapses_of_one_pair_with_different_delays_are_refused_by_lava(integers: bool) -> None:
    net = delayed([1, 2, 3, 2], loihi_neurons(dt=DT, v_th=9) if integers else None)
    with pytest.raises(
        ExportError,
        match=r"edge 'input->out': .*the synapses from neuron 1 to 1 have different delays \(2, 3 steps\) and cannot "
        r"be merged; give each delay an edge of its own, see DelayedSparse.by_delay",
    ):
        to_lava(net)


def test_netx_holds_one_delay_for_each_neuron(tmp_path: Path) -> None:
    for number, delay in enumerate(([1, 4, 4, 4], [1, 3, 3, 2])):  # of the neurons after, and of those before
        net = delayed(delay, loihi_neurons(dt=DT, v_th=9))
        write_netx(net, tmp_path / f"{number}.net")
        again = read_netx(tmp_path / f"{number}.net", dt=DT)
        x = (torch.rand(40, 2, 3, generator=torch.Generator().manual_seed(0)) < 0.4).float()
        assert torch.equal(again(x)[0], net(x)[0]) and net(x)[0].any()
    for delay in ([1, 3, 4, 3], [4, 2, 3, 3]):
        with pytest.raises(ExportError, match="its delays differ from synapse to synapse"):
            write_netx(delayed(delay, loihi_neurons(dt=DT, v_th=9)), tmp_path / "refused.net")
