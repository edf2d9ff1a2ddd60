"""sinabs: `LIF`, `LIFRecurrent` and `IAF`, one spike per step, reset to zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

import sinabs.layers as layers_of_sinabs
import torch
from sinabs.activation import MembraneReset, SingleSpike
from torch import Tensor, nn

from benchmarks.libraries.chain import ABOVE_ONE, Chain, loop_weight
from benchmarks.nets import Layer


def arctan(v: Tensor, v_th: Tensor) -> Tensor:
    """Return the arctan surrogate of slope 2; sinabs accepts any function."""
    return 1.0 / (1.0 + (math.pi * (v - v_th)) ** 2)


class Neurons(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        choices = {
            "spike_threshold": torch.tensor(ABOVE_ONE),
            "spike_fn": SingleSpike,
            "reset_fn": MembraneReset(),
            "surrogate_grad_fn": arctan,
        }
        loop = loop_weight(layer)
        if layer.alpha == 1.0:
            self.node = layers_of_sinabs.IAF(**choices)
        elif loop is None:
            self.node = layers_of_sinabs.LIF(tau_mem=-1.0 / math.log(layer.alpha), **choices)
        else:
            self.node = layers_of_sinabs.LIFRecurrent(tau_mem=-1.0 / math.log(layer.alpha), rec_connect=loop, **choices)
        if self.node.tau_mem is not None:
            self.node.tau_mem.requires_grad_(False)

    def forward(self, i: Tensor) -> Tensor:
        self.node.init_state_with_shape((i.shape[0], *i.shape[2:]))
        return self.node(i)


def network(layers: Sequence[Layer]) -> Chain:
    return Chain(layers, Neurons, batch_first=True)
