"""Norse: the steps of its LIF without a synaptic filter (box) and of its integrator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from norse.torch.functional.iaf import IAFFeedForwardState, iaf_feed_forward_step
from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step
from torch import Tensor, nn

from benchmarks.libraries.chain import Chain, loop_weight, stepwise
from benchmarks.nets import DT, Layer

# SuperSpike is scaled to half its peak where the arctan surrogate of slope 2 is, at a distance of 1 / pi.
SLOPE = torch.as_tensor((math.sqrt(2.0) - 1.0) * math.pi)


def reset(z: Tensor, v: Tensor, v_reset: Tensor, v_th: Tensor) -> Tensor:
    """Return the membrane after a detached reset; Norse's reset is not detached."""
    return torch.where(z.detach() > 0, v_reset, v)


class Neurons(nn.Module):
    """A recurrent layer loops around the box step, since Norse's recurrent LIF has a synaptic filter."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.recurrent = loop_weight(layer)
        self.leaky = layer.alpha < 1.0
        self.box = LIFBoxParameters(tau_mem_inv=torch.as_tensor(layer.gain / DT), alpha=SLOPE, reset_method=reset)

    def step(self, current: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if self.leaky:
            z, state = lif_box_feed_forward_step(current, LIFBoxFeedForwardState(v=v), self.box, DT)
            return z, state.v
        z, state = iaf_feed_forward_step(current, IAFFeedForwardState(v=v))
        return z, state.v

    def forward(self, i: Tensor) -> Tensor:
        return stepwise(self.step, self.recurrent, i)


def network(layers: Sequence[Layer]) -> Chain:
    return Chain(layers, Neurons)
