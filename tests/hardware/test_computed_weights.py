"""Weights that hooks, pruning or a subclass compute: every reader holds the numbers that run."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import neurosim as ns
from neurosim.energy import count_operations
from neurosim.exchange.nir import from_nir, to_nir
from neurosim.exchange.peers import from_norse, from_snntorch, to_norse, to_snntorch
from neurosim.hardware.lava import to_lava
from neurosim.hardware.loihi import describe, loihi_neurons
from neurosim.hardware.netx import read_netx, write_netx
from neurosim.hardware.placement import place
from neurosim.hardware.quantise import quantise
from neurosim.network import fold

DT, STEPS, SAMPLES, N_IN, N_OUT = 1e-3, 60, 2, 12, 10


class Masked(ns.Linear):
    """A subclass whose step leaves out every other weight."""

    def apply_step(self, x: Tensor) -> Tensor:
        mask = (torch.arange(self.weight.numel()).view_as(self.weight) % 2).to(self.weight)
        return nn.functional.linear(x, self.weight * mask, self.bias)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def moved(module: ns.Linear) -> ns.Linear:
    """Move the parameters, as an optimizer does, after a hook computed a weight from them."""
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(2.0 * torch.randint(-20, 40, value.shape))
    return module


def hooked() -> ns.Linear:
    synapse = moved(ns.Linear(N_IN, N_OUT))
    synapse.register_forward_hook(lambda module, x, y: 2 * y)
    return synapse


def parametrized() -> ns.Linear:
    synapse = ns.Linear(N_IN, N_OUT)
    parametrize.register_parametrization(synapse, "weight", Doubled())
    return moved(synapse)


ALTERED: dict[str, Callable[[], ns.Linear]] = {
    "hook": hooked,
    "pruned and moved": lambda: moved(prune.random_unstructured(ns.Linear(N_IN, N_OUT), "weight", 0.5)),
    "subclass": lambda: moved(Masked(N_IN, N_OUT)),
    "parametrized": parametrized,
}


def matrix(synapse: ns.Linear) -> ns.Linear:
    """Return plain synapses with the weights that run."""
    plain = ns.Linear(N_IN, N_OUT)
    with torch.no_grad():
        plain.weight.copy_(synapse(torch.eye(N_IN).unsqueeze(0))[0].T)
    return plain


def pair(name: str, neuron: Callable[[], ns.Neuron]) -> tuple[ns.Network, ns.Network]:
    """Return a network with the altered synapses, and one of plain synapses that computes the same."""
    torch.manual_seed(1)
    own = ALTERED[name]()
    return tuple(  # type: ignore[return-value]
        ns.Sequential(ns.Input(N_IN), synapse, neuron(), names=["out"]).eval() for synapse in (own, matrix(own))
    )


def spikes() -> Tensor:
    return (torch.rand(STEPS, SAMPLES, N_IN, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def lif() -> ns.Neuron:
    return ns.LIF(dt=DT, r=0.2)


def chip() -> ns.Neuron:
    return loihi_neurons(dt=DT, dv=300, v_th=4)


def run(net: ns.Network) -> Tensor:
    with torch.no_grad():
        z = net(spikes())[0]
    assert 20 < z.sum() < 0.9 * z.numel()
    return z


def through_nir(net: ns.Network, folder: Path) -> Tensor:
    pytest.importorskip("nir")
    return run(from_nir(to_nir(net), dt=DT))


def through_snntorch(net: ns.Network, folder: Path) -> Tensor:
    pytest.importorskip("snntorch")
    return run(from_snntorch(to_snntorch(net), dt=DT))


def through_norse(net: ns.Network, folder: Path) -> Tensor:
    pytest.importorskip("norse")
    return run(from_norse(to_norse(net)))


def through_fold(net: ns.Network, folder: Path) -> Tensor:
    return run(fold(net))


def through_quantise(net: ns.Network, folder: Path) -> Tensor:
    return run(quantise(net, spikes(), bits=6).net)


def through_lava(net: ns.Network, folder: Path) -> np.ndarray:
    (part,) = to_lava(net).graph.dense or to_lava(net).graph.sparse
    full = np.zeros((N_OUT, N_IN))
    if hasattr(part, "post"):
        full[part.post, part.pre] = part.weight
        return full
    return np.asarray(part.weight)


def through_describe(net: ns.Network, folder: Path) -> np.ndarray:
    edge = describe(net).edges["input->out"]
    return np.sort(edge.weight[edge.weight != 0], axis=None)


def through_netx(net: ns.Network, folder: Path) -> Tensor:
    write_netx(net, folder / "net.net")
    return run(read_netx(folder / "net.net"))


def through_placement(net: ns.Network, folder: Path) -> Any:
    return place(net, "loihi1")["out"].parts[0].use


def through_counting(net: ns.Network, folder: Path) -> Any:
    (counted,) = count_operations(net, spikes()).synapses
    return counted.effective


READERS = {name.removeprefix("through_"): read for name, read in globals().items() if name.startswith("through_")}
ON_THE_CHIP = ("describe", "netx")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ALTERED)
def test_a_reader_holds_the_numbers_that_run(name: str, reader: str, tmp_path: Path) -> None:
    own, plain = pair(name, chip if reader in ON_THE_CHIP else lif)
    kept = copy.deepcopy(own.state_dict())
    expected = run(plain)
    assert torch.equal(run(own), expected)
    results = [READERS[reader](net, tmp_path) for net in (own, plain)]
    if isinstance(results[0], Tensor):
        assert torch.equal(*results)
        assert reader == "quantise" or torch.equal(results[0], expected)
    else:
        assert np.array_equal(*results) if isinstance(results[0], np.ndarray) else results[0] == results[1]
    assert all(torch.equal(value, kept[key]) for key, value in own.state_dict().items())
