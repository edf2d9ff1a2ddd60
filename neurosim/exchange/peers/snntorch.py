"""Conversion from and to snnTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosim import cores
from neurosim.errors import TargetRunError
from neurosim.exchange.peers.conversion import (
    ConversionError,
    Number,
    Part,
    Step,
    assembled,
    converted,
    doubled,
    parts_of,
    precision,
    tidy,
)
from neurosim.exchange.peers.to_torch import RowStage, gain_of, scaled, stages, torch_layer, torch_layers
from neurosim.language import Surrogate
from neurosim.network import Network, Recurrent
from neurosim.synapses import Scale, Synapse
from neurosim.units import check_dt

_SUBTRACT_AT_ONCE = (
    "subtracts at once (reset_delay=False): a neuron still above its threshold after the reset must reach twice the "
    "threshold to fire again, which no reset of neurosim does. Use reset_delay=True"
)
_INPUT_LOST = (
    "loses the input of the step after a spike (reset to zero with reset_delay=True), which no reset of neurosim does. "
    "Use reset_delay=False"
)


_SPIKE_BEFORE = (
    "resets to zero, for which snnTorch 1.0 uses the spike of the step before, also with reset_delay=False; no reset "
    "of neurosim does. Use reset_mechanism='subtract' with reset_delay=True"
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
        Length of a step, s; snnTorch has none, so it affects only how time constants are expressed.
    input_shape : int or sequence of int, optional
        Shape of one step of one sample; needed unless a Linear is first.
    spike : Surrogate, optional
        For training; surrogates are not converted.
    dtype : torch.dtype, optional
        Precision of the run; that of the module's weights if left out.

    Returns
    -------
    Network
        In eval mode. `module` is not changed; weights are copied.

    Raises
    ------
    ConversionError
        For layers without an exact equivalent, with what to change.

    Examples
    --------
    >>> import torch, snntorch
    >>> from neurosim.exchange.peers import from_snntorch
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
            raise ConversionError(f"{where}: {option} is set, which neurons of neurosim do not have. Leave it out.")
    factor = tidy(layer.graded_spikes_factor)
    if factor != 1.0:
        raise ConversionError(
            f"{where}: graded_spikes_factor={factor}; spikes of neurosim are 0 or 1. Multiply the weights after it."
        )
    decay, threshold = _clamped(layer.beta), tidy(layer.threshold)
    current = _clamped(layer.alpha) if name.endswith("Synaptic") else None
    mechanism, delay = layer.reset_mechanism, layer.reset_delay
    if mechanism == "none":
        return Step(decay, v_th=threshold, reset=None, current=current)
    if mechanism == "zero":
        # The reset is decided on the membrane before the step: a neuron at rest must not be above its threshold.
        if bool(doubled(threshold).lt(0).any()):
            raise ConversionError(
                f"{where}: a threshold below 0 with a reset to zero fires at every step; use one from 0."
            )
        if name == "RSynaptic":
            raise ConversionError(f"{where}: {_SPIKE_BEFORE}.")
        if delay and name != "Leaky":
            raise ConversionError(f"{where}: {_INPUT_LOST}.")
        return Step(decay, v_th=threshold, current=current)
    if not delay:
        raise ConversionError(f"{where}: {_SUBTRACT_AT_ONCE}.")
    if bool((doubled(decay) == 0).any()):
        raise ConversionError(f"{where}: beta=0 with a reset by subtraction has no equivalent; use beta above 0.")
    # The threshold is subtracted one step late, after the membrane has decayed once more.
    return Step(decay, v_th=threshold, reset="subtract", amount=threshold / decay, current=current)


def _clamped(decay: Any) -> Number:
    return tidy(doubled(decay).clamp(0.0, 1.0))


def _recurrent(where: str, layer: Any, dtype: torch.dtype) -> Synapse:
    inner = layer.recurrent
    if isinstance(getattr(inner, "V", None), Tensor):
        return Scale(inner.V.detach().to(dtype))
    parts = parts_of(where, inner, dtype)
    if not parts or not isinstance(parts[0], Synapse):
        raise ConversionError(
            f"{where}: recurrent is a {type(inner).__name__}, which has no equivalent; use Linear or Conv."
        )
    return parts[0]


_FIRES = (cores.lif, cores.integrate_and_fire, cores.cubalif)
_READS_OUT = (cores.leaky_integrator, cores.integrator)


def to_snntorch(net: Network) -> nn.Sequential:
    """Return a network as layers of snnTorch that give the same spikes, to be called step by step.

    Parameters
    ----------
    net : Network
        A sequence of populations: IF, LIF and CubaLIF with a reset to 0, without reset, or by subtraction of snnTorch's
        amount, ``v_th / decay``; a loop of a matrix on them, except on a CubaLIF with a reset to 0; LI at the end.

    Returns
    -------
    nn.Sequential
        Of neurons with ``init_hidden=True``; call it once per step, after `reset_mem` of each neuron. The gain of a
        current is in the weights. The last neuron returns its spikes and its membrane.

    Raises
    ------
    ConversionError
        For parts without an exact equivalent in snnTorch: node, value, what to change.
    TargetRunError
        If snnTorch is not installed.
    """
    row = stages(net, "snnTorch")
    try:
        import snntorch
    except ImportError as error:
        raise TargetRunError("snntorch is not installed. Install it with: pip install 'neurosim[peers]'") from error
    layers: list[nn.Module] = []
    for stage in row:
        gain = gain_of(stage.neuron) if stage.neuron.core in (*_FIRES, *_READS_OUT) else 1.0
        layers += [*torch_layers(stage, gain), _neuron(stage, gain, snntorch, last=stage is row[-1])]
    return nn.Sequential(*layers).eval()


def _neuron(stage: RowStage, gain: Number, snntorch: Any, last: bool) -> Any:
    neuron, where, core = stage.neuron, stage.where, stage.neuron.core
    if core not in (*_FIRES, *_READS_OUT):
        raise ConversionError(f"{where}: its core is {core.name!r}, which snnTorch has no exact equivalent of.")
    integrates = core in (cores.integrate_and_fire, cores.integrator)
    decay: Number = 1.0 if integrates else tidy(neuron.decay("tau_mem"))
    given: dict[str, Any] = {"beta": _tensor(stage, decay), "init_hidden": True, "output": last}
    if core in _READS_OUT:
        if stage.loop is not None or not last:
            raise ConversionError(
                f"{where}: {core.name} can only be read out at the end of the sequence, without a loop."
            )
        return snntorch.Leaky(**given, reset_mechanism="none")
    given["threshold"] = _tensor(stage, tidy(neuron.value("v_th")))
    given |= _reset(stage, decay)
    name = "Leaky"
    if core is cores.cubalif:
        name, given["alpha"] = "Synaptic", _tensor(stage, tidy(neuron.decay("tau_syn")))
    if stage.loop is None:
        return getattr(snntorch, name)(**given)
    if stage.loop.matrix is None:
        raise ConversionError(f"{where}: a loop of {stage.loop.kind}; snnTorch has loops of a Linear only.")
    if name == "Synaptic" and neuron.reset == "value":
        raise ConversionError(
            f"{where}: a loop on a current-based neuron that resets to 0; snnTorch 1.0 resets RSynaptic by the spike "
            'of the step before. Use reset="subtract" with reset_amount = v_th / decay.'
        )
    neurons = getattr(snntorch, f"R{name}")(**given, linear_features=stage.loop.shape[0])
    neurons.recurrent = torch_layer(scaled(stage.loop, gain, where), where)
    return neurons


def _reset(stage: RowStage, decay: Number) -> dict[str, Any]:
    neuron, where = stage.neuron, stage.where
    if neuron.reset is None:
        return {"reset_mechanism": "none"}
    if neuron.reset == "value":
        if bool(doubled(neuron.value("v_reset")).ne(0).any()):
            raise ConversionError(f"{where}: v_reset={neuron.value('v_reset')}; snnTorch resets to 0. Use v_reset=0.")
        return {"reset_mechanism": "zero", "reset_delay": False}
    amount = doubled(neuron.value("reset_amount" if neuron.takes_own_amount else "v_th"))
    theirs = doubled(neuron.value("v_th")) / doubled(decay)
    if not torch.allclose(amount, theirs, rtol=1e-12, atol=0.0):
        raise ConversionError(
            f"{where}: its reset subtracts {amount.tolist()}; snnTorch's subtracts v_th / decay = {theirs.tolist()}. "
            "Set reset_amount to that and train again."
        )
    return {"reset_mechanism": "subtract", "reset_delay": True}


def _tensor(stage: RowStage, value: Number) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).to(stage.dtype)
