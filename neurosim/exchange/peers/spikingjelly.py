"""Conversion from SpikingJelly."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from neurosim.exchange.peers.conversion import (
    ConversionError,
    Number,
    Part,
    Step,
    assembled,
    converted,
    layers,
    precision,
    tidy,
)
from neurosim.language import Surrogate
from neurosim.network import Network, Recurrent
from neurosim.network.neuron import Neuron
from neurosim.synapses import Identity, Linear
from neurosim.units import check_dt, just_below

_NEURONS = ("IFNode", "LIFNode", "ParametricLIFNode")


def from_spikingjelly(
    module: Any,
    *,
    dt: float,
    input_shape: int | Sequence[int] | None = None,
    spike: Surrogate | None = None,
    dtype: torch.dtype | None = None,
) -> Network:
    """Convert layers of SpikingJelly, with their weights, exactly up to the order of the sums in a step.

    SpikingJelly spikes at ``v >= v_threshold``: the threshold of the network is the next smaller number of `dtype`, in
    which it must be run. With a decayed input SpikingJelly computes ``v + (i - v)/tau``, neurosim ``a v + i/tau``:
    equal up to rounding. A membrane that leaks to `v_reset` and starts there is measured from it.

    Parameters
    ----------
    module : nn.Sequential or list of nn.Module
        In the order in which they are called: IFNode, LIFNode, ParametricLIFNode, LinearRecurrentContainer and
        ElementWiseRecurrentContainer (of an addition) around one of these, SpikingJelly's and torch's own layers and
        containers.
    dt, input_shape, spike, dtype
        As in `from_snntorch`.

    Returns
    -------
    Network
        In eval mode.

    Raises
    ------
    ConversionError
        For layers without an exact equivalent, with what to change.
    """
    check_dt("from_spikingjelly", dt)
    kind = precision(module, dtype)
    choices = {} if spike is None else {"spike": spike}

    def neuron(where: str, layer: Any) -> Neuron:
        return _step(where, layer, kind).neuron(where, dt, kind, choices)

    def of_library(where: str, layer: nn.Module) -> list[Part] | None:
        if not type(layer).__module__.startswith("spikingjelly."):
            return None
        name = type(layer).__name__
        if name in _NEURONS:
            return [neuron(where, layer)]
        if name in ("LinearRecurrentContainer", "ElementWiseRecurrentContainer"):
            return _recurrent(where, layer, name, neuron, kind)
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d, nn.Flatten)):
            return None  # as torch's own
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) or name in ("Dropout", "Dropout2d"):
            return [] if name.startswith("Dropout") else None
        raise ConversionError(f"{where}: of SpikingJelly's neurons only {', '.join(_NEURONS)} are converted.")

    return assembled(converted(module, of_library, "SpikingJelly", kind), input_shape, dt)


def _step(where: str, layer: Any, dtype: torch.dtype) -> Step:
    name, threshold = type(layer).__name__, layer.v_threshold
    if isinstance(threshold, torch.Tensor):
        threshold = tidy(threshold)
    decay: Number = 1.0
    gain: Number = 1.0
    if name != "IFNode":
        share = tidy(layer.w.sigmoid()) if name == "ParametricLIFNode" else 1.0 / layer.tau
        decay = 1.0 - share
        gain = share if layer.decay_input else 1.0
    if layer.v_reset is None:
        return Step(decay, gain, just_below(threshold, dtype), "subtract", amount=threshold)
    return Step(decay, gain, just_below(threshold - layer.v_reset, dtype))


def _recurrent(where: str, layer: Any, name: str, neuron: Any, dtype: torch.dtype) -> list[Part]:
    inner = list(layers(layer.sub_module))
    if len(inner) != 1 or type(inner[0][1]).__name__ not in _NEURONS:
        kinds = [type(module).__name__ for _, module in inner]
        raise ConversionError(f"{where}: holds {kinds}; a loop around one layer of neurons is converted.")
    neurons = neuron(where, inner[0][1])
    if name == "ElementWiseRecurrentContainer":
        if layer.element_wise_function not in (operator.add, torch.add):
            raise ConversionError(
                f"{where}: element_wise_function={layer.element_wise_function!r}; only "
                "operator.add and torch.add are converted."
            )
        return [Recurrent(neurons, Identity())]
    n_in, n_out = layer.rc.out_features, layer.sub_module_out_features
    if n_in != n_out:
        raise ConversionError(
            f"{where}: its numbers of input and output neurons are {n_in} and {n_out}; they must be equal."
        )
    outer, loop = Linear(n_in, n_in, bias=layer.rc.bias is not None).to(dtype), Linear(n_out, n_in).to(dtype)
    with torch.no_grad():
        outer.weight.copy_(layer.rc.weight[:, :n_in])
        loop.weight.copy_(layer.rc.weight[:, n_in:])
        if outer.bias is not None:
            outer.bias.copy_(layer.rc.bias)
    return [outer, Recurrent(neurons, loop)]
