"""A network as an ONNX graph of one time step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.exchange.onnx.graph import Graph, Number
from neurosim.files.atomic import replaced
from neurosim.files.problems import Problems
from neurosim.language.definition import RESET_AMOUNT
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.portability import sources, start_values, values_per_trial
from neurosim.synapses.lowering import (
    Convolution,
    Dense,
    Described,
    Opaque,
    Pooling,
    Reshape,
    Scaling,
    SparseRows,
)
from neurosim.synapses.synapse import lowered_chain

OPSET, IR = 17, 9  # of ONNX 1.12 and 1.14: what runtimes of the last years read
NEXT, IN_FLIGHT = ".next", ".in_flight"


def to_onnx(net: Network) -> Any:
    """Return one time step of a network as an ONNX model.

    Inputs are the data of a step, ``NODE`` [B, *shape], each state, ``NODE.STATE`` [B, *shape], and for nodes with
    delayed edges the last outputs, ``NODE.in_flight`` [D, B, *shape], the oldest first. Outputs are the output of each
    population, ``NODE.out``, and the new states, with ``.next`` after their names. A program feeds them back. Before
    the first step states have the start values of their core, 0 for most, and nothing is in flight.

    Parameters
    ----------
    net : Network
        In single precision, or in double: its precision is that of the graph.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    ExportError
        With all that the graph cannot hold: node or edge, and what to change.
    InputError
        When the package onnx is not installed.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.exchange.onnx import to_onnx
    >>> net = ns.Sequential(ns.Linear(4, 2), ns.LIF(dt=1e-3), names=["hidden"])
    >>> [each.name for each in to_onnx(net).graph.input]  # doctest: +SKIP
    ['input', 'hidden.v']
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise InputError("to_onnx needs the package onnx: pip install 'neurosim-toolkit[onnx]'") from None
    return _Exporter(net).model()


def write_onnx(net: Network, path: str | os.PathLike[str]) -> None:
    """Write `to_onnx` of a network to a file, completely or not at all."""
    content = to_onnx(net).SerializeToString()
    with replaced(path) as part:
        part.write_bytes(content)


class _Exporter:
    def __init__(self, net: Network) -> None:
        problems = Problems("ONNX cannot hold this network")
        for where, what in (*sources(net), *values_per_trial(net), *start_values(net)):
            problems.add(where, what)
        self._chains: dict[str, list[Described]] = {}
        for edge in net.edges:
            chain = lowered_chain(edge.synapses, net.shape(edge.source))
            for synapse, value in zip(edge.synapses, chain, strict=True):
                if isinstance(value, Opaque):
                    problems.add(f"edge {edge.name!r}", f"holds {type(synapse).__name__}, which {value.reason}")
                elif getattr(value, "delay", None) is not None and value.delay.is_floating_point():  # type: ignore[union-attr]
                    problems.add(f"edge {edge.name!r}", "has delays between two steps; round them with rounded()")
            numbers = [getattr(value, name, None) for value in chain for name in ("weight", "bias")]
            if any(isinstance(each, Tensor) and not torch.isfinite(each).all() for each in numbers):
                problems.add(f"edge {edge.name!r}", "weights hold NaN or infinity; train again")
            self._chains[edge.name] = [value for value in chain if not isinstance(value, Opaque)]
        for name, neuron in net.neurons().items():
            for state in {"out", IN_FLIGHT.strip(".")} & neuron.core.state.keys():
                problems.add(f"node {name!r}", f"has a state {state!r}, a name of the graph; give it another name")
        problems.raise_if_any()
        self._net = net
        self._graph = Graph(np.dtype(np.float64 if net.like().dtype is torch.float64 else np.float32))
        self._outputs = {name: name for name in net.inputs}

    def model(self) -> Any:
        """Return the model."""
        from onnx import helper

        net, graph = self._net, self._graph
        given = [self._info(name, net.shape(name)) for name in net.inputs]
        returned = []
        reach = net.steps_in_flight()
        for name, steps in reach.items():
            given.append(self._info(f"{name}{IN_FLIGHT}", net.shape(name), steps))
        for name, neuron in net.neurons().items():
            given += [self._info(f"{name}.{state}", net.shape(name)) for state in neuron.core.state]
            returned += self._population(name, neuron)
        for name, steps in reach.items():
            newest = graph.add("Unsqueeze", self._outputs[name], graph.constant([0], np.int64))
            ends = [graph.constant([each], np.int64) for each in (1, steps, 0)]
            kept = [graph.add("Slice", f"{name}{IN_FLIGHT}", *ends)] if steps > 1 else []
            graph.add("Concat", *kept, newest, output=f"{name}{IN_FLIGHT}{NEXT}", axis=0)
            returned.append(self._info(f"{name}{IN_FLIGHT}{NEXT}", net.shape(name), steps))
        made = helper.make_graph(graph.nodes, "step", given, returned, graph.initializers)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(made, opset_imports=opset, ir_version=IR, producer_name="neurosim")

    def _info(self, name: str, shape: tuple[int, ...], steps: int | None = None) -> Any:
        from onnx import TensorProto, helper

        kind = TensorProto.DOUBLE if self._graph.dtype == np.float64 else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, [*([steps] if steps else []), "B", *shape])

    def _population(self, name: str, neuron: Neuron) -> list[Any]:
        """Add the nodes of a population; return what describes its outputs."""
        graph, net = self._graph, self._net
        incoming = [edge for edge in net.edges if edge.target == name]
        leaves: dict[tuple[str, str], str] = {("state", state): f"{name}.{state}" for state in neuron.core.state}
        for port, default in neuron.ports.items():
            currents = [self._current(edge) for edge in incoming if edge.port == port]
            total = currents[0] if currents else graph.constant(default or 0.0)
            for each in currents[1:]:
                total = graph.add("Add", total, each)
            leaves["input", port] = total
        program = neuron._program()
        found = graph.step(program, {**program.numbers, **_numbers(neuron)}, leaves)
        self._outputs[name] = self._named(found[id(program.output)], f"{name}.out", name)
        infos = [self._info(f"{name}.out", net.shape(name))]
        for state, new in program.state.items():
            self._named(found[id(new)], f"{name}.{state}{NEXT}", name)
            infos.append(self._info(f"{name}.{state}{NEXT}", net.shape(name)))
        return infos

    def _named(self, value: str, output: str, like: str) -> str:
        """Add a node that gives a value its name."""
        return self._graph.add("Identity", value, output=output)

    def _source(self, edge: Connection, delay: int) -> str:
        """Return the output of an edge's source `delay` steps ago."""
        if not delay:
            return self._outputs[edge.source]
        at = self._graph.constant(self._net.steps_in_flight()[edge.source] - delay, np.int64)
        return self._graph.add("Gather", f"{edge.source}{IN_FLIGHT}", at, axis=0)

    def _current(self, edge: Connection) -> str:
        chain, channels = self._chains[edge.name], self._net.shape(edge.source)[0]
        late = next((k for k, value in enumerate(chain) if getattr(value, "delay", None) is not None), None)
        if late is None:
            return self._applied(chain, self._source(edge, edge.delay_steps), channels)
        delayed: Any = chain[late]
        total = ""
        for delay in delayed.delay.unique().tolist():
            x = self._applied(chain[:late], self._source(edge, edge.delay_steps + delay), channels)
            part = self._matrix(_matrix(delayed, delayed.weight * (delayed.delay == delay)), None, x)
            total = self._graph.add("Add", total, part) if total else part
        if delayed.bias is not None:
            total = self._graph.add("Add", total, self._graph.constant(_array(delayed.bias)))
        return self._applied(chain[late + 1 :], self._shaped(delayed.out_shape, total), 0)

    def _applied(self, chain: Sequence[Described], x: str, channels: int) -> str:
        for value in chain:
            x = self._value(value, x, channels)
            if isinstance(value, Convolution):
                channels = value.c_out
            elif isinstance(value, Reshape):
                channels = value.shape[0]
        return x

    def _value(self, value: Described, x: str, channels: int) -> str:
        graph = self._graph
        if isinstance(value, (Dense, SparseRows)):
            return self._shaped(value.out_shape, self._matrix(_matrix(value, value.weight), value.bias, x))
        if isinstance(value, Convolution):
            bias = [] if value.bias is None else [graph.constant(_array(value.bias))]
            settings: dict[str, Any] = dict(
                strides=value.stride, dilations=value.dilation, pads=(*value.padding, *value.padding)
            )
            return graph.add("Conv", x, graph.constant(_array(value.weight)), *bias, group=value.groups, **settings)
        if isinstance(value, Pooling):
            return self._pooled(value, x, channels)
        if isinstance(value, Scaling):
            x = graph.add("Mul", x, graph.constant(_array(value.weight)))
            return x if value.bias is None else graph.add("Add", x, graph.constant(_array(value.bias)))
        if isinstance(value, Reshape):
            return self._shaped(value.shape, x)
        scaled = graph.add("Mul", x, graph.constant(2.0**value.exponent))
        return scaled if value.exponent >= 0 else graph.add("Floor", scaled)

    def _pooled(self, value: Pooling, x: str, channels: int) -> str:
        graph = self._graph
        sizes: dict[str, Any] = dict(kernel_shape=value.kernel, strides=value.stride)
        if value.kind == "max":
            return graph.add("MaxPool", x, **sizes)
        if value.kind == "mean":
            return graph.add("AveragePool", x, **sizes)
        # ONNX has no sum over windows; a mean times its size would be rounded twice.
        return graph.add("Conv", x, graph.constant(np.ones((channels, 1, *value.kernel))), group=channels, **sizes)

    def _matrix(self, weight: Tensor, bias: Tensor | None, x: str) -> str:
        graph = self._graph
        y = graph.add("MatMul", graph.add("Flatten", x, axis=1), graph.constant(_array(weight.T)))
        return y if bias is None else graph.add("Add", y, graph.constant(_array(bias)))

    def _shaped(self, shape: tuple[int, ...] | None, x: str) -> str:
        if shape is None:
            return x
        return self._graph.add("Reshape", x, self._graph.constant([-1, *shape], np.int64))


def _numbers(neuron: Neuron) -> dict[str, Number]:
    """Return the coefficients of a step, in double precision."""
    names = (*neuron.core.coefficients, *([RESET_AMOUNT] if neuron.takes_own_amount else ()))
    values = {name: neuron.coefficient(name) for name in names}
    return {name: _array(value) if isinstance(value, Tensor) else float(value) for name, value in values.items()}


def _matrix(value: Dense | SparseRows, weight: Tensor) -> Tensor:
    """Return the weights as a matrix [out, in]."""
    if isinstance(value, Dense):
        return weight
    full = weight.new_zeros(value.n_out, value.n_in)
    return full.index_put((value.post, value.pre), weight, accumulate=True)


def _array(value: Tensor) -> np.ndarray:
    found: np.ndarray = value.detach().double().cpu().numpy()
    return found
