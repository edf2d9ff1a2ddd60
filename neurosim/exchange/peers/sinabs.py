"""Conversion from sinabs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from neurosim import cores
from neurosim.errors import InputError
from neurosim.exchange.peers.assembly import Part, Signal
from neurosim.exchange.peers.errors import ConversionError
from neurosim.exchange.peers.reader import Mode, Reader, leaves, of_kind, precision
from neurosim.exchange.peers.steps import Choices, Number, Step, check_learned, doubled, tidy
from neurosim.language import Surrogate
from neurosim.network import Network, Recurrent
from neurosim.synapses import SumPool2d, Synapse
from neurosim.synapses.torch_layers import Place, torch_synapses
from neurosim.synapses.torch_modules import check_unchanged, nearest
from neurosim.units import check_dt, just_below, resistance

_NEURONS = (
    "ALIF",
    "ALIFRecurrent",
    "ExpLeak",
    "ExpLeakSqueeze",
    "IAF",
    "IAFRecurrent",
    "IAFSqueeze",
    "LIF",
    "LIFRecurrent",
    "LIFSqueeze",
)
_OTHERS = ("FlattenTime", "Repeat", "SumPool2d", "UnflattenTime")


def from_sinabs(
    module: Any,
    *,
    dt: float,
    input_shape: int | Sequence[int] | None = None,
    spike: Surrogate | None = None,
    learn: Iterable[str] = (),
    dtype: torch.dtype | None = None,
) -> Network:
    """Convert layers of sinabs, with their weights, exactly up to the order of the sums in a step.

    sinabs spikes at ``v >= spike_threshold``: the threshold of the network is the next smaller number of `dtype`, in
    which it must be run. sinabs takes ``[B, T, ...]``, or ``[B T, ...]`` in layers whose names end in Squeeze; the
    network takes ``[T, B, ...]``.

    Parameters
    ----------
    module : nn.Sequential, list of nn.Module or sinabs.network.Network
        In the order in which they are called: IAF, LIF, ExpLeak (also with Squeeze), ALIF, IAFRecurrent, LIFRecurrent
        and ALIFRecurrent, with ``spike_fn=SingleSpike`` or ``MaxSpike(1)`` and without `min_v_mem`; SumPool2d, Repeat,
        FlattenTime and UnflattenTime of sinabs, and layers of torch.
    dt : float
        Length of a step, s; time constants of sinabs are in steps.
    input_shape, spike, learn, dtype
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
    check_dt("from_sinabs", dt)
    choices = Choices(dt, precision(module, dtype), spike, check_learned(learn))
    return SinabsReader(choices).network(module, input_shape)


class SinabsReader(Reader):
    """Converts modules of sinabs."""

    library = "sinabs"
    package = "sinabs"

    def keeps_state(self, module: nn.Module) -> bool:
        """Whether a layer has a state."""
        return self.owns(module) and bool(getattr(module, "_buffers", {})) and hasattr(module, "reset_states")

    def mode(self, module: Any) -> Mode:
        """Return the axes before those of a sample, which the first layer of sinabs states; layers may change them."""
        every = (self._axes_of(layer) for _, layer in leaves(module, package=self.package))
        self._axes = next((axes for axes in every if axes), 1)
        return Mode(2)

    def _axes_of(self, module: nn.Module) -> int:
        """Return the axes before those of a sample that a layer reads; 0 for one that takes any."""
        if not self.owns(module):
            return 0
        import sinabs.layers

        squeezed = (sinabs.layers.SqueezeMixin, sinabs.layers.UnflattenTime, sinabs.layers.SumPool2d)
        return 1 if isinstance(module, squeezed) else 2

    def container(self, where: str, module: nn.Module, mode: Mode) -> Mode | None:
        """Return how the layer inside of a Repeat is called."""
        if not self.owns(module):
            return None
        import sinabs.layers
        import sinabs.network

        kind = nearest(module, (sinabs.layers.Repeat, sinabs.network.Network))
        if kind is None:
            return None
        try:
            check_unchanged(module, kind)
            if kind is sinabs.layers.Repeat:
                self._check_axes(2, mode)
                return Mode(1, stateless=True)
            if module.analog_model is not None:
                raise InputError("holds two models; pass its spiking_model.")
        except InputError as error:
            raise ConversionError(f"{where}: {error}") from error
        return mode

    def _now(self, mode: Mode) -> int:
        return 1 if mode.axes_before == 1 else self._axes

    def _check_axes(self, needed: int, mode: Mode) -> None:
        if needed != self._now(mode):
            read, given = ("[B, T, ...]", "[B T, ...]") if needed == 2 else ("[B T, ...]", "[B, T, ...]")
            raise InputError(f"reads {read}, but the layers before it pass on {given}. Put a layer of the other kind.")

    def place(self, where: str, module: nn.Module, signal: Signal, mode: Mode) -> Place:
        """Return where a layer of torch stands."""
        return super().place(where, module, signal, Mode(self._now(mode)))

    def rounding(self, module: Any) -> str:
        """Return what rounds in a neuron."""
        return (
            "" if type(module).__name__ in ("IAF", "IAFSqueeze") else "sinabs computes its decays in single precision"
        )

    def parts(self, where: str, module: Any, signal: Signal, mode: Mode) -> list[Part]:
        """Return the neurons of a layer, with their loops."""
        import sinabs.layers

        kinds = {name: getattr(sinabs.layers, name) for name in (*_NEURONS, *_OTHERS)}
        name = of_kind(module, kinds, self.library)
        self._check_axes(self._axes_of(module), mode)
        if name in ("FlattenTime", "UnflattenTime"):
            self._axes = 1 if name == "FlattenTime" else 2
            return []
        if name == "SumPool2d":
            return _sum(module)
        if name.startswith("ALIF"):
            parts = _adaptive(where, module, name, self.choices)
        else:
            parts = [_step(where, module, name, self.choices.dtype).neuron(where, self.choices)]
        if not name.endswith("Recurrent"):
            return parts
        if len(parts) > 1:
            raise InputError("has a loop beside an adaptive threshold and a synaptic current; leave one of them out.")
        (neurons,) = parts
        return [Recurrent(neurons, self._loop(module.rec_connect, signal.shape))]  # type: ignore[arg-type]

    def _loop(self, module: nn.Module, shape: tuple[int, ...]) -> Synapse:
        """Return the synapses of a loop; those of sinabs add nothing in the first step."""
        inner = [layer for _, layer in leaves(module) if type(layer) is not nn.Flatten or len(shape) > 1]
        synapses = torch_synapses(inner[0], Place(shape, dtype=self.choices.dtype)) if len(inner) == 1 else None
        if synapses is None or len(synapses) != 1:
            raise InputError(
                f"rec_connect holds {[type(layer).__name__ for layer in inner]}; a loop of one Linear or Conv2d is "
                "converted."
            )
        bias = getattr(synapses[0], "bias", None)
        if bias is not None and bool(bias.ne(0).any()):
            raise InputError("rec_connect has a bias, which sinabs adds from the second step on; use bias=False.")
        return synapses[0]


def _sum(module: Any) -> list[Part]:
    kernel, stride = module.kernel_size, module.stride or module.kernel_size
    if module.ceil_mode:
        raise InputError("ceil_mode=True; pooling of neurosim has no such setting.")
    if module.norm_type != 1:
        raise InputError(f"norm_type={module.norm_type}; a sum has 1.")
    return [SumPool2d(kernel, stride=stride)]


def _threshold(where: str, layer: Any, threshold: Number, dtype: torch.dtype) -> Number:
    """Return the threshold of neurons that fire at most once in a step, and check that these do."""
    from sinabs.activation import MaxSpike, SingleSpike

    fires = layer.spike_fn
    once = fires is SingleSpike or (type(fires) is MaxSpike and fires.max_num_spikes_per_bin == 1)
    if not once:
        shown = getattr(fires, "__name__", fires)
        raise ConversionError(
            f"{where}: spike_fn={shown} may send several spikes in a step; a neuron of neurosim sends 0 or 1. Use "
            "spike_fn=SingleSpike or MaxSpike(1), or a shorter step."
        )
    if fires is not SingleSpike and bool(doubled(threshold).le(0).any()):
        raise ConversionError(f"{where}: MaxSpike divides by the threshold, which must be above 0; got {threshold}.")
    if layer.min_v_mem is not None:
        raise ConversionError(
            f"{where}: min_v_mem={float(layer.min_v_mem)} bounds the membrane, which no neuron of neurosim does. Use "
            "min_v_mem=None."
        )
    return just_below(threshold, dtype)


def _reset(where: str, layer: Any, threshold: Number | None) -> tuple[Any, Number | None]:
    """Return the kind of a reset, and the amount of one by subtraction; `threshold` if that is what is subtracted."""
    from sinabs.activation import MembraneReset, MembraneSubtract

    reset = layer.reset_fn
    if type(reset) is MembraneReset:
        if reset.reset_value != 0:
            raise ConversionError(
                f"{where}: MembraneReset(reset_value={reset.reset_value}): sinabs adds it to every membrane in every "
                "step, which no reset of neurosim does. Use MembraneReset()."
            )
        return "value", None
    if type(reset) is not MembraneSubtract:
        raise ConversionError(f"{where}: reset_fn={reset}; MembraneReset() and MembraneSubtract are converted.")
    if reset.subtract_value is not None:
        return "subtract", tidy(reset.subtract_value)
    if threshold is None:
        raise ConversionError(
            f"{where}: MembraneSubtract() subtracts the raised threshold, which no reset of neurosim does. Use "
            "MembraneReset() or MembraneSubtract(value)."
        )
    return "subtract", threshold


def _step(where: str, layer: Any, name: str, dtype: torch.dtype) -> Step:
    decay = doubled(layer.alpha_mem_calculated)
    gain = 1.0 - decay if layer.norm_input else torch.ones((), dtype=torch.float64)
    current = layer.alpha_syn_calculated
    if current is not None:  # sinabs decays the input of the step too
        current, gain = tidy(current), gain * doubled(current)
    if name.startswith("ExpLeak"):
        if layer.min_v_mem is not None:
            raise ConversionError(f"{where}: min_v_mem={float(layer.min_v_mem)} bounds the membrane. Use None.")
        if layer.spike_fn is not None:
            raise ConversionError(f"{where}: spike_fn={layer.spike_fn} was set on neurons that send their membrane.")
        return Step(tidy(decay), tidy(gain), current=current)
    threshold = tidy(layer.spike_threshold)
    strict = _threshold(where, layer, threshold, dtype)
    reset, amount = _reset(where, layer, threshold)
    return Step(tidy(decay), tidy(gain), strict, reset, amount=amount, current=current)


def _adaptive(where: str, layer: Any, name: str, choices: Choices) -> list[Part]:
    """Return neurons with an adaptive threshold, behind neurons for the current if there is one."""
    decay, adaptation = doubled(layer.alpha_mem_calculated), doubled(layer.alpha_adapt_calculated)
    gain = 1.0 - decay if layer.norm_input else torch.ones((), dtype=torch.float64)
    threshold = tidy(layer.b0)
    reset, amount = _reset(where, layer, None)
    values: dict[str, Any] = dict(
        tau_mem=choices.tau(where, tidy(decay)),
        tau_adapt=choices.tau(where, tidy(adaptation), cores.alif.parameters["tau_adapt"].high),
        beta=tidy(doubled(layer.adapt_scale) * (1.0 - adaptation)),
        v_th=_threshold(where, layer, threshold, choices.dtype),
        reset=reset,
    )
    if amount is not None:
        values["reset_amount"] = amount
    before: list[Part] = []
    if layer.alpha_syn_calculated is not None:  # the current that is kept has passed the gain of the membrane
        share = tidy(doubled(layer.alpha_syn_calculated) * gain)
        before, gain = [Step(share, share).neuron(where, choices)], torch.ones((), dtype=torch.float64)
    values["r"] = resistance(tidy(decay), tidy(gain), choices.dtype)
    return [*before, choices.neuron(where, cores.alif, **values)]
