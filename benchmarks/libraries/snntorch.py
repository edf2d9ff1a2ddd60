"""snnTorch: `Leaky`, and `RLeaky` where a layer has a loop."""

from __future__ import annotations

from collections.abc import Sequence

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn

from benchmarks.libraries.chain import Chain, loop_weight, stepwise
from benchmarks.nets import Layer


class Neurons(nn.Module):
    """Reset to zero at the beginning of the next step, the default: detached, with the same spikes."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.node = snntorch.Leaky(beta=layer.alpha, spike_grad=surrogate.atan(2.0), reset_mechanism="zero")

    def forward(self, i: Tensor) -> Tensor:
        return stepwise(self.node, None, i)


class Recurrent(nn.Module):
    """Reset in the same step: with the default, `RLeaky` would lose the input of the step after a spike."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        assert layer.recurrent is not None
        self.node = snntorch.RLeaky(
            beta=layer.alpha,
            linear_features=layer.recurrent.shape[0],
            spike_grad=surrogate.atan(2.0),
            reset_mechanism="zero",
            reset_delay=False,
        )
        self.node.recurrent = loop_weight(layer, layer.gain)

    def forward(self, i: Tensor) -> Tensor:
        z, v = torch.zeros_like(i[0]), torch.zeros_like(i[0])
        spikes = []
        for current in i:
            z, v = self.node(current, z, v)
            spikes.append(z)
        return torch.stack(spikes)


def network(layers: Sequence[Layer]) -> Chain:
    return Chain(layers, lambda layer: Neurons(layer) if layer.recurrent is None else Recurrent(layer), folded=True)
