"""Reading a module of another library layer by layer; each library adds its own layers."""

from __future__ import annotations

import abc
import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from neurosim.errors import InputError
from neurosim.exchange.peers.assembly import AfterDelay, Assembly, Late, Part, Signal
from neurosim.exchange.peers.errors import ConversionError
from neurosim.exchange.peers.steps import Choices
from neurosim.exchange.peers.tracing import read_graph
from neurosim.exchange.peers.verdicts import Verdict, log
from neurosim.network import Network, Recurrent
from neurosim.network.neuron import Neuron
from neurosim.synapses import BatchNorm, Dropout, Sparse, Synapse
from neurosim.synapses.torch_layers import Place, is_torch_layer, torch_synapses
from neurosim.synapses.torch_modules import check_unchanged, nearest


@dataclasses.dataclass(frozen=True)
class Mode:
    """How a layer is called.

    Attributes
    ----------
    axes_before : int
        Axes before those of a sample: 1 for the batch, 2 for batch and time.
    stateless : bool
        Whether time is part of the batch, so that layers with a state are not allowed.
    """

    axes_before: int = 1
    stateless: bool = False


class Reader(abc.ABC):
    """Converts the modules of one library.

    Attributes
    ----------
    library : str
        Its name in messages.
    package : str
        Name of its package.

    Parameters
    ----------
    choices : Choices
    """

    library: str
    package: str

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.assembly = Assembly(choices.dt)
        self.aliases: dict[type, type] = {}
        self._stateful: dict[int, str] = {}
        self._read: dict[int, str] = {}  # the first place of each layer

    @abc.abstractmethod
    def parts(self, where: str, module: nn.Module, signal: Signal, mode: Mode) -> list[Part]:
        """Return the equivalent of a layer of the library that reads `signal`.

        Raises
        ------
        ConversionError, InputError
            With what to change. The message of an `InputError` ends a sentence that begins with the layer.
        """

    def keeps_state(self, module: nn.Module) -> bool:
        """Whether a layer of the library keeps a state from call to call, in the module itself."""
        return False

    def mode(self, module: Any) -> Mode:
        """Return how the outermost layers of a sequence of modules are called."""
        return Mode()

    def place(self, where: str, module: nn.Module, signal: Signal, mode: Mode) -> Place:
        """Return where a layer of torch stands."""
        return Place(signal.shape, mode.axes_before, signal.non_negative, self.choices.dtype, self.aliases)

    def container(self, where: str, module: nn.Module, mode: Mode) -> Mode | None:
        """Return how the layers in a container of the library are called; None for a module that is none."""
        return None

    def input_shape(self, module: nn.Module) -> tuple[int, ...] | None:
        """Return the shape of the input that a layer of the library states, if it does."""
        return None

    def rounding(self, module: nn.Module) -> str:
        """Return why the neurons of a layer are equal up to rounding only; empty where their arithmetic is the same."""
        return ""

    def returns_state(self, module: nn.Module) -> bool:
        """Whether a call of a module returns its state beside its value."""
        return False

    def is_layer(self, module: nn.Module) -> bool:
        """Whether a module is read as one layer or container, and not through its forward method."""
        if self.owns(module) or is_torch_layer(module):
            return True
        if not _is_row(module):
            return type(module).__module__.startswith("torch.nn.")
        try:
            _check_row(module)
        except InputError:  # its forward method is read
            return bool(module._forward_hooks or module._forward_pre_hooks)
        return True

    def network(self, module: Any, input_shape: int | Sequence[int] | None) -> Network:
        """Return the network of a sequence of modules."""
        every = list(leaves(module))
        shape = input_shape if input_shape is not None else self._first_shape(every)
        net = self.assembly.network(self.read(module, self.assembly.input(shape), "", self.mode(module)))
        neurons = [node for node in net.populations().values() if isinstance(node, Neuron)]
        learned = {name for node in neurons for name in node.learned}
        unknown = [name for name in self.choices.learn if name not in learned]
        if unknown:
            known = sorted({name for node in neurons for name in node.declared})
            raise ConversionError(f"learn: no neurons have the parameters {unknown}; they have {known}.")
        return net

    def _first_shape(self, every: Sequence[tuple[str, nn.Module]]) -> tuple[int, ...]:
        first = every[0][1] if every else None
        shape: tuple[int, ...] | None = (first.in_features,) if isinstance(first, nn.Linear) else None
        if first is not None and shape is None:
            shape = self.input_shape(first)
        if shape is None:
            raise ConversionError("the shape of the input is not known, because no Linear is first; pass input_shape=.")
        return shape

    def read(self, module: Any, signal: Signal, path: str, mode: Mode) -> Signal:
        """Return the value behind a module that reads `signal`."""
        where = named(path, module)
        if not isinstance(module, (nn.Module, list, tuple)):
            raise ConversionError(f"layer {path.rstrip('.')!r} must be a torch module; got {type(module).__name__}.")
        inner = mode
        if isinstance(module, nn.Module):
            own = self.container(where, module, mode)
            if own is not None:
                inner = own
            elif not self.is_layer(module):
                return read_graph(self, module, signal, path, mode)
            elif not _is_row(module):
                return self._layer(where, module, signal, mode)
            else:
                try:
                    _check_row(module)
                except InputError as error:
                    raise ConversionError(f"{where}: {error}") from error
        for name, entry in entries(module):
            signal = self.read(entry, signal, f"{path}{name}.", inner)
        return signal

    def _layer(self, where: str, module: nn.Module, signal: Signal, mode: Mode) -> Signal:
        found = log()
        if found is None:
            return self._converted(where, module, signal, mode)[0]
        try:
            after, parts = self._converted(where, module, signal, mode)
        except ConversionError as error:
            found.append(Verdict(where, "refused", note=str(error).removeprefix(f"{where}: ")))
            shape = _shape_of_call(module, signal.shape, mode.axes_before)
            if shape is None:
                raise
            return self.assembly.input(shape, f"behind{len(self.assembly.nodes)}")
        notes = [note for part in parts if (note := self._note(module, part))]
        first = self._read.setdefault(id(module), where)
        if first != where and any(True for _ in nn.Module.parameters(module)):
            notes.append(f"in training its weights are not those of {first}, the same object")
        rounds = any(not isinstance(part, (Synapse, AfterDelay)) for part in parts) and (
            self.rounding(module) or ("learned time constants are rounded" if self.choices.learn else "")
        )
        names = ", ".join(self._names(parts)) or "nothing"
        verdict: Literal["exact", "bounded"] = "bounded" if rounds else "exact"
        found.append(Verdict(where, verdict, names, "; ".join([*([rounds] if rounds else []), *notes])))
        return after

    def _names(self, parts: Sequence[Part]) -> Iterator[str]:
        """Yield the classes of synapses and the names of nodes."""
        known = {id(node): name for name, node in self.assembly.nodes.items()}
        for part in parts:
            if isinstance(part, Synapse):
                yield type(part).__name__
            elif isinstance(part, Late):
                yield from (known[id(part.first)], known[id(part.second)])
            elif isinstance(part, AfterDelay):
                yield f"a delay of {part.steps} step"
            else:
                yield known[id(part.neuron if isinstance(part, Recurrent) else part)]

    def _note(self, module: nn.Module, part: Part) -> str:
        """Return how a synapse differs from a layer in training."""
        if isinstance(part, Dropout) and not self.owns(module):
            return "in training one mask for all steps"
        if isinstance(part, Sparse) and isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d)):
            return "in training its weights are not shared"
        if isinstance(part, BatchNorm) and getattr(module, "momentum", 0.1) is None:
            return "momentum None became 0.1"
        return ""

    def _converted(self, where: str, module: nn.Module, signal: Signal, mode: Mode) -> tuple[Signal, list[Part]]:
        if self.keeps_state(module):
            self.claim(where, module)
            if mode.stateless:
                raise ConversionError(f"{where}: has a state, but its container makes time part of the batch.")
        try:
            parts = self._equivalent(where, module, signal, mode)
        except InputError as error:
            raise ConversionError(f"{where}: {error}") from error
        for part in parts:
            signal = self.assembly.after(where, signal, part)
        return signal, parts

    def claim(self, where: str, module: nn.Module) -> None:
        """Refuse a layer with a state that stands at another place too."""
        if id(module) in self._stateful:
            raise ConversionError(
                f"{where}: is the same object as {self._stateful[id(module)]} and keeps one state for both places, "
                "which no two populations do. Use two layers of neurons."
            )
        self._stateful[id(module)] = where

    def _equivalent(self, where: str, module: nn.Module, signal: Signal, mode: Mode) -> list[Part]:
        if self.owns(module) and nearest(module, self.aliases) is None:
            return self.parts(where, module, signal, mode)
        synapses = torch_synapses(module, self.place(where, module, signal, mode))
        if synapses is None:
            raise ConversionError(
                f"{where}: is no layer of torch or {self.library} that is converted. Use one that is, see "
                "docs/conversions.md, or layers of which it consists."
            )
        return list(synapses)

    def owns(self, module: nn.Module) -> bool:
        """Whether a module, or a class that it is derived from, is of the library."""
        return any(kind.__module__.split(".")[0] == self.package for kind in type(module).__mro__)


def named(path: str, module: Any) -> str:
    """Return the name of a layer in messages."""
    return f"layer {path.rstrip('.')!r} ({type(module).__name__})" if path else type(module).__name__


def entries(module: Any) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a container in order, an object that stands twice two times."""
    if isinstance(module, nn.Module):
        yield from module._modules.items()
    else:
        yield from ((str(number), entry) for number, entry in enumerate(module))


def leaves(module: Any, path: str = "", package: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a sequence with their names for messages; containers are flattened.

    With the name of a `package` those inside of modules that are of neither torch nor this package are yielded too.
    """
    is_row = isinstance(module, (list, tuple, nn.Sequential, nn.ModuleList))
    kinds = type(module).__mro__
    is_foreign = bool(package) and not any(k.__module__.split(".")[0] == package for k in kinds)
    if is_row or (is_foreign and isinstance(module, nn.Module) and not kinds[0].__module__.startswith("torch.")):
        for name, entry in entries(module):
            yield from leaves(entry, f"{path}{name}.", package)
    elif isinstance(module, nn.Module):
        yield named(path, module), module


def _shape_of_call(module: nn.Module, shape: tuple[int, ...], axes: int) -> tuple[int, ...] | None:
    """Return the shape of a sample of what a module returns, or None where it does not run."""
    try:
        with torch.no_grad():
            value = copy.deepcopy(module).eval()(torch.zeros(*(2,) * axes, *shape))
    except Exception:  # whatever a module of the user raises
        return None
    value = value[0] if isinstance(value, tuple) else value
    return tuple(value.shape[axes:]) if isinstance(value, torch.Tensor) and value.dim() > axes else None


def _is_row(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList))


def _check_row(module: nn.Module) -> None:
    """Check that a container calls its entries one after the other."""
    kind = nn.Sequential if isinstance(module, nn.Sequential) else nn.ModuleList
    check_unchanged(module, kind)


def precision(module: Any, dtype: torch.dtype | None) -> torch.dtype:
    """Return the precision of layers: `dtype`, or that of their first parameter or buffer."""
    if dtype is not None:
        return dtype
    every = (layer for _, layer in leaves(module))  # some libraries give `parameters` another meaning
    numbers = (t for layer in every for t in (*nn.Module.parameters(layer), *nn.Module.buffers(layer)))
    return next((t.dtype for t in numbers if t.is_floating_point()), torch.get_default_dtype())


def of_kind(module: nn.Module, kinds: Mapping[str, type], library: str) -> str:
    """Return the name of the class of the library whose methods a module runs.

    Raises
    ------
    InputError
        For another class, with the names of those that are converted, and for a module that was changed.
    """
    kind = nearest(module, kinds.values())
    if kind is None:
        raise InputError(f"of {library} only {', '.join(kinds)} are converted.")
    check_unchanged(module, kind)
    return next(name for name, known in kinds.items() if known is kind)
