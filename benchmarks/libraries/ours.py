"""neurosim through its public interface; and the same network by the definition of its neurons, in eager torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import neurosim as ns
from benchmarks.libraries.chain import loop_weight
from benchmarks.nets import DT, NMNIST_SHAPE, TAU, Conv, Flatten, Layer, Linear, Map, SumPool


class Ours(nn.Module):
    """A `neurosim.Network` as a chain."""

    def __init__(self, net: ns.Network) -> None:
        super().__init__()
        self.net = net

    def prepare(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]

    def spikes(self, x: Tensor) -> list[Tensor]:
        """Return the spikes of every layer, [T, B, ...]."""
        names = list(self.net.neurons())
        values = self.net.run(x, record=names).recorded
        return [values[name] for name in names]

    def gradient(self) -> Tensor:
        """Return the gradient of the first weight."""
        found = next(p for s in self.net.edges[0].synapses for p in s.parameters()).grad
        assert found is not None
        return found


def network(layers: Sequence[Layer], compact: bool = False) -> Ours:
    spike = ns.triangle(1.0) if compact else ns.atan(2.0)
    parts: list = [ns.Input(NMNIST_SHAPE)] if isinstance(layers[0].synapses[0], Conv) else []
    for layer in layers:
        parts += [_synapse(each) for each in layer.synapses]
        neuron = _neurons(layer, spike)
        parts.append(neuron if layer.recurrent is None else ns.Recurrent(neuron, _synapse(Linear(layer.recurrent))))
    return Ours(ns.Sequential(*parts))


def _neurons(layer: Layer, spike: ns.Surrogate) -> ns.Neuron:
    return ns.LIF(tau_mem=TAU, dt=DT, spike=spike) if layer.alpha < 1.0 else ns.IF(dt=DT, spike=spike)


def _synapse(each: Map) -> ns.Linear | ns.Conv2d | ns.SumPool2d | ns.Flatten:
    if isinstance(each, SumPool):
        return ns.SumPool2d(each.kernel)
    if isinstance(each, Flatten):
        return ns.Flatten()
    made: ns.Linear | ns.Conv2d
    if isinstance(each, Conv):
        c_out, c_in, height, width = each.weight.shape
        made = ns.Conv2d(c_in, c_out, (height, width), stride=each.stride, padding=each.padding)
    else:
        made = ns.Linear(each.weight.shape[1], each.weight.shape[0])
    with torch.no_grad():
        made.weight.copy_(each.weight)
    return made


def reference(layers: Sequence[Layer], x: Tensor) -> list[Tensor]:
    """Return the spikes of every layer by torch products and `Neuron.run_reference`, the definition in eager torch."""
    found = []
    for layer in layers:
        current = nn.Sequential(*(each.module() for each in layer.synapses))(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        neuron = _neurons(layer, ns.atan(2.0))
        loop = loop_weight(layer)
        if loop is None:
            x = neuron.run_reference(current).out
        else:
            state, z, spikes = None, torch.zeros_like(current[:1]), []
            for start in range(len(current)):
                z, state, *_ = neuron.run_reference(current[start : start + 1] + loop(z), state)
                spikes.append(z)
            x = torch.cat(spikes)
        found.append(x)
    return found
