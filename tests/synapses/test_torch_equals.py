"""Synapses that are layers of torch applied step by step: the same numbers, sizes and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.synapses import (
    AdaptiveAvgPool2d,
    AvgPool1d,
    Conv3d,
    ConvTranspose2d,
    GroupNorm,
    LayerNorm,
    MaxPool1d,
    SumPool1d,
    Upsample,
)

PAIRS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "conv3d": (
        lambda: Conv3d(2, 4, (2, 3, 1), stride=(1, 2, 1), padding=1, groups=2, bias=True),
        lambda: nn.Conv3d(2, 4, (2, 3, 1), (1, 2, 1), 1, groups=2),
        (2, 4, 5, 3),
    ),
    "transposed": (
        lambda: ConvTranspose2d(3, 2, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=1, bias=True),
        lambda: nn.ConvTranspose2d(3, 2, (3, 2), (2, 3), (1, 0), 1),
        (3, 4, 5),
    ),
    "upsample": (lambda: Upsample((2, 3)), lambda: nn.Upsample(scale_factor=(2.0, 3.0)), (2, 3, 4)),
    "average": (lambda: AvgPool1d(3, stride=2), lambda: nn.AvgPool1d(3, 2), (2, 10)),
    "maximum": (lambda: MaxPool1d(3, stride=2), lambda: nn.MaxPool1d(3, 2), (2, 10)),
    "sum": (lambda: SumPool1d(3, stride=2), lambda: nn.LPPool1d(1, 3, 2), (2, 10)),
    "adaptive": (lambda: AdaptiveAvgPool2d((2, 3)), lambda: nn.AdaptiveAvgPool2d((2, 3)), (2, 7, 5)),
    "group": (lambda: GroupNorm(2, 4), lambda: nn.GroupNorm(2, 4), (4, 3)),
    "layer": (lambda: LayerNorm((4, 3), eps=0.1), lambda: nn.LayerNorm((4, 3), 0.1), (4, 3)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_synapse_is_the_layer_of_torch_at_each_step(name: str) -> None:
    ours, torchs, shape = PAIRS[name]
    synapse, layer, x = ours(), torchs(), torch.rand(5, 3, *shape)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter)
    synapse.load_state_dict(layer.state_dict())
    found = synapse(x)
    assert torch.allclose(found, layer(x.flatten(0, 1)).unflatten(0, (5, 3)), atol=1e-6)
    assert tuple(found.shape[2:]) == synapse.output_shape(shape)


def test_sizes_that_do_not_fit_are_refused_by_name() -> None:
    for make, message in (
        (lambda: GroupNorm(3, 4), r"GroupNorm: groups must divide channels=4; got 3"),
        (lambda: LayerNorm(()), r"LayerNorm: shape must hold integers; got \(\)"),
        (lambda: LayerNorm(4, eps=0.0), r"LayerNorm: eps must be above 0; got 0\.0"),
        (
            lambda: ConvTranspose2d(1, 1, 2, output_padding=1),
            r"output_padding must be less than stride=\(1, 1\)",
        ),
        (lambda: Upsample(0), r"Upsample: factor must be an integer from 1; got 0"),
        (lambda: AdaptiveAvgPool2d((0, 1)), r"AdaptiveAvgPool2d: places must be an integer from 1; got 0"),
    ):
        with pytest.raises(InputError, match=message):
            make()
    with pytest.raises(ShapeError, match="so many places that some are left after padding"):
        ConvTranspose2d(1, 1, 2, padding=3).output_shape((1, 2, 2))


def test_a_decoder_and_a_normalised_network_train() -> None:
    parts = [
        *(ns.Input((1, 8, 8)), ns.Conv2d(1, 4, 3, stride=2, padding=1), GroupNorm(2, 4), ns.LIF(dt=1e-3, r=40.0)),
        *(ConvTranspose2d(4, 1, 2, stride=2), ns.LI(dt=1e-3)),
    ]
    net = ns.Sequential(*parts, names=["code", "image"])
    out, _ = net((torch.rand(10, 2, 1, 8, 8) < 0.5).float())
    out.square().mean().backward()
    assert out.shape == (10, 2, 1, 8, 8)
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())
