"""Sequential layers for libraries whose neurons are PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.nets import Layer, Linear

# Libraries that spike at v >= v_th get the next float32 above 1 as threshold, which is equivalent to v > 1.
ABOVE_ONE = float(np.nextafter(np.float32(1), np.float32(2)))


class Chain(nn.Module):
    """The product of a layer over all steps in one call, then its neurons step by step.

    That is the faster method in every library. `folded` multiplies the neurons' input gain into the weights, for
    libraries whose neurons have none. `batch_first` is for libraries with [B, T, ...]; `prepare` converts the input.
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
        self.synapses = nn.ModuleList(_synapses(layer, layer.gain if folded else 1.0) for layer in layers)
        self.neurons = nn.ModuleList(neurons(layer) for layer in layers)
        self.batch_first = batch_first

    def prepare(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1).contiguous() if self.batch_first else x

    def forward(self, x: Tensor) -> Tensor:
        return self.spikes(x)[-1]

    def spikes(self, x: Tensor) -> list[Tensor]:
        """Return the spikes of every layer, [T, B, ...]."""
        found = []
        for synapses, neurons in zip(self.synapses, self.neurons, strict=True):
            current = synapses(x.flatten(0, 1)).unflatten(0, x.shape[:2])
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


def _synapses(layer: Layer, gain: float) -> nn.Module:
    """Return the synapses of a layer; a gain without weights becomes a separate product."""
    if not layer.synapses and gain != 1.0:
        return _Scale(gain)
    return nn.Sequential(*(each.module(gain) for each in layer.synapses))


def loop_weight(layer: Layer, gain: float = 1.0) -> nn.Module | None:
    """Return the synapse of a layer onto itself."""
    return None if layer.recurrent is None else Linear(layer.recurrent).module(gain)


def stepwise(step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], recurrent: nn.Module | None, i: Tensor) -> Tensor:
    """Run ``step(current, v) -> (z, v)`` over `i` [T, B, ...]."""
    v = z = torch.zeros_like(i[0])
    spikes = []
    for current in i:
        z, v = step(current if recurrent is None else current + recurrent(z), v)
        spikes.append(z)
    return torch.stack(spikes)
