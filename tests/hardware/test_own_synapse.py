"""A linear synapse that a user writes goes through every exporter, with the numbers of the matrix that it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.energy import count_operations
from neurosim.exchange.nir import from_nir, to_nir
from neurosim.exchange.peers import ConversionError, to_norse, to_snntorch
from neurosim.hardware.lava import to_lava, verify
from neurosim.hardware.loihi import describe
from neurosim.hardware.netx import read_netx, write_netx
from neurosim.hardware.placement import place
from neurosim.hardware.quantise import fixed, quantise
from neurosim.synapses import Synapse

DT, STEPS, SAMPLES, N_IN, N_OUT = 1e-3, 60, 2, 12, 10


class Banded(Synapse):
    """Each neuron after gets three neighbours before, by the same three factors, and a constant; no `weight`."""

    def __init__(self, factors: tuple[float, ...] = (0.75, -0.25, 0.5), bias: bool = True) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.tensor(factors))
        self.offset = nn.Parameter(torch.linspace(0.0, 0.0625, N_OUT)) if bias else None

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] - 2,)

    def apply_step(self, x: Tensor) -> Tensor:
        current = sum(factor * x[:, k : k + N_OUT] for k, factor in enumerate(self.factors))
        assert isinstance(current, Tensor)
        return current if self.offset is None else current + self.offset


class Crossed(Banded):
    """The same, but not linear."""

    def apply_step(self, x: Tensor) -> Tensor:
        return super().apply_step(x * x.sum(1, keepdim=True))


def matrix(synapse: Banded) -> ns.Linear:
    linear = ns.Linear(N_IN, N_OUT, bias=synapse.offset is not None)
    with torch.no_grad():
        linear.weight.zero_()
        for k, factor in enumerate(synapse.factors):
            linear.weight[torch.arange(N_OUT), torch.arange(N_OUT) + k] = factor
        if synapse.offset is not None and linear.bias is not None:
            linear.bias.copy_(synapse.offset)
    return linear


def network(synapse: Synapse, neuron: ns.Neuron | None = None) -> ns.Network:
    neuron = neuron or ns.LIF(dt=DT, tau_mem=10e-3, r=6.0)
    return ns.Sequential(ns.Input(N_IN), synapse, neuron, names=["out"])


def pair(**choices: Any) -> tuple[ns.Network, ns.Network]:
    """Return a network with the synapse, and one with its matrix."""
    own = Banded(**choices)
    return network(own), network(matrix(own))


def spikes() -> Tensor:
    return (torch.rand(STEPS, SAMPLES, N_IN, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def test_the_networks_do_the_same() -> None:
    own, plain = pair()
    z = own(spikes())[0]
    assert torch.equal(z, plain(spikes())[0]) and 50 < z.sum() < z.numel() / 2


def test_lava_in_floating_point() -> None:
    own, plain = (to_lava(net).graph for net in pair())
    (sparse,), (dense,) = own.sparse, plain.dense
    full = np.zeros((N_OUT, N_IN))
    full[sparse.post, sparse.pre] = sparse.weight
    assert np.array_equal(full, dense.weight) and len(sparse.weight) == 3 * N_OUT
    for name, value in plain.populations[0].arguments.items():
        assert np.array_equal(own.populations[0].arguments[name], value)


def test_lava_runs_it() -> None:
    pytest.importorskip("lava.magma")
    result = verify(pair()[0], spikes(), timeout=120)
    assert result.agrees and result.spikes > 50, result.summary()


@pytest.mark.parametrize("trained", [False, True])
def test_quantised(trained: bool) -> None:
    made = [quantise(net, spikes(), bits=6, trained=trained) for net in pair()]
    own, plain = ((fixed(m.net) if trained else m.net) for m in made)
    assert torch.equal(own(spikes())[0], plain(spikes())[0]) and own(spikes())[0].sum() > 50
    edge, other = (describe(net, "loihi1").edges["input->out"] for net in (own, plain))
    assert np.array_equal(np.sort(edge.weight[edge.weight != 0]), np.sort(other.weight[other.weight != 0]))
    assert (edge.exponent, edge.sign_mode, edge.bits) == (other.exponent, other.sign_mode, other.bits)


def test_the_chip_and_netx_take_it_as_integers(tmp_path: Path) -> None:
    from neurosim.hardware.loihi import loihi_neurons

    synapse = Banded(factors=(64.0, -32.0, 96.0), bias=False)
    own, plain = (network(s, loihi_neurons(dt=DT, dv=300, v_th=3)) for s in (synapse, matrix(synapse)))
    assert describe(own).largest("out") == describe(plain).largest("out") == 192
    for net, name in ((own, "own"), (plain, "plain")):
        write_netx(net, tmp_path / f"{name}.net")
    read, other = (read_netx(tmp_path / f"{name}.net") for name in ("own", "plain"))
    assert torch.equal(read.edges[0].synapses[0].weight, other.edges[0].synapses[0].weight)  # type: ignore[arg-type]
    assert torch.equal(read(spikes())[0], own(spikes())[0]) and own(spikes())[0].sum() > 50
    graph, expected = (to_lava(net).graph for net in (own, plain))
    assert graph.model == expected.model == "fixed_pt"
    assert sorted(graph.sparse[0].weight.tolist()) == sorted(expected.dense[0].weight[expected.dense[0].weight != 0])


def test_placed() -> None:
    own, plain = (place(net, "loihi1") for net in pair())
    assert own.fits and own["out"].as_one_core == plain["out"].as_one_core
    assert own["out"].parts[0].use == plain["out"].parts[0].use


def test_counted() -> None:
    own, plain = (count_operations(net, spikes()) for net in pair())
    assert own.synapses[0].effective == plain.synapses[0].effective > 0
    assert own.synapses[0].connections == own.synapses[0].weights == 3 * N_OUT
    assert own.synapses[0].biases == plain.synapses[0].biases == N_OUT and own.nodes == plain.nodes


def test_nir() -> None:
    nir = pytest.importorskip("nir")
    own, plain = pair()
    graph, expected = to_nir(own), to_nir(plain)
    node = graph.nodes["input_to_out"]
    assert isinstance(node, nir.Affine) and node.weight.dtype == np.float32
    assert np.array_equal(node.weight, expected.nodes["input_to_out"].weight)
    assert np.array_equal(node.bias, expected.nodes["input_to_out"].bias)
    assert torch.equal(from_nir(graph, dt=DT)(spikes())[0], own(spikes())[0])


def test_snntorch_and_norse() -> None:
    pytest.importorskip("snntorch")
    pytest.importorskip("norse")
    own, plain = pair()
    for convert in (to_snntorch, to_norse):
        layer, other = (next(m for m in convert(net).modules() if isinstance(m, nn.Linear)) for net in (own, plain))
        assert torch.equal(layer.weight, other.weight) and torch.equal(layer.bias, other.bias)


def test_one_that_is_not_linear_is_refused_by_name_everywhere(tmp_path: Path) -> None:
    net, x = network(Crossed()), spikes()
    refusals = [
        (lambda: to_lava(net), "edge 'input->out': holds Crossed, which is not linear"),
        (lambda: quantise(net, x), "edge 'input->out': ends with Crossed, which is not linear"),
        (lambda: describe(net), "edge 'input->out': holds Crossed, which is not linear"),
        (lambda: place(net, "loihi1"), "synapses of Crossed cannot be counted: it is not linear"),
        (lambda: count_operations(net, x), "operations of Crossed cannot be counted: it is not linear"),
    ]
    for refused, message in refusals:
        with pytest.raises(ns.NeurosimError, match=message):
            refused()


def test_one_that_is_not_linear_is_refused_by_the_exchange() -> None:
    pytest.importorskip("nir")
    pytest.importorskip("snntorch")
    net = network(Crossed())
    with pytest.raises(ns.NeurosimError, match="edge 'input->out': holds Crossed, which is not linear"):
        to_nir(net)
    with pytest.raises(ConversionError, match="node 'out': Crossed has no layer in torch: it is not linear"):
        to_snntorch(net)
