"""The forward method of a module as a graph of layers: skips, branches and sums, by `torch.fx`.

A graph is read node by node. What has no equivalent, such as a membrane that is used as a value, is refused by name.
"""

from __future__ import annotations

import dataclasses
import inspect
import operator
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from neurosim.errors import InputError
from neurosim.exchange.peers.assembly import Assembly, Signal
from neurosim.exchange.peers.errors import ConversionError
from neurosim.exchange.peers.restoring import traced
from neurosim.exchange.peers.steps import Choices
from neurosim.synapses import Scale
from neurosim.synapses.torch_modules import check_unchanged


class Layers(Protocol):
    """What reads the layers of a graph: a `Reader`."""

    assembly: Assembly
    choices: Choices

    def is_layer(self, module: nn.Module) -> bool:
        """Whether a module is read as one layer or container, and not through its forward method."""

    def returns_state(self, module: nn.Module) -> bool:
        """Whether a call of a module returns its state beside its value."""

    def read(self, module: Any, signal: Signal, path: str, mode: Any) -> Signal:
        """Return the value behind a module that reads `signal`."""


class _State:
    """A state that neurons return."""


class _StateOfCaller(_State):
    """A state that the caller passes to the forward method, for one layer of neurons."""

    is_used = False


@dataclasses.dataclass(frozen=True)
class _WithState:
    """What neurons return that hand out their state: spikes first."""

    signal: Signal


class _Proxy(fx.Proxy):
    """A value that records sums in place as such."""

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})


class _Tracer(fx.Tracer):
    """Records layers as one node each; modules of the user are read through."""

    def __init__(self, is_layer: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self.is_layer = is_layer

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return the value of a node."""
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module is one node."""
        return self.is_layer(m)


def read_graph(reader: Layers, module: nn.Module, signal: Signal, path: str, mode: Any) -> Signal:
    """Return the value that the forward method of a module computes from `signal`.

    Raises
    ------
    ConversionError
        For a method that cannot be traced, that changes attributes, or that computes something without an equivalent.
    """
    where = f"layer {path.rstrip('.')!r} ({type(module).__name__})" if path else type(module).__name__
    try:
        check_unchanged(module, type(module))
        with traced(module):
            graph = _Tracer(reader.is_layer).trace(module, _choices(module))
    except InputError as error:
        raise ConversionError(f"{where}: {error}") from error
    except Exception as error:  # whatever a method of the user raises when its values are not known
        raise ConversionError(
            f"{where}: its forward method cannot be read: {error}. It must call layers on one input, without loops "
            "over time and without decisions on values; or pass the layers as a list or nn.Sequential."
        ) from error
    return _Graph(reader, module, path, where, mode).value(graph, signal)


@dataclasses.dataclass(frozen=True)
class _Graph:
    """Computes the values of the nodes of a graph."""

    reader: Layers
    module: nn.Module
    path: str
    where: str
    mode: Any

    def value(self, graph: fx.Graph, signal: Signal) -> Signal:
        """Return the output of the graph."""
        values: dict[fx.Node, Any] = {}
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        if not inputs:
            raise ConversionError(f"{self.where}: its forward method takes no input.")
        for node in graph.nodes:
            if node.op == "output":
                return self._output(node, values)
            if node.op == "placeholder":
                values[node] = signal if node is inputs[0] else _StateOfCaller()
            elif node.op == "call_module":
                values[node] = self._layer(node, values)
            elif node.op == "get_attr":
                raise self._refusal(node, f"reads the tensor {node.target!r}")
            else:
                values[node] = self._called(node, values)
            if isinstance(values.get(node), Signal) and len(node.users) > 1:
                values[node] = self.reader.assembly.settled(values[node])
        raise ConversionError(f"{self.where}: its forward method returns nothing.")

    def _output(self, node: fx.Node, values: dict[fx.Node, Any]) -> Signal:
        given = node.args[0]
        first, rest = (given[0], given[1:]) if isinstance(given, (tuple, list)) and given else (given, ())
        value = values.get(first) if isinstance(first, fx.Node) else None
        if isinstance(value, _WithState) and not rest:
            value = value.signal
        states = [values.get(one) if isinstance(one, fx.Node) else one for one in rest]
        if not isinstance(value, Signal) or not all(isinstance(one, _State) for one in states):
            raise ConversionError(
                f"{self.where}: its forward method must return one value, or one and the states of neurons."
            )
        return value

    def _layer(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        layer = self.module.get_submodule(str(node.target))
        arguments = [values.get(one, one) if isinstance(one, fx.Node) else one for one in node.args]
        if node.kwargs:
            arguments += [values.get(one, one) if isinstance(one, fx.Node) else one for one in node.kwargs.values()]
        if not arguments or not isinstance(arguments[0], Signal):
            raise self._refusal(node, "gives it something else than one value")
        for state in arguments[1:]:
            if state is not None and (not isinstance(state, _StateOfCaller) or state.is_used):
                raise self._refusal(node, "gives it more than one value and a state of the caller for it alone")
            if state is not None:
                state.is_used = True
        sent = self.reader.read(layer, arguments[0], f"{self.path}{node.target}.", self.mode)
        return _WithState(sent) if self.reader.returns_state(layer) else sent

    def _called(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        arguments = [values[one] if isinstance(one, fx.Node) else one for one in node.args]
        target = node.target if node.op == "call_function" else getattr(Tensor, str(node.target), None)
        if target is operator.getitem and isinstance(arguments[0], (_WithState, _State)):
            sent = arguments[0]
            return sent.signal if isinstance(sent, _WithState) and arguments[1] == 0 else _State()
        signals = [one for one in arguments if isinstance(one, Signal)]
        if target in _IN_PLACE and not self._is_own(node.args[0]):
            raise self._refusal(node, "changes a value in place that may be read elsewhere; write x = x + y")
        if target in _ADD and len(signals) == 2 and not node.kwargs:
            return self.reader.assembly.sum(self._name(node), signals)
        if target in _SUBTRACT and len(signals) == 2 and not node.kwargs:
            return self.reader.assembly.sum(self._name(node), [signals[0], self._times(node, signals[1], -1.0)])
        numbers = [one for one in arguments if isinstance(one, (int, float))]
        if target in _MULTIPLY and len(signals) == len(numbers) == 1:
            return self._times(node, signals[0], float(numbers[0]))
        if not signals and target in _OF_CHOICES:  # the tracer's check of an argument that it fixed
            return _State()
        make = _FUNCTIONS.get(target)
        if make is not None and len(signals) == 1 and arguments[0] is signals[0]:
            try:
                layer = make(*arguments[1:], **node.kwargs)
            except TypeError as error:
                raise self._refusal(node, f"calls {node.name} with {error}") from error
            return self.reader.read(layer, signals[0], f"{self.path}{node.name}.", self.mode)
        if target is operator.getitem:
            raise self._refusal(node, "takes parts of a value: a loop over time cannot be read, only one step")
        raise self._refusal(node, f"calls {getattr(node.target, '__name__', node.target)}")

    def _is_own(self, changed: Any) -> bool:
        """Whether a value is in memory of its own and read at one place only, so that it may change in place."""
        if not isinstance(changed, fx.Node) or len(changed.users) > 1:
            return False
        if changed.op != "call_module":
            return changed.op == "call_function" and changed.target in (*_ADD, *_SUBTRACT, *_MULTIPLY)
        layer = self.module.get_submodule(str(changed.target))
        while isinstance(layer, nn.Sequential) and len(layer):
            layer = layer[-1]
        return isinstance(layer, _MAKE_THEIR_OUTPUT)  # neurons may keep what they return

    def _times(self, node: fx.Node, signal: Signal, factor: float) -> Signal:
        scale = Scale(torch.tensor(factor)).to(self.reader.choices.dtype).requires_grad_(False)
        return self.reader.assembly.after(self._name(node), signal, scale)

    def _name(self, node: fx.Node) -> str:
        return f"{self.where}: {node.name!r}"

    def _refusal(self, node: fx.Node, what: str) -> ConversionError:
        name = f"layer {node.target!r}" if node.op == "call_module" else repr(node.name)
        return ConversionError(
            f"{self.where}: at {name} its forward method {what}, which has no equivalent. It can call layers, add and "
            "subtract their values, multiply them by a number, flatten and pool them."
        )


def _choices(module: nn.Module) -> dict[str, Any]:
    """Return the arguments of a forward method that are choices with a default, not values."""
    parameters = inspect.signature(module.forward).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, (bool, int, float, str))}


def _without_dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Module:
    if training:
        raise ConversionError("functional.dropout drops inputs in evaluation too: pass training=self.training.")
    return nn.Dropout(p)


_OF_CHOICES = (operator.eq, torch._assert)
_IN_PLACE = (operator.iadd, operator.isub, operator.imul)
_MAKE_THEIR_OUTPUT = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.AvgPool2d, nn.MaxPool2d)
_ADD = (operator.add, operator.iadd, torch.add, Tensor.add)
_SUBTRACT = (operator.sub, operator.isub, torch.sub, Tensor.sub)
_MULTIPLY = (operator.mul, operator.imul, torch.mul, Tensor.mul)
_FUNCTIONS: dict[Any, Callable[..., nn.Module]] = {
    torch.flatten: lambda start_dim=0, end_dim=-1: nn.Flatten(start_dim, end_dim),
    Tensor.flatten: lambda start_dim=0, end_dim=-1: nn.Flatten(start_dim, end_dim),
    torch.relu: nn.ReLU,
    Tensor.relu: nn.ReLU,
    functional.relu: nn.ReLU,
    functional.max_pool2d: nn.MaxPool2d,
    functional.avg_pool2d: nn.AvgPool2d,
    functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    functional.interpolate: nn.Upsample,
    functional.dropout: _without_dropout,
}
