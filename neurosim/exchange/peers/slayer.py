"""Conversion from the blocks of SLAYER in lava-dl."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from neurosim import cores
from neurosim.errors import InputError
from neurosim.exchange.peers.assembly import AfterDelay, Part, Signal
from neurosim.exchange.peers.reader import Mode, Reader, of_kind
from neurosim.exchange.peers.steps import Choices, check_learned, doubled, tidy
from neurosim.language import Surrogate
from neurosim.network import Network
from neurosim.synapses import Flatten, Synapse
from neurosim.synapses.building import synapses_of
from neurosim.synapses.lowering import Convolution, Dense
from neurosim.synapses.torch_layers import Place
from neurosim.synapses.torch_modules import check_unchanged, nearest, numbers
from neurosim.units import check_dt

_BLOCKS = ("Dense", "Conv", "Flatten", "Input")
_TOP = 2**23  # currents and membranes of the core are below
_HIGHEST = 4096  # from this mantissa on SLAYER's single precision no longer separates > from >= at the threshold


def from_slayer(
    module: Any,
    *,
    dt: float,
    input_shape: int | Sequence[int] | None = None,
    spike: Surrogate | None = None,
    learn: Iterable[str] = (),
) -> Network:
    """Convert CUBA blocks of SLAYER (lava-dl), with their quantised weights, to the integers of Loihi, exactly.

    SLAYER's dynamics are those of `neurosim.cores.loihi` in other units: weights times `scale`, states times 64 more.
    The spikes of the network are those of the blocks for inputs of 0 and 1. SLAYER takes ``[B, N, T]``, the network
    ``[T, B, N]``. A block with `delay_shift`, the default, sends its spikes one step late.

    Parameters
    ----------
    module : nn.ModuleList, nn.Sequential or list of blocks
        In the order in which they are called: `Dense`, `Conv` and `Flatten` of ``slayer.block.cuba``, and `Input`
        without neurons.
    dt : float
        Length of a step, s.
    input_shape, spike
        As in `from_snntorch`; the network runs in single precision.
    learn : iterable of str
        Empty: the parameters of the core are integers.

    Returns
    -------
    Network
        In eval mode.

    Raises
    ------
    ConversionError
        For blocks without an exact equivalent, with what to change.
    """
    check_dt("from_slayer", dt)
    return SlayerReader(Choices(dt, torch.float32, spike, check_learned(learn))).network(module, input_shape)


class SlayerReader(Reader):
    """Converts blocks of SLAYER."""

    library = "SLAYER"
    package = "lava"

    def keeps_state(self, module: nn.Module) -> bool:
        """Whether a block continues where its last call ended."""
        return self.owns(module) and bool(getattr(getattr(module, "neuron", None), "persistent_state", False))

    def input_shape(self, module: nn.Module) -> tuple[int, ...] | None:
        """Return the size of the input of a dense block of rows of neurons."""
        synapse = getattr(module, "synapse", None) if self.owns(module) else None
        is_row = synapse is not None and tuple(synapse.kernel_size) == (1, 1, 1) and type(module).__name__ == "Dense"
        return (int(synapse.in_channels),) if is_row else None  # type: ignore[union-attr]

    def place(self, where: str, module: nn.Module, signal: Signal, mode: Mode) -> Place:
        """Return where a layer of torch stands; time is the last axis, so that only layers of single values fit."""
        if not isinstance(module, (nn.Identity, nn.Dropout)):
            raise InputError("reads time as the last axis of a sample; use a block of SLAYER.")
        return super().place(where, module, signal, mode)

    def parts(self, where: str, module: Any, signal: Signal, mode: Mode) -> list[Part]:
        """Return the synapses and neurons of a block, and its delay."""
        from lava.lib.dl.slayer.block import cuba

        name = of_kind(module, {name: getattr(cuba, name) for name in _BLOCKS}, "SLAYER's CUBA blocks")
        if module.count_log:
            raise InputError("count_log=True returns rates beside spikes; set it to False.")
        if name == "Flatten":
            return [Flatten()] if len(signal.shape) > 1 else []
        late: list[Part] = [AfterDelay(1)] if module.delay_shift else []
        if module.delay is not None:
            raise InputError("delay=True: axonal delays that are learned are not converted; export the block to netx.")
        if name == "Input":
            if module.neuron is not None:
                raise InputError("has neurons that scale an input of real numbers; give spikes to a block without.")
            return late
        synapse = _synapse(module, name, signal.shape)
        return [*synapse, _neurons(where, module.neuron, self.choices), *late]

    def rounding(self, module: Any) -> str:
        """Return what is not the same for all inputs: a current or membrane beyond 24 bits."""
        if getattr(module, "neuron", None) is None:
            return ""
        weight = _integers(module)[0].double().abs().flatten(1).sum(1).max().item() * 64
        current, membrane = (float(doubled(d).round().min()) / 4096 for d in _decays(module.neuron))
        u = weight / current if current else float("inf")
        v = u / membrane if membrane else float("inf")
        return "" if v < _TOP else "equal while currents and membranes stay below 2^23, which SLAYER does not bound"


def _decays(neuron: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return neuron.current_decay.detach(), neuron.voltage_decay.detach()


def _integers(module: Any) -> tuple[torch.Tensor, Any]:
    """Return the weights that run, times the scale of the neurons, and the synapse."""
    import lava.lib.dl.slayer.synapse.layer as layers

    synapse, neuron = module.synapse, module.neuron
    kind = nearest(synapse, (layers.Dense, layers.Conv))
    if kind is None:
        raise InputError(f"its synapse is a {type(synapse).__name__}; Dense and Conv of SLAYER are converted.")
    check_unchanged(synapse, kind, computed_weights=True)
    (weight,) = numbers(synapse, "weight")
    assert weight is not None
    mask = getattr(module, "mask", None)
    if mask is not None and not synapse.weight_norm_enabled:  # which computes the weight anew behind the mask
        weight = weight * mask
    with torch.no_grad():
        quantised = weight if synapse.pre_hook_fx is None else synapse.pre_hook_fx(weight)
    scaled = quantised.detach() * neuron.w_scale
    if not torch.equal(scaled, scaled.round()):
        raise InputError("its weights times scale are not integers; use the quantisation that blocks have by default.")
    return scaled, synapse


def _synapse(module: Any, name: str, shape: tuple[int, ...]) -> list[Synapse]:
    weight, synapse = _integers(module)
    if name == "Dense":
        flat = weight.flatten(1)
        if len(shape) > 1 and tuple(weight.shape[1:-1]) != shape:
            raise InputError(f"reads {list(weight.shape[1:-1])}, but its input is {list(shape)}.")
        return synapses_of(Dense(flat), shape, dt=0.0)
    stride, padding, dilation = (
        tuple(int(v) for v in getattr(synapse, field)[:2]) for field in ("stride", "padding", "dilation")
    )
    return synapses_of(Convolution(weight.squeeze(-1), stride, padding, dilation, synapse.groups), shape, dt=0.0)


def _neurons(where: str, neuron: Any, choices: Choices) -> Any:
    from lava.lib.dl.slayer.neuron import cuba

    check_unchanged(neuron, cuba.Neuron)
    for field, is_set in (
        ("norm", neuron.norm is not None),
        ("graded_spike", neuron.graded_spike),
        ("dropout", neuron.drop is not None and neuron.drop.training and neuron.drop.p > 0),
        ("debug", neuron.debug),
    ):
        if is_set:
            raise InputError(f"its neurons have {field}, which the integer neuron has not; leave it out.")
    if not neuron.shared_param and hasattr(neuron, "current_decay_min"):
        raise InputError("its decays are drawn at the first call (shared_param=False); run it once before.")
    mantissa = round(neuron.threshold * neuron.w_scale)
    if not 0 < mantissa < _HIGHEST:
        raise InputError(
            f"threshold={neuron.threshold:g} is {mantissa} times 1 / scale; the comparison of SLAYER is that of Loihi "
            f"from 1 to {_HIGHEST - 1}."
        )
    current, membrane = (doubled(decay).round() for decay in _decays(neuron))
    return choices.neuron(
        where, cores.loihi, du=tidy(current - 1), dv=tidy(membrane), v_th=float(mantissa), unit=64.0 * neuron.w_scale
    )
