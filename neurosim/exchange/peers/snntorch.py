"""Conversion from and to snnTorch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurosim import cores
from neurosim.errors import InputError, TargetRunError
from neurosim.exchange.peers.assembly import Late, Part, Signal
from neurosim.exchange.peers.errors import ConversionError
from neurosim.exchange.peers.reader import Mode, Reader, of_kind, precision
from neurosim.exchange.peers.steps import Choices, Number, Step, check_learned, check_threshold, doubled, tidy
from neurosim.exchange.peers.to_torch import RowStage, gain_of, scaled, stages, torch_layer, torch_layers
from neurosim.language import Surrogate
from neurosim.network import Network, Recurrent
from neurosim.quantities import value_range
from neurosim.synapses import Scale, Synapse
from neurosim.synapses.torch_layers import Place, torch_synapses
from neurosim.synapses.torch_modules import check_unchanged
from neurosim.units import check_dt

_NEURONS = ("Leaky", "RLeaky", "Synaptic", "RSynaptic", "Lapicque", "Alpha")

_SUBTRACT_AT_ONCE = (
    "subtracts at once (reset_delay=False): a neuron still above its threshold after the reset must reach twice the "
    "threshold to fire again, which no reset of neurosim does. Use reset_delay=True"
)
_INPUT_LOST = (
    "loses the input of the step after a spike (reset to zero with reset_delay=True), which no reset of neurosim does. "
    "Use reset_delay=False"
)
_ALWAYS_LATE = (
    "loses the input of the step after a spike (it resets to zero a step late), which no reset of neurosim does. Use "
    "reset_mechanism='subtract'"
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
    learn: Iterable[str] = (),
    dtype: torch.dtype | None = None,
) -> Network:
    """Convert layers of snnTorch, with their weights, exactly.

    Parameters
    ----------
    module : nn.Sequential or list of nn.Module
        In the order in which they are called: `Leaky`, `RLeaky`, `Synaptic`, `RSynaptic`, `Lapicque` and `Alpha`
        (without reset) of snnTorch, and layers of torch, see `neurosim.synapses.torch_layers`.
    dt : float
        Length of a step, s; snnTorch has none, so it affects only how time constants are expressed.
    input_shape : int or sequence of int, optional
        Shape of one step of one sample; needed unless a Linear is first.
    spike : Surrogate, optional
        For training; surrogates are not converted.
    learn : iterable of str
        Names of parameters to be trained in all neurons that have them, such as ``("tau_mem", "v_th")``. A trained
        time constant is stored in the precision of the run, so that decays are equal up to its rounding.
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
    choices = Choices(dt, precision(module, dtype), spike, check_learned(learn))
    return SnnTorchReader(choices).network(module, input_shape)


class SnnTorchReader(Reader):
    """Converts modules of snnTorch."""

    library = "snnTorch"
    package = "snntorch"

    def keeps_state(self, module: nn.Module) -> bool:
        """Whether a layer keeps its membrane itself; else the caller passes it on."""
        return self.owns(module) and bool(getattr(module, "init_hidden", False))

    def returns_state(self, module: nn.Module) -> bool:
        """Whether a call returns the membrane too."""
        if isinstance(module, nn.Sequential):
            return len(module) > 0 and self.returns_state(module[-1])
        return self.owns(module) and bool(not getattr(module, "init_hidden", True) or getattr(module, "output", False))

    def rounding(self, module: Any) -> str:
        """Return what rounds in a neuron."""
        name = type(module).__name__
        if name in ("Lapicque", "Alpha"):
            return "its factors are computed from the numbers of snnTorch"
        if module.reset_mechanism == "subtract":
            return "subtracts after the decay, in neurosim before it"
        return "a decay for each neuron rounds the factor of the input" if module.beta.numel() > 1 else ""

    def parts(self, where: str, module: nn.Module, signal: Signal, mode: Mode) -> list[Part]:
        """Return the neurons of a layer."""
        import snntorch

        name = of_kind(module, {name: getattr(snntorch, name) for name in _NEURONS}, self.library)
        _check_as_said(module, snntorch)
        check_threshold(where, module.spike_grad, at_threshold=False)  # type: ignore[arg-type]
        if name == "Alpha":
            return [_alpha(where, module, self.choices)]
        neurons = _step(where, module, name).neuron(where, self.choices)
        if not name.startswith("R"):
            return [neurons]
        return [Recurrent(neurons, _recurrent(module, signal.shape, self.choices.dtype, snntorch))]


def _check_as_said(layer: Any, snntorch: Any) -> None:
    """Check that the reset that runs is the one that the attributes of a layer state."""
    mechanism = layer.reset_mechanism
    expected = {"subtract": "_base_sub", "zero": "_base_zero", "none": "_base_int"}[mechanism]
    runs = getattr(layer.state_function, "__name__", "another function")
    if getattr(layer.state_function, "__func__", None) is not getattr(type(layer), expected):
        raise InputError(
            f"reset_mechanism={mechanism!r} was set on a finished layer, whose step still runs {runs}; give it to the "
            "constructor."
        )
    if int(layer.reset_mechanism_val) != layer.reset_dict[mechanism]:
        said = {code: name for name, code in layer.reset_dict.items()}[int(layer.reset_mechanism_val)]
        raise InputError(
            f"reset_mechanism={mechanism!r}, but its state_dict says {said!r}; construct the layer with the one that "
            "was saved."
        )
    for option in ("inhibition", "state_quant", "surrogate_disable"):
        if getattr(layer, option, False):
            raise InputError(f"{option} is set, which neurons of neurosim do not have. Leave it out.")
    factor = tidy(layer.graded_spikes_factor)
    if isinstance(factor, Tensor) or factor != 1.0:
        raise InputError(
            f"graded_spikes_factor={factor}; spikes of neurosim are 0 or 1. Multiply the weights after it."
        )


def _step(where: str, layer: Any, name: str) -> Step:
    threshold, mechanism = tidy(layer.threshold), layer.reset_mechanism
    late = getattr(layer, "reset_delay", True)
    decay, gain = _clamped(layer.beta), tidy(1.0)
    if name == "Lapicque":
        decay = tidy(1.0 - doubled(layer.time_step / (layer.R * layer.C)))
        gain = tidy(doubled(layer.R * (1 / (layer.R * layer.C)) * layer.time_step))
    current = _clamped(layer.alpha) if name.endswith("Synaptic") else None
    if mechanism == "none":
        return Step(decay, gain, v_th=threshold, reset=None, current=current)
    # The reset is decided on the membrane before the step: a neuron at rest must not be above its threshold.
    if bool(doubled(threshold).lt(0).any()):
        raise ConversionError(
            f"{where}: a threshold below 0 with a reset: snnTorch resets neurons at rest in the first step, before "
            "any spike. Use a threshold from 0, or reset_mechanism='none'."
        )
    if mechanism == "zero":
        if name == "RSynaptic":
            raise ConversionError(f"{where}: {_SPIKE_BEFORE}.")
        if late and name != "Leaky":
            raise ConversionError(f"{where}: {_ALWAYS_LATE if name == 'Lapicque' else _INPUT_LOST}.")
        return Step(decay, gain, v_th=threshold, current=current)
    if not late:
        raise ConversionError(f"{where}: {_SUBTRACT_AT_ONCE}.")
    if bool((doubled(decay) == 0).any()):
        raise ConversionError(f"{where}: beta=0 with a reset by subtraction has no equivalent; use beta above 0.")
    # The threshold is subtracted one step late, after the membrane has decayed once more.
    amount = tidy(doubled(threshold) / doubled(decay))
    return Step(decay, gain, v_th=threshold, reset="subtract", amount=amount, current=current)


def _alpha(where: str, layer: Any, choices: Choices) -> Late:
    """Return an alpha neuron: the difference of two decaying sums is a filtered current, one step late."""
    if layer.reset_mechanism != "none":
        raise ConversionError(
            f"{where}: its reset {layer.reset_mechanism!r} sets its currents too, which no reset of neurosim does. Use "
            "reset_mechanism='none'."
        )
    alpha, beta = doubled(layer.alpha).clamp(0.0, 1.0), doubled(layer.beta).clamp(0.0, 1.0)
    gain = (alpha.log() / (beta.log() - alpha.log()) + 1.0) * (alpha - beta)
    threshold = tidy(layer.threshold)
    step = Step(tidy(beta), tidy(gain), v_th=threshold, reset=None, current=tidy(alpha))
    return Late(choices.neuron(where, cores.relay), step.neuron(where, choices))


def _clamped(decay: Any) -> Number:
    return tidy(doubled(decay).clamp(0.0, 1.0))


def _recurrent(layer: Any, shape: tuple[int, ...], dtype: torch.dtype, snntorch: Any) -> Synapse:
    inner = layer.recurrent
    one_to_one = snntorch._neurons.rleaky.RecurrentOneToOne, snntorch._neurons.rsynaptic.RecurrentOneToOne
    for kind in one_to_one:
        if isinstance(inner, kind):
            check_unchanged(inner, kind)
            return Scale(doubled(inner.V).to(dtype))
    synapses = torch_synapses(inner, Place(shape, dtype=dtype))
    if synapses is None or len(synapses) != 1:
        raise InputError(f"recurrent is a {type(inner).__name__}, which has no equivalent; use Linear or Conv.")
    return synapses[0]


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
        raise TargetRunError(
            "snntorch is not installed. Install it with: pip install 'neurosim-toolkit[peers]'"
        ) from error
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
    if neuron.reset is not None and bool(doubled(neuron.value("v_th")).lt(0).any()):
        raise ConversionError(
            f"{where}: v_th={value_range(neuron.value('v_th'))} with a reset; snnTorch resets neurons at rest above "
            "their threshold in the first step. Use a threshold from 0, or reset=None."
        )
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
