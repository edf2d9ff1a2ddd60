"""SpikingJelly: multi-step torch backend. Its CuPy and Triton backends run on GPUs only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn

from benchmarks.libraries.chain import ABOVE_ONE, Chain, loop_weight
from benchmarks.nets import Layer


class Neurons(nn.Module):
    """A recurrent layer steps through one of its neurons, since its container would also multiply by an identity."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.recurrent = loop_weight(layer)
        choices = {
            "v_threshold": ABOVE_ONE,
            "v_reset": 0.0,
            "surrogate_function": surrogate.ATan(alpha=2.0),
            "detach_reset": True,
            "step_mode": "m" if self.recurrent is None else "s",
        }
        leaky = layer.alpha < 1.0
        self.node = neuron.LIFNode(tau=1.0 / layer.gain, **choices) if leaky else neuron.IFNode(**choices)

    def forward(self, i: Tensor) -> Tensor:
        functional.reset_net(self.node)
        if self.recurrent is None:
            return self.node(i)
        z = torch.zeros_like(i[0])
        spikes = []
        for current in i:
            z = self.node(current + self.recurrent(z))
            spikes.append(z)
        return torch.stack(spikes)


def network(layers: Sequence[Layer]) -> Chain:
    return Chain(layers, Neurons)
