"""Layers in a row for libraries whose neurons are PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.nets import Layer, Linear

# The libraries that spike at v >= v_th spike where the others do, at v > 1, with the next float32 as threshold.
ABOVE_ONE = float(np.nextafter(np.float32(1), np.float32(2)))


class Chain(nn.Module):
    """The product of a layer over all steps in one call, then its neurons step by step.

    That is the faster way in every library. `folded` puts the neurons' input gain into the weights, for libraries whose
    neurons have none. `batch_first` is for libraries that want [B, T, ...]; `prepare` brings the input there once.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        neurons: Callable[[Layer], nn.Module],
        *,
        folded: bool = False,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        self.maps = nn.ModuleList(_maps(layer, layer.gain if folded else 1.0) for layer in layers)
        self.neurons = nn.ModuleList(neurons(layer) for layer in layers)
        self.batch_first = batch_first

    def prepare(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1).contiguous() if self.batch_first else x

    def forward(self, x: Tensor) -> Tensor:
        return self.spikes(x)[-1]

    def spikes(self, x: Tensor) -> list[Tensor]:
        """Return the spikes of every layer, [T, B, ...]."""
        found = []
        for maps, neurons in zip(self.maps, self.neurons, strict=True):
            current = maps(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            x = neurons(current)
            found.append(x.transpose(0, 1) if self.batch_first else x)
        return found

    def gradient(self) -> Tensor:
        """Return the gradient of the first weight."""
        found = next(self.parameters()).grad
        assert found is not None
        return found


class _Scale(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x


def _maps(layer: Layer, gain: float) -> nn.Module:
    """Return the maps of a layer; a gain that finds no weights is a product of its own."""
    if not layer.maps and gain != 1.0:
        return _Scale(gain)
    return nn.Sequential(*(each.module(gain) for each in layer.maps))


def loop_weight(layer: Layer, gain: float = 1.0) -> nn.Module | None:
    """Return the map of a layer to itself."""
    return None if layer.recurrent is None else Linear(layer.recurrent).module(gain)


def stepwise(step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], recurrent: nn.Module | None, i: Tensor) -> Tensor:
    """Run ``step(current, v) -> (z, v)`` over `i` [T, B, ...]."""
    v = z = torch.zeros_like(i[0])
    spikes = []
    for current in i:
        z, v = step(current if recurrent is None else current + recurrent(z), v)
        spikes.append(z)
    return torch.stack(spikes)
