"""From a NIR graph to a network."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any, Literal

import networkx
import numpy as np
import torch
from torch import Tensor, nn

from neurosim import cores
from neurosim.errors import InputError, NeurosimError
from neurosim.exchange.nir.files import read_graph
from neurosim.exchange.nir.graph import FIELDS, Node, flattened, from_nir_object, in_seconds
from neurosim.exchange.nir.reach import warn_of_unreachable
from neurosim.exchange.nir.wiring import RELAY, STATELESS, Chain, Wiring, uniform, wire
from neurosim.files import untrusted_hdf5 as hdf5
from neurosim.network.graph import Edge, Input
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import (
    AvgPool2d,
    Conv1d,
    Conv2d,
    Flatten,
    Identity,
    Linear,
    RoundedDelays,
    Scale,
    SumPool2d,
    Synapse,
)
from neurosim.synapses.building import synapses_of
from neurosim.synapses.lowering import Convolution, Dense
from neurosim.units import check_dt, decay_of, time_constant

Discretisation = Literal["euler", "exponential"]

LONGEST = 1.0  # time constant, s: that of the cores
MOST_VALUES = 2**31  # of a population
MOST_DELAYS = 1024  # different ones in a Delay node without a matrix behind it


def from_nir(
    source: Any,
    *,
    dt: float,
    time_unit: float = 1.0,
    discretisation: Discretisation = "euler",
    reset: Literal["value", "subtract"] = "value",
    output: str | None = None,
    dtype: torch.dtype = torch.float32,
    limit: int = hdf5.LIMIT,
) -> Network:
    """Read a NIR graph as a network.

    Parameters
    ----------
    source : path-like or nir.NIRGraph
        A file is read without the `nir` package, and nothing in it is executed.
    dt : float
        Length of a step, s, in (0, 0.1). NIR is in continuous time and has none.
    time_unit : float
        Seconds that 1 in the graph stands for. NIR says 1, but many graphs are in steps (``time_unit=dt``): those with
        `IF` of ``r = 1`` and weights for steps, as sinabs and Spyx write them. Norse writes dt times each time constant
        (``time_unit=1 / dt``). Time constants and delays are multiplied by it, r of `I` and `IF` is divided.
    discretisation : {"euler", "exponential"}
        The integration step: ``a = 1 - dt/tau`` as in almost every reader of NIR, or ``a = exp(-dt/tau)``, which is
        exact for constant input. In both the gain of a current is ``(1 - a) r``, and the synaptic current is updated
        before the membrane.
    reset : {"value", "subtract"}
        ``"value"``: to v_reset, as NIR says. ``"subtract"``: the threshold is subtracted, which NIR cannot state;
        networks of sinabs and snnTorch are often trained so.
    output : str, optional
        Output node that the network returns, where there are several.
    dtype : torch.dtype
        Type of the weights.
    limit : int
        Largest size of the arrays of a file in memory, bytes.

    Returns
    -------
    Network
        Membranes start at 0. An edge that closes a cycle without a `Delay` is one step late.

    Warns
    -----
    UnreachableThreshold
        When inputs of 0 and 1 cannot bring a population to its threshold, or need more than 30 steps.

    Raises
    ------
    FileError
        For a file that cannot be read.
    InputError
        For nodes without an equivalent: node, field, value, what to change.

    Notes
    -----
    Metadata of the graph is not used. docs/nir.md lists the equivalent of each node.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.exchange.nir import from_nir, to_nir
    >>> net = ns.Sequential(ns.Linear(4, 3), ns.LIF(tau_mem=10e-3, r=100.0, dt=1e-3))
    >>> again = from_nir(to_nir(net), dt=1e-3)
    >>> again.nodes["lif1"].decay("tau_mem") == net.nodes["lif1"].decay("tau_mem")
    True
    """
    net = network_of(
        source,
        dt=dt,
        time_unit=time_unit,
        discretisation=discretisation,
        reset=reset,
        output=output,
        dtype=dtype,
        limit=limit,
    )
    warn_of_unreachable(net)
    return net


def network_of(
    source: Any,
    *,
    dt: float,
    time_unit: float = 1.0,
    discretisation: Discretisation = "euler",
    reset: str = "value",
    output: str | None = None,
    dtype: torch.dtype = torch.float32,
    limit: int = hdf5.LIMIT,
) -> Network:
    """Return what `from_nir` does, without its warning."""
    dt = check_dt("from_nir", dt)
    if discretisation not in ("euler", "exponential"):
        raise InputError(f'discretisation must be "euler" or "exponential"; got {discretisation!r}.')
    if reset not in ("value", "subtract"):
        raise InputError(f'reset must be "value" or "subtract"; got {reset!r}.')
    if not isinstance(time_unit, (int, float)) or isinstance(time_unit, bool) or not 0 < time_unit < math.inf:
        raise InputError(f"time_unit must be a number of seconds above 0, such as dt or 1e-3; got {time_unit!r}.")
    if isinstance(source, (str, os.PathLike)):
        graph = read_graph(source, limit)
    elif hasattr(source, "nodes") and hasattr(source, "edges"):
        graph = from_nir_object(source)
    else:
        raise InputError(f"from_nir takes a path or a nir.NIRGraph; got {type(source).__name__}.")
    flat = flattened(graph)
    wiring = wire(flat if time_unit == 1.0 else in_seconds(flat, time_unit))
    return _Builder(wiring, dt, discretisation, reset, dtype).network(output)


@dataclasses.dataclass
class _Link:
    """An edge to be built."""

    source: str
    target: str
    synapses: list[Synapse]
    steps: int
    name: str


class _Builder:
    def __init__(
        self, wiring: Wiring, dt: float, discretisation: Discretisation, reset: str, dtype: torch.dtype
    ) -> None:
        self.wiring, self.dt, self.discretisation, self.reset, self.dtype = wiring, dt, discretisation, reset, dtype
        self.names = _plain_names([*wiring.inputs, *wiring.populations])

    def network(self, output: str | None) -> Network:
        returned = self.returned_output(output)
        nodes: dict[str, Input | Neuron] = {}
        for name in self.wiring.inputs:
            nodes[self.names[name]] = Input(_shape(name, self.wiring.nodes[name]))
        links = [link for chain in self.wiring.chains for link in self.links(chain)]
        for name in self.wiring.populations:
            neuron, bias = self.population(name, self.wiring.nodes[name])
            nodes[self.names[name]] = neuron
            if bias is not None:
                self.add_bias(next(link for link in links if link.target == name), bias)
        self.open_cycles(links)
        edges, used = [], set()
        for link in links:
            source, target = self.names[link.source], self.names[link.target]
            name, number = f"{source}->{target}", 2
            while name in used:
                name, number = f"{source}->{target} ({number})", number + 1
            used.add(name)
            edges.append(Edge(source, target, link.synapses or [Identity()], link.steps * self.dt, name))
        try:
            return Network(nodes, edges, output=self.names[returned])
        except NeurosimError as error:
            hint = "".join(_batch_hint(name, node) for name, node in nodes.items() if isinstance(node, Input))
            raise InputError(f"the graph is not consistent: {error}{hint}") from error

    def returned_output(self, output: str | None) -> str:
        outputs = self.wiring.outputs
        if output is None and len(outputs) == 1:
            return next(iter(outputs.values()))
        if output not in outputs:
            raise InputError(f"output must name one of the graph's outputs {list(outputs)}; got {output!r}.")
        return outputs[output]

    def links(self, chain: Chain) -> list[_Link]:
        """Return the edges of a chain: several where delays differ and no matrix follows."""
        synapses: list[Synapse] = []
        steps = 0
        own: np.ndarray | None = None
        for name in chain.nodes:
            node = self.wiring.nodes[name]
            if node.kind == "Delay":
                each = self.delay(name, node)
                if uniform(each):
                    steps += int(each.flat[0])
                else:
                    own = each
            elif own is not None:
                steps += int(own.min())
                synapses.append(self.delayed_matrix(name, node, own - own.min()))
                own = None
            else:
                synapses.append(self.synapse(name, node))
        label = chain.nodes[-1] if chain.nodes else ""
        if own is None:
            return [_Link(chain.source, chain.target, synapses, steps, label)]
        different = np.unique(own)
        if len(different) > MOST_DELAYS:
            raise InputError(
                f"node {label!r}: Delay.delay has {len(different)} different delays and no Linear node after it; at "
                f"most {MOST_DELAYS} can be unrolled. Put the delay right before a Linear or Affine node."
            )
        masks = [torch.as_tensor(own == value).to(self.dtype) for value in different]
        return [
            _Link(chain.source, chain.target, [Scale(mask)], steps + int(value), label)
            for mask, value in zip(masks, different, strict=True)
        ]

    def delay(self, name: str, node: Node) -> np.ndarray:
        seconds = node.numbers("delay").astype(np.float64)
        steps = np.rint(seconds / self.dt)
        tolerance = np.maximum(1e-6, 2.0**-22 * steps)  # in single precision; see grid_tolerance
        wrong = seconds[(seconds < 0) | (seconds >= 10) | (np.abs(seconds / self.dt - steps) > tolerance)]
        if wrong.size:
            raise InputError(
                f"node {name!r}: Delay.delay must be whole steps of {self.dt:g} s in [0, 10) s; it has "
                f"{wrong.flat[0]:g} s. Choose a dt that divides it, or round the delay."
            )
        return steps.astype(np.int64)

    def delayed_matrix(self, name: str, node: Node, steps: np.ndarray) -> Synapse:
        weight, bias = self.matrix(name, node)
        if steps.shape != (weight.shape[1],):
            raise InputError(
                f"node {name!r}: its weight takes {weight.shape[1]} inputs, the Delay before it has the shape "
                f"{list(steps.shape)}."
            )
        return RoundedDelays(weight, torch.as_tensor(steps).expand(weight.shape).contiguous(), bias, dt=self.dt)

    def matrix(self, name: str, node: Node) -> tuple[Tensor, Tensor | None]:
        weight = self.tensor(node.numbers("weight"))
        if weight.dim() != 2 or not weight.numel():
            raise InputError(f"node {name!r}: {node.kind}.weight must be [outputs, inputs]; got {list(weight.shape)}.")
        return weight, self.bias(name, node, weight.shape[0], keep=True)

    def bias(self, name: str, node: Node, length: int, keep: bool = False) -> Tensor | None:
        if "bias" not in node.fields:
            return None
        bias = node.numbers("bias")
        if bias.shape != (length,):
            raise InputError(f"node {name!r}: {node.kind}.bias must be [{length}]; got {list(bias.shape)}.")
        return self.tensor(bias) if keep or bool(np.any(bias)) else None

    def tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values)).to(self.dtype)

    def synapse(self, name: str, node: Node) -> Synapse:
        """Return the synapse of a node."""
        if node.kind in ("Linear", "Affine"):
            weight, bias = self.matrix(name, node)
            return _synapse(Dense(weight, bias), (weight.shape[1],), self.dt)
        if node.kind in ("Conv1d", "Conv2d"):
            return self.conv(name, node)
        if node.kind in ("SumPool2d", "AvgPool2d"):
            if np.any(node.numbers("padding")):
                raise InputError(
                    f"node {name!r}: {node.kind}.padding is {node.numbers('padding').tolist()}; pooling of neurosim "
                    "has none. Pad in the convolution before it."
                )
            kernel, stride = (_ints(name, node, field, 2, 1) for field in ("kernel_size", "stride"))
            pool = SumPool2d if node.kind == "SumPool2d" else AvgPool2d
            return pool((kernel[0], kernel[1]), stride=(stride[0], stride[1]))
        if node.kind == "Scale":
            return Scale(self.tensor(node.numbers("scale")))
        assert node.kind == "Flatten", node.kind  # kinds are checked against FIELDS when the graph is read
        return _flatten(name, node)

    def conv(self, name: str, node: Node) -> Synapse:
        axes = 1 if node.kind == "Conv1d" else 2
        weight = self.tensor(node.numbers("weight"))
        if weight.dim() != 2 + axes or not weight.numel():
            sizes = ", ".join(("kernel",) if axes == 1 else ("height", "width"))
            raise InputError(
                f"node {name!r}: {node.kind}.weight must be [channels out, channels in, {sizes}]; got "
                f"{list(weight.shape)}."
            )
        stride, dilation = _ints(name, node, "stride", axes, 1), _ints(name, node, "dilation", axes, 1)
        (groups,) = _ints(name, node, "groups", 1, 1)
        kernel = tuple(weight.shape[2:])
        padding = _padding(name, node, kernel, stride, dilation)
        bias = self.bias(name, node, weight.shape[0])
        value = Convolution(weight, stride, padding, dilation, groups, bias)
        try:
            return _synapse(value, (value.c_in,), self.dt)
        except NeurosimError as error:
            raise InputError(f"node {name!r}: {error}") from error

    def population(self, name: str, node: Node) -> tuple[Neuron, Tensor | None]:
        """Return the neurons of a node, and the constant current of a leak to a potential."""
        kind = node.kind
        if kind == RELAY:
            return Neuron(cores.relay, dt=self.dt), None
        fields = {field: node.numbers(field).astype(np.float64) for field in FIELDS[kind][0]}
        for field in FIELDS[kind][1]:
            start = 1.0 if field == "w_in" else 0.0
            fields[field] = node.numbers(field).astype(np.float64) if field in node.fields else np.array(start)
        shape = _common_shape(name, kind, fields)
        size = shape if math.prod(shape) > 1 else None
        fields = {field: values.reshape(()) if values.size == 1 else values for field, values in fields.items()}
        given: dict[str, np.ndarray] = {}
        bias = None
        decay = {field: self.time(name, kind, field, fields[field]) for field in fields if field.startswith("tau")}
        times = {field: self.kept_time(fields[field], decay[field]) for field in decay}
        if "v_threshold" in fields:
            given["v_th"], given["v_reset"] = fields["v_threshold"], fields["v_reset"]
        if kind == "Threshold":
            core, given = cores.threshold, {"v_th": fields["threshold"]}
        elif kind in ("I", "IF"):
            core = cores.integrator if kind == "I" else cores.integrate_and_fire
            given["r"] = fields["r"] * self.dt
        elif kind in ("LI", "LIF"):
            core = cores.leaky_integrator if kind == "LI" else cores.lif
            given["r"] = fields["r"]
            bias = self.leak_current(name, kind, fields)
            times = {"tau_mem": times["tau"]}
        else:
            given["r"] = fields["r"] * _input_gain(node, fields, 1.0 - decay["tau_syn"])
            core = cores.cuba_integrator if kind == "CubaLI" else cores.cubalif
            if fields["v_leak"].any():
                core = cores.cuba_integrator_resting if kind == "CubaLI" else cores.cubalif_resting
                given["v_leak"] = fields["v_leak"]
        values: dict[str, Any] = {**times, **{key: _number(value) for key, value in given.items()}}
        if self.reset == "subtract" and "v_reset" in given:
            if given["v_reset"].any():
                raise InputError(
                    f'node {name!r}: {kind}.v_reset is {given["v_reset"].max():g}, which reset="subtract" would not '
                    'use. Pass reset="value".'
                )
            values["reset"] = "subtract"
        try:
            return Neuron(core, dt=self.dt, size=size, **values), bias
        except NeurosimError as error:
            raise InputError(f"node {name!r}: {kind} has no equivalent: {error}") from error

    def time(self, name: str, kind: str, field: str, tau: np.ndarray) -> np.ndarray:
        """Return the decay over a step of a time constant."""
        if np.any(tau <= 0):
            raise InputError(
                f"node {name!r}: {kind}.{field} must be above 0 s; it has {tau.min():g}. Correct the graph."
            )
        if np.any(tau >= LONGEST + self.dt):  # Euler's is longer by half a step
            raise InputError(
                f"node {name!r}: {kind}.{field} must be below {LONGEST:g} s; it has {tau.max():g}. If the graph is in "
                "milliseconds, pass time_unit=1e-3; if it is in steps, time_unit=dt."
            )
        if self.discretisation == "exponential":
            return np.broadcast_to(np.asarray(decay_of(_number(tau), self.dt)), tau.shape)
        if np.any(tau < self.dt * (1.0 - 1e-6)):
            raise InputError(
                f"node {name!r}: {kind}.{field} is {tau.min():g} s, shorter than the step dt={self.dt:g} s, over which "
                f"forward Euler oscillates. Choose a smaller dt. If the writer multiplied its time constants by dt, "
                f"as Norse does, pass time_unit={1.0 / self.dt:g}, which is 1/dt."
            )
        return np.maximum(1.0 - self.dt / tau, 0.0)

    def kept_time(self, tau: np.ndarray, decay: np.ndarray) -> float | Tensor:
        """Return the time constant whose decay over a step is `decay` in neurosim."""
        return _number(tau) if self.discretisation == "exponential" else time_constant(_number(decay), self.dt)

    def leak_current(self, name: str, kind: str, fields: dict[str, np.ndarray]) -> Tensor | None:
        """Return ``v_leak / r``, the current that keeps the membrane at v_leak."""
        if not fields["v_leak"].any():
            return None
        if not np.all(fields["r"]):
            raise InputError(f"node {name!r}: {kind}.r is 0 where v_leak is not; no current can replace v_leak then.")
        return self.tensor(fields["v_leak"] / fields["r"])

    def add_bias(self, link: _Link, bias: Tensor) -> None:
        """Add a constant current to an edge: to the bias of its last synapse, or behind it."""
        last = link.synapses[-1] if link.synapses else None
        takes_it = isinstance(last, Linear) or (isinstance(last, (Conv1d, Conv2d)) and not bias.dim())
        if isinstance(last, (Linear, Conv1d, Conv2d)) and takes_it:
            before = last.weight.new_zeros(len(last.weight)) if last.bias is None else last.bias
            last.bias = nn.Parameter(before.detach() + bias)
            return
        link.synapses.append(Scale(torch.ones((), dtype=self.dtype), bias))

    def open_cycles(self, links: list[_Link]) -> None:
        """Delay the edges that close a cycle without delay by one step, in the order in which inputs reach them."""
        at_once: dict[str, list[_Link]] = {}
        for link in links:
            if not link.steps:
                at_once.setdefault(link.source, []).append(link)
        self.refuse_equations(links)
        done: set[str] = set()
        for start in (*self.wiring.inputs, *self.wiring.populations):
            if start in done:
                continue
            path, ahead = [start], [iter(at_once.get(start, ()))]
            on_path = {start}
            while path:
                closing = next(ahead[-1], None)
                if closing is None:
                    done.add(path[-1])
                    on_path.discard(path.pop())
                    ahead.pop()
                elif closing.target in on_path:
                    closing.steps = 1
                elif closing.target not in done:
                    path.append(closing.target)
                    on_path.add(closing.target)
                    ahead.append(iter(at_once.get(closing.target, ())))

    def refuse_equations(self, links: list[_Link]) -> None:
        stateless = {name for name in self.wiring.populations if self.wiring.nodes[name].kind in STATELESS}
        graph = networkx.DiGraph()
        graph.add_edges_from(
            (link.source, link.target)
            for link in links
            if not link.steps and link.source in stateless and link.target in stateless
        )
        try:
            cycle = networkx.find_cycle(graph)
        except networkx.NetworkXNoCycle:
            return
        path = " -> ".join([a for a, *_ in cycle] + [cycle[0][0]])
        raise InputError(
            f"the cycle {path} has neither a neuron with a state nor a Delay, so it has no solution. Add a Delay node."
        )


def _batch_hint(name: str, node: Input) -> str:
    """Return what to say of an input whose first axis may be the batch."""
    if len(node.shape) < 2 or node.shape[0] != 1:
        return ""
    return (
        f" The shape {list(node.shape)} of the input {name!r} begins with an axis of 1: if it is the batch, which "
        f"Input.shape does not contain, write {list(node.shape[1:])}, or export with a sample without a batch axis."
    )


def _number(values: np.ndarray) -> float | Tensor:
    return float(values.flat[0]) if uniform(values) else torch.as_tensor(values)


def _input_gain(node: Node, fields: dict[str, np.ndarray], share: np.ndarray) -> np.ndarray:
    """Return the factor of an input in the synaptic current of NIR, which becomes part of the membrane's gain."""
    gain = fields["w_in"] * share
    written = node.numbers("w_in").dtype if "w_in" in node.fields else np.dtype(np.float64)
    precision = np.finfo(written).eps if written.kind == "f" else np.finfo(np.float64).eps
    # w_in = tau_syn / dt is a factor of exactly 1, also after rounding to the precision of the file.
    return np.where(np.abs(gain - 1.0) <= 8 * precision, 1.0, gain)


def _common_shape(name: str, kind: str, fields: dict[str, np.ndarray]) -> tuple[int, ...]:
    """Return the one shape of a node's parameters; single numbers are shared by all neurons."""
    shapes = {field: values.shape for field, values in fields.items() if values.size != 1}
    if any(values.size == 0 for values in fields.values()):
        raise InputError(f"node {name!r}: a {kind} without neurons; its parameters are empty.")
    if len(set(shapes.values())) > 1:
        listed = {field: list(shape) for field, shape in shapes.items()}
        raise InputError(f"node {name!r}: the parameters of a {kind} must have one shape; got {listed}.")
    return next(iter(shapes.values()), ())


def _shape(name: str, node: Node) -> tuple[int, ...]:
    values = node.numbers("shape")
    if values.ndim != 1 or not values.size or np.any(values < 1) or np.any(values != np.rint(values)):
        raise InputError(f"node {name!r}: Input.shape must be integers from 1; got {values.tolist()}.")
    shape = tuple(int(n) for n in values)
    if math.prod(shape) > MOST_VALUES:
        raise InputError(f"node {name!r}: Input.shape {list(shape)} has more than {MOST_VALUES} values.")
    return shape


def _ints(name: str, node: Node, field: str, length: int, low: int) -> tuple[int, ...]:
    values = np.atleast_1d(node.numbers(field)).ravel()
    values = np.repeat(values, length) if values.size == 1 else values
    if values.size != length or np.any(values != np.rint(values)) or np.any(values < low):
        raise InputError(
            f"node {name!r}: {node.kind}.{field} must be {length} integer(s) from {low}; got {values.tolist()}."
        )
    return tuple(int(n) for n in values)


def _padding(
    name: str, node: Node, kernel: tuple[int, ...], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    text = node.fields["padding"]
    if not isinstance(text, str):
        return _ints(name, node, "padding", len(kernel), 0)
    if text == "valid":
        return (0,) * len(kernel)
    extents = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if text == "same" and all(s == 1 for s in stride) and all(n % 2 == 0 for n in extents):
        return tuple(n // 2 for n in extents)
    raise InputError(
        f"node {name!r}: {node.kind}.padding is {text!r} with kernel {list(kernel)} and stride {list(stride)}; text "
        "may be 'valid', or 'same' with a stride of 1 and equal padding on both sides. Give the padding in numbers."
    )


def _flatten(name: str, node: Node) -> Synapse:
    """Return the flattening of all axes, or of none; a start axis of 1 counts the batch, as in torch."""
    start, end = (
        int(node.numbers(f)) if f in node.fields else default for f, default in (("start_dim", 1), ("end_dim", -1))
    )
    known = node.fields.get("input_type")
    axes = known.size if isinstance(known, np.ndarray) and known.ndim == 1 else None
    if start == end:  # one axis is flattened into itself
        return Identity()
    if start not in (0, 1) or not (end == -1 or (axes is not None and end in (axes - 1, axes - 1 + start))):
        raise InputError(
            f"node {name!r}: Flatten from axis {start} to {end} does not flatten all axes, as a network of neurosim "
            "must. Flatten from 0 to -1."
        )
    return Flatten()


def _synapse(value: Dense | Convolution, shape: tuple[int, ...], dt: float) -> Synapse:
    (synapse,) = synapses_of(value, shape, dt=dt)
    return synapse


def _plain_names(paths: Sequence[str]) -> dict[str, str]:
    """Return a valid node name of a network for each path."""
    taken, methods = set[str](), nn.ModuleDict()
    names = {}
    for path in paths:
        name = path.replace(".", "_").replace("/", "_").replace("->", "_") or "node"
        while name in taken or hasattr(methods, name):
            name += "_"
        taken.add(name)
        names[path] = name
    return names
