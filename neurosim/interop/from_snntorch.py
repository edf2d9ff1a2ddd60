"""snnTorch's neurons as ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.cores import Surrogate
from neurosim.interop.conversion import (
    ConversionError,
    Number,
    Part,
    Step,
    assembled,
    converted,
    doubled,
    precision,
    tidy,
    torch_layer,
)
from neurosim.network import Network, Recurrent
from neurosim.population import check_dt
from neurosim.synapses import Scale, Synapse

_SUBTRACT_AT_ONCE = (
    "subtracts at once (reset_delay=False), where a neuron still above its threshold after the reset must reach twice "
    "that to fire again; a reset by subtraction here is not that. Use reset_delay=True"
)
_INPUT_LOST = (
    "loses the input of the step after a spike (reset to zero with reset_delay=True); no reset here does. Use "
    "reset_delay=False"
)


_SPIKE_BEFORE = (
    "resets to zero, for which snnTorch 1.0 takes the spike handed in, that of the step before, also with "
    "reset_delay=False; no reset here does. Use reset_mechanism='subtract' with reset_delay=True"
)


def from_snntorch(
    module: Any,
    *,
    dt: float,
    input_shape: int | Sequence[int] | None = None,
    spike: Surrogate | None = None,
    dtype: torch.dtype | None = None,
) -> Network:
    """Convert layers of snnTorch, with their weights, exactly.

    Parameters
    ----------
    module : nn.Sequential or list of nn.Module
        In the order in which they are called: `Leaky`, `RLeaky`, `Synaptic`, `RSynaptic` of snnTorch, and torch's
        Linear, Conv, pooling, Flatten, BatchNorm (in eval mode) and Dropout.
    dt : float
        Length of a step, s; snnTorch has none, so it decides nothing but how time constants are told.
    input_shape : int or sequence of int, optional
        Shape of one step of one sample; needed unless a Linear stands first.
    spike : Surrogate, optional
        For training; surrogates are not converted.
    dtype : torch.dtype, optional
        Precision of the run; that of the module's weights if left out.

    Returns
    -------
    Network
        In eval mode. `module` stays as it was; weights are copied.

    Raises
    ------
    ConversionError
        For what has no exact equivalent, by layer and what to change.

    Examples
    --------
    >>> import torch, snntorch
    >>> from neurosim.interop import from_snntorch
    >>> theirs = torch.nn.Sequential(torch.nn.Linear(4, 3), snntorch.Leaky(beta=0.5))
    >>> layer = from_snntorch(theirs, dt=1e-3).nodes["lif1"]
    >>> layer.decay("tau_mem"), layer.reset, layer.value("reset_amount")
    (0.5, 'subtract', 2.0)
    """
    check_dt("from_snntorch", dt)
    kind = precision(module, dtype)
    choices = {} if spike is None else {"spike": spike}

    def of_library(where: str, layer: nn.Module) -> list[Part] | None:
        if not type(layer).__module__.startswith("snntorch."):
            return None
        name = type(layer).__name__
        if name not in ("Leaky", "RLeaky", "Synaptic", "RSynaptic"):
            raise ConversionError(f"{where}: only Leaky, RLeaky, Synaptic and RSynaptic are converted.")
        neuron = _step(where, layer, name).neuron(where, dt, kind, choices)
        if not name.startswith("R"):
            return [neuron]
        return [Recurrent(neuron, _recurrent(where, layer, kind))]

    return assembled(converted(module, of_library, "snnTorch", kind), input_shape, dt)


def _step(where: str, layer: Any, name: str) -> Step:
    for option in ("inhibition", "state_quant", "surrogate_disable"):
        if getattr(layer, option, False):
            raise ConversionError(f"{where}: {option} is set, which neurons here do not have. Leave it out.")
    factor = tidy(layer.graded_spikes_factor)
    if factor != 1.0:
        raise ConversionError(
            f"{where}: graded_spikes_factor={factor}; spikes here are 0 or 1. Multiply the weights behind by it."
        )
    decay, threshold = _clamped(layer.beta), tidy(layer.threshold)
    current = _clamped(layer.alpha) if name.endswith("Synaptic") else None
    mechanism, delay = layer.reset_mechanism, layer.reset_delay
    if mechanism == "none":
        return Step(decay, v_th=threshold, reset=None, current=current)
    if mechanism == "zero":
        # The flag is taken from the membrane as it stands: a neuron at rest must not be above its threshold.
        if bool(doubled(threshold).lt(0).any()):
            raise ConversionError(f"{where}: a threshold below 0 with a reset to zero fires for ever; use one from 0.")
        if name == "RSynaptic":
            raise ConversionError(f"{where}: {_SPIKE_BEFORE}.")
        if delay and name != "Leaky":
            raise ConversionError(f"{where}: {_INPUT_LOST}.")
        return Step(decay, v_th=threshold, current=current)
    if not delay:
        raise ConversionError(f"{where}: {_SUBTRACT_AT_ONCE}.")
    if bool((doubled(decay) == 0).any()):
        raise ConversionError(f"{where}: beta=0 with a reset by subtraction has no equivalent; use beta above 0.")
    # The threshold comes off one step late, when the membrane has decayed once more than it.
    return Step(decay, v_th=threshold, reset="subtract", amount=threshold / decay, current=current)


def _clamped(decay: Any) -> Number:
    return tidy(doubled(decay).clamp(0.0, 1.0))


def _recurrent(where: str, layer: Any, dtype: torch.dtype) -> Synapse:
    inner = layer.recurrent
    if isinstance(getattr(inner, "V", None), Tensor):
        return Scale(inner.V.detach().to(dtype))
    made = torch_layer(where, inner, dtype)
    if not made or not isinstance(made[0], Synapse):
        raise ConversionError(f"{where}: recurrent is a {type(inner).__name__}, which is not known here.")
    return made[0]
