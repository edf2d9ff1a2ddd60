"""Conversion from SpikingJelly."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from neurosim.errors import InputError
from neurosim.exchange.peers.assembly import AfterDelay, Part, Signal
from neurosim.exchange.peers.errors import ConversionError
from neurosim.exchange.peers.reader import Mode, Reader, entries, leaves, of_kind, precision
from neurosim.exchange.peers.steps import Choices, Number, Step, check_learned, check_threshold, tidy
from neurosim.language import Surrogate
from neurosim.network import Network, Recurrent
from neurosim.network.neuron import Neuron
from neurosim.parallel import PSN, MaskedPSN, SlidingPSN
from neurosim.parallel.layer import ParallelNeurons
from neurosim.synapses import BatchNorm, Dropout, Identity, Linear, Sparse
from neurosim.synapses.torch_layers import Place, torch_synapses
from neurosim.synapses.torch_modules import check_unchanged, nearest
from neurosim.units import check_dt, just_below

_NEURONS = ("IFNode", "LIFNode", "ParametricLIFNode")
_LAYERS = (
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Flatten",
    "GroupNorm",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "Upsample",
)
_OVER_TIME = ("ThresholdDependentBatchNorm1d", "ThresholdDependentBatchNorm2d")
_CONTAINERS = ("MultiStepContainer", "SeqToANNContainer", "StepModeContainer")
_MEMBRANES = ("NonSpikingIFNode", "NonSpikingLIFNode")
_PARALLEL = ("PSN", "MaskedPSN", "SlidingPSN")
_LOOPS = ("LinearRecurrentContainer", "ElementWiseRecurrentContainer")


def from_spikingjelly(
    module: Any,
    *,
    dt: float,
    input_shape: int | Sequence[int] | None = None,
    spike: Surrogate | None = None,
    learn: Iterable[str] = (),
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
        ElementWiseRecurrentContainer (of an addition) around one of these, NonSpikingIFNode, NonSpikingLIFNode, PSN,
        MaskedPSN, SlidingPSN, VotingLayer, Delay, ThresholdDependentBatchNorm1d and 2d, SpikingJelly's and torch's own
        layers and containers, in single-step or in multi-step mode.
    dt, input_shape, spike, learn, dtype
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
    choices = Choices(dt, precision(module, dtype), spike, check_learned(learn))
    return SpikingJellyReader(choices).network(module, input_shape)


class SpikingJellyReader(Reader):
    """Converts modules of SpikingJelly."""

    library = "SpikingJelly"
    package = "spikingjelly"

    def __init__(self, choices: Choices) -> None:
        super().__init__(choices)
        try:
            from spikingjelly.activation_based import layer
        except ImportError:  # then no module is of SpikingJelly
            return
        self.aliases = {getattr(layer, name): getattr(nn, name) for name in _LAYERS}

    def keeps_state(self, module: nn.Module) -> bool:
        """Whether a layer has a memory; dropout keeps a mask in training only."""
        return self.owns(module) and bool(getattr(module, "_memories", {})) and not _is_dropout(module)

    def mode(self, module: Any) -> Mode:
        """Return how the outermost layers are called: in the step mode of the first that has one."""
        modes = (_step_mode(layer) for outer in self._outermost(module) for layer in self._inside(outer))
        return Mode(2 if next((mode for mode in modes if mode), "s") == "m" else 1)

    def _outermost(self, module: Any) -> Iterator[Any]:
        if isinstance(module, (list, tuple, nn.ModuleList)) or (
            isinstance(module, nn.Sequential) and not self.owns(module)
        ):
            for _, entry in entries(module):
                yield from self._outermost(entry)
        else:
            yield module

    def _inside(self, module: Any) -> Iterator[Any]:
        """Yield a layer of the library, or the layers inside of another module."""
        if self.owns(module):
            yield module
        elif isinstance(module, nn.Module):
            yield from (layer for _, layer in leaves(module, package=self.package))

    def container(self, where: str, module: nn.Module, mode: Mode) -> Mode | None:
        """Return how the layers in a container of SpikingJelly are called."""
        if not self.owns(module) or not isinstance(module, nn.Sequential):
            return None
        from spikingjelly.activation_based import layer

        try:
            name = of_kind(module, {name: getattr(layer, name) for name in _CONTAINERS}, "SpikingJelly's containers")
        except InputError as error:
            raise ConversionError(f"{where}: {error}") from error
        self._check_mode(where, module, mode)
        if mode.axes_before == 1:
            return mode
        stateful = name == "MultiStepContainer" or (name == "StepModeContainer" and module.stateful)
        return Mode(1, stateless=not stateful)

    def _check_mode(self, where: str, module: Any, mode: Mode) -> None:
        own = _step_mode(module)
        if own is not None and own != ("s" if mode.axes_before == 1 else "m"):
            raise ConversionError(
                f"{where}: step_mode={own!r}, where the layers around it run "
                f"{'one step' if mode.axes_before == 1 else 'all steps'} at once; set_step_mode(net, 's') or 'm' sets "
                "all layers."
            )

    def place(self, where: str, module: nn.Module, signal: Signal, mode: Mode) -> Place:
        """Return where a layer of torch stands; those of SpikingJelly make time part of the batch themselves."""
        place = super().place(where, module, signal, mode)
        if not self.owns(module):
            return place
        self._check_mode(where, module, mode)
        return dataclasses.replace(place, axes_before=1)

    def input_shape(self, module: nn.Module) -> tuple[int, ...] | None:
        """Return the size of the input of a container with weights of its own."""
        return (module.rc.out_features,) if type(module).__name__ == "LinearRecurrentContainer" else None  # type: ignore[union-attr,return-value]

    def rounding(self, module: Any) -> str:
        """Return what rounds in a neuron."""
        name = type(module).__name__
        if name in _PARALLEL:
            return "sums over steps are rounded"
        if name in _LOOPS:
            return self.rounding(module.sub_module)
        plain = name == "LIFNode" and not module.decay_input and not module.v_reset
        if plain or name in ("IFNode", "NonSpikingIFNode"):
            return ""
        return "SpikingJelly adds the change of a step to the membrane"

    def parts(self, where: str, module: Any, signal: Signal, mode: Mode) -> list[Part]:
        """Return the neurons of a layer, with their loops."""
        from spikingjelly.activation_based import layer, neuron

        self._check_mode(where, module, mode)
        if _is_dropout(module):
            of_kind(module, {name: getattr(layer, name) for name in ("Dropout", "Dropout2d")}, self.library)
            return [Dropout(module.p).eval()] if module.p else []
        norms = {name: getattr(layer, name) for name in _OVER_TIME}
        if nearest(module, norms.values()) is not None:
            place = Place(signal.shape, dtype=self.choices.dtype)
            return _norm_over_time(module, of_kind(module, norms, self.library), place)
        if isinstance(module, layer.Delay):
            check_unchanged(module, layer.Delay)
            return [AfterDelay(module.delay_steps)] if module.delay_steps else []
        if isinstance(module, layer.VotingLayer):
            return _votes(module, layer.VotingLayer, signal)
        loops = {name: getattr(layer, name) for name in _LOOPS}
        if nearest(module, loops.values()) is not None:
            return self._recurrent(where, module, of_kind(module, loops, self.library))
        kinds = {name: getattr(neuron, name) for name in (*_NEURONS, *_MEMBRANES, *_PARALLEL)}
        name = of_kind(module, kinds, "SpikingJelly's neurons")
        if name in _MEMBRANES:
            return [_membrane(where, module, name).neuron(where, self.choices)]
        check_threshold(where, module.surrogate_function, at_threshold=True)
        if name in _PARALLEL:
            return [_parallel(where, module, name, self.choices)]
        return [self._neuron(where, module, name)]

    def _neuron(self, where: str, module: Any, name: str) -> Neuron:
        rest = 0.0 if module.v_reset is None else module.v_reset
        if module._memories_rv["v"] != rest:
            raise InputError(
                f"starts at v={module._memories_rv['v']!r}, which a neuron of neurosim cannot; its initial membrane "
                f"must be {rest}."
            )
        if module._neuron_precision is not None:
            raise InputError(f"computes in {module._neuron_precision}; convert a layer in full precision.")
        return _step(module, name, self.choices.dtype).neuron(where, self.choices)

    def _recurrent(self, where: str, module: Any, name: str) -> list[Part]:
        from spikingjelly.activation_based import neuron

        inner = list(leaves(module.sub_module))
        kinds = {known: getattr(neuron, known) for known in _NEURONS}
        if len(inner) != 1 or nearest(inner[0][1], kinds.values()) is None:
            raise InputError(
                f"holds {[type(one).__name__ for _, one in inner]}; a loop around one layer of neurons is converted."
            )
        self.claim(where, inner[0][1])
        self._check_mode(where, inner[0][1], Mode())
        (neurons,) = self.parts(where, inner[0][1], Signal((), ()), Mode())
        assert isinstance(neurons, Neuron)
        if name == "ElementWiseRecurrentContainer":
            if module.element_wise_function not in (operator.add, torch.add):
                raise InputError(
                    f"element_wise_function={module.element_wise_function!r}; only operator.add and torch.add are "
                    "converted."
                )
            return [Recurrent(neurons, Identity())]
        n_in, n_out = module.rc.out_features, module.sub_module_out_features
        if n_in != n_out:
            raise InputError(f"its numbers of input and output neurons are {n_in} and {n_out}; they must be equal.")
        weights = torch_synapses(module.rc, Place((n_in + n_out,), dtype=self.choices.dtype))
        if weights is None or len(weights) != 1 or not isinstance(joined := weights[0], Linear):
            raise InputError(f"its weights are a {type(module.rc).__name__}; only a Linear is converted.")
        outer, loop = Linear(n_in, n_in, bias=joined.bias is not None), Linear(n_out, n_in)
        outer.weight = nn.Parameter(joined.weight.detach()[:, :n_in].clone())
        loop.weight = nn.Parameter(joined.weight.detach()[:, n_in:].clone())
        outer.bias = joined.bias
        return [outer, Recurrent(neurons, loop)]


def _step_mode(module: Any) -> str | None:
    """Return the step mode of a layer; those with a single one may not state it."""
    modes: Sequence[str] = module.supported_step_mode() if hasattr(module, "supported_step_mode") else ()
    return modes[0] if len(modes) == 1 else getattr(module, "step_mode", None)


def _norm_over_time(module: Any, name: str, place: Place) -> list[Part]:
    """Return threshold-dependent batch normalisation, whose statistics in training are over all steps."""
    plain = (nn.BatchNorm1d if name.endswith("1d") else nn.BatchNorm2d)(
        module.num_features, module.eps, module.momentum
    )
    plain.to(module.weight.dtype).train(module.training)
    plain.running_mean, plain.running_var = module.running_mean, module.running_var
    plain.weight, plain.bias = module.weight, module.bias
    synapses = torch_synapses(plain, place)
    norm = synapses[0] if synapses else None
    assert isinstance(norm, BatchNorm)
    norm.over = "time"
    return [norm]


def _is_dropout(module: nn.Module) -> bool:
    from spikingjelly.activation_based import layer

    return isinstance(module, layer.Dropout)


def _votes(module: Any, kind: type, signal: Signal) -> list[Part]:
    """Return the means of groups of neurons, which no training changes."""
    check_unchanged(module, kind)
    if len(signal.shape) != 1:
        raise InputError(f"votes over the last axis of {list(signal.shape)}; flatten before it.")
    size = module.voting_size
    n_out = signal.shape[0] // size
    every = torch.arange(n_out * size)
    weight = torch.full((n_out * size,), 1.0 / size)
    return [Sparse(signal.shape[0], n_out, torch.stack((every // size, every)), weight).requires_grad_(False)]


def _step(layer: Any, name: str, dtype: torch.dtype) -> Step:
    threshold = layer.v_threshold
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


def _membrane(where: str, layer: Any, name: str) -> Step:
    """Return the step of neurons that never fire and start each run at 0."""
    if layer.decode is not None:
        raise ConversionError(
            f"{where}: decode={layer.decode!r} makes one value of all steps; leave it out and use a loss of the "
            "membrane, such as MaxMembrane."
        )
    share = 1.0 if name == "NonSpikingIFNode" else 1.0 / layer.tau
    return Step(1.0) if name == "NonSpikingIFNode" else Step(1.0 - share, share)


def _parallel(where: str, layer: Any, name: str, choices: Choices) -> ParallelNeurons:
    """Return a neuron of the PSN family.

    Those of SpikingJelly fire at their threshold too. Where the sum over steps rounds, a membrane that is within
    rounding of the threshold may be on another side of it.
    """
    spike, dt = choices.spike, choices.dt
    threshold = just_below(-layer.bias.detach().double(), choices.dtype)
    if name == "SlidingPSN":
        neurons: PSN | SlidingPSN = SlidingPSN(layer.k, dt=dt, spike=spike)
        weight = layer.weight.detach().flip(0)
    elif name == "PSN":
        neurons, weight = PSN(layer.T, dt=dt, spike=spike), layer.weight.detach()
    else:
        neurons = MaskedPSN(layer.T, layer.k, dt=dt, spike=spike, masking=min(float(layer.lambda_), 1.0))
        weight = layer.weight.detach()
    neurons = neurons.to(choices.dtype)
    with torch.no_grad():
        neurons.weight.copy_(weight)
        neurons.v_th.copy_(torch.as_tensor(threshold).view(neurons.v_th.shape))
    return neurons
