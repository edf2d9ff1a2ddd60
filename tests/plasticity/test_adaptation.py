"""Adaptation at test time: each part alone is what it should be, and nothing else moves."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import InputError
from neurosim.plasticity import NeuromodulatedAdaptation, SoftHebb
from neurosim.synapses import BatchNorm

DT = 1e-3


def network() -> ns.Network:
    torch.manual_seed(0)
    net = ns.Sequential(
        ns.Input((1, 8, 8)),
        ns.Conv2d(1, 4, 3, padding=1),
        BatchNorm(4),
        ns.LIF(dt=DT, tau_mem=3e-3, r=3.0),
        ns.AvgPool2d(2),
        ns.Flatten(),
        ns.Linear(64, 12),
        BatchNorm(12),
        ns.LIF(dt=DT, tau_mem=3e-3, r=3.0),
        ns.Linear(12, 3),
        ns.LI(dt=DT),
        names=("one", "two", "out"),
    ).double()
    with torch.no_grad():
        net(batch(7))
    return net.eval()


def batch(seed: int = 0) -> Tensor:
    return torch.rand(5, 6, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_batch_statistics(net: ns.Network, x: Tensor) -> Tensor:
    norms = [m for m in net.modules() if isinstance(m, BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = 0.0
    return net(x)[0]


def test_with_all_parts_off_it_is_the_network() -> None:
    net, x = network(), batch()
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    out = NeuromodulatedAdaptation(net, "input->one", rate=0.0, modulation=0.0, statistics=False)(x)
    assert torch.equal(out, net(x)[0])
    other = NeuromodulatedAdaptation(net, "input->one", rate=0.0, modulation=0.0)(x)
    assert torch.equal(other, with_batch_statistics(network(), x)) and not torch.equal(out, other)
    assert all(torch.equal(value, kept[name]) for name, value in net.state_dict().items())
    assert not net.training and all(norm.momentum == 0.1 for norm in net.modules() if isinstance(norm, BatchNorm))


def test_without_the_hebbian_part_it_is_entropy_minimisation_of_one_layer() -> None:
    net, twin = network(), network()
    adapted = NeuromodulatedAdaptation(net, "input->one", rate=0.0, modulation=1e-2)
    norm = twin.synapses["input->one"][1]
    optimizer = torch.optim.Adam([norm.weight, norm.bias], 1e-2)
    for seed in range(3):
        x = batch(seed)
        out = with_batch_statistics(twin, x)
        assert torch.equal(adapted(x), out)
        p = torch.softmax(out.mean(0), 1)
        optimizer.zero_grad()
        (-(p * p.log()).sum(1).mean()).backward()
        optimizer.step()
    for (name, mine), other in zip(net.state_dict().items(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)
        assert torch.equal(mine, network().state_dict()[name]) == (name not in MODULATOR)


MODULATOR = {"synapses.input->one.1.weight", "synapses.input->one.1.bias"}


def test_without_the_modulator_it_is_soft_hebbian_learning_of_the_first_weights() -> None:
    net, x = network(), batch()
    weight = net.synapses["input->one"][0].weight
    hebb = SoftHebb(9, 4, inverse_temperature=2.0)
    hebb.weight = weight.detach().flatten(1).clone()
    rows = torch.nn.functional.unfold(x.mean(0), 3, padding=1).transpose(1, 2).flatten(0, 1)
    wanted = hebb.weight + 0.05 * hebb.update(rows)
    NeuromodulatedAdaptation(net, "input->one", rate=0.05, inverse_temperature=2.0, modulation=0.0)(x)
    torch.testing.assert_close(weight.detach().flatten(1), wanted)
    kept = network().state_dict()
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, kept[name])}
    assert moved == {"synapses.input->one.0.weight"}


def test_no_label_is_needed() -> None:
    assert list(inspect.signature(NeuromodulatedAdaptation.__call__).parameters) == ["self", "x"]


def test_the_entropy_of_one_batch_falls() -> None:
    net, x = network(), batch()
    adapted = NeuromodulatedAdaptation(net, "input->one", rate=0.0, modulation=2e-2)

    def entropy(out: Tensor) -> float:
        return float(torch.special.entr(torch.softmax(out.mean(0), 1)).sum(1).mean())

    first = entropy(adapted(x))
    for _ in range(20):
        last = entropy(adapted(x))
    assert last < first


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NeuromodulatedAdaptation(network(), "nothing"), "no edge 'nothing'; this network has"),
        (lambda: NeuromodulatedAdaptation(network(), "two->out"), "an affine BatchNorm is needed; got Linear"),
        (lambda: NeuromodulatedAdaptation(network(), "one->two"), "Linear, Conv1d or Conv2d followed by"),
        (lambda: NeuromodulatedAdaptation(network(), "input->one", rate=-1.0), "rate must be a number from 0"),
        (
            lambda: NeuromodulatedAdaptation(network(), "input->one", inverse_temperature=0.0),
            "inverse_temperature must be a number above 0",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        make()
