"""A NIR graph of a file or of the `nir` package as plain data: fields checked, subgraphs flattened."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from neurosim.errors import InputError

# Required and optional fields of each primitive, besides its metadata.
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": (("shape",), ()),
    "Output": ((), ("shape",)),
    "Linear": (("weight",), ()),
    "Affine": (("weight", "bias"), ()),
    "Scale": (("scale",), ()),
    "Conv1d": (("weight", "stride", "padding", "dilation", "groups"), ("bias", "input_shape")),
    "Conv2d": (("weight", "stride", "padding", "dilation", "groups"), ("bias", "input_shape")),
    "SumPool2d": (("kernel_size", "stride", "padding"), ()),
    "AvgPool2d": (("kernel_size", "stride", "padding"), ()),
    "Flatten": ((), ("start_dim", "end_dim", "input_type")),
    "Delay": (("delay",), ()),
    "Threshold": (("threshold",), ()),
    "I": (("r",), ()),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LI": (("tau", "r", "v_leak"), ()),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLI": (("tau_syn", "tau_mem", "r", "v_leak"), ("w_in",)),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("w_in", "v_reset")),
}
DEEPEST = 16  # levels of subgraphs
MOST_NODES = 100_000


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One primitive.

    Attributes
    ----------
    kind : str
        Name of the primitive, such as ``"LIF"``.
    fields : mapping of str to numpy.ndarray or str
        Its parameters; a field such as a padding may be text instead of numbers.
    """

    kind: str
    fields: Mapping[str, np.ndarray | str]

    def numbers(self, name: str) -> np.ndarray:
        """Return a field as numbers."""
        value = self.fields[name]
        if isinstance(value, str):
            raise InputError(f"{self.kind}.{name} must be numbers; got the text {value!r}.")
        return value


@dataclasses.dataclass(frozen=True, eq=False)
class NirGraph:
    """Nodes or subgraphs by name, and the edges between them in order.

    Attributes
    ----------
    nodes : mapping of str to Node or NirGraph
    edges : tuple of (str, str)
    metadata : mapping of str to Any
        Hints of the writer; not used.
    """

    nodes: Mapping[str, Node | NirGraph]
    edges: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def node(name: str, kind: object, given: Mapping[str, Any]) -> Node:
    """Return a node with checked fields.

    Parameters
    ----------
    name : str
        For messages.
    kind : object
        Name of the primitive.
    given : mapping
        Its fields; None counts as missing.

    Raises
    ------
    InputError
        For an unknown primitive, a field that is missing or not numbers, NaN or infinity.
    """
    if kind not in FIELDS:
        raise InputError(
            f"node {name!r} is a {kind!r}, which has no equivalent in neurosim; supported are {', '.join(FIELDS)} "
            "and subgraphs. Replace the node."
        )
    needed, optional = FIELDS[str(kind)]
    fields = {key: value for key, value in given.items() if value is not None and key not in ("type", "metadata")}
    missing = [key for key in needed if key not in fields]
    if missing:
        raise InputError(f"node {name!r}: a {kind} needs {missing}; it has {sorted(fields)}.")
    unknown = [key for key in fields if key not in (*needed, *optional)]
    if unknown:
        raise InputError(f"node {name!r}: a {kind} has no field {unknown}; it has {[*needed, *optional]}.")
    return Node(str(kind), {key: _value(f"node {name!r}: {kind}.{key}", value) for key, value in fields.items()})


def _value(where: str, value: Any) -> np.ndarray | str:
    if isinstance(value, (str, bytes)):
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if hasattr(value, "detach"):  # graphs of other libraries may have tensors
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind in "SU" and array.ndim == 0:
        return _value(where, array.item())
    if array.dtype.kind not in "fiub":
        raise InputError(f"{where} must be numbers; got an array of {array.dtype}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = array[~np.isfinite(array)].flat[0]
        raise InputError(f"{where} must be finite; it has {bad}. Correct the program that wrote the file.")
    return array


def from_nir_object(graph: Any) -> NirGraph:
    """Return a graph of the `nir` package as plain data.

    Parameters
    ----------
    graph : nir.NIRGraph
    """
    return _from_object(graph, "", 0)


def _from_object(graph: Any, where: str, depth: int) -> NirGraph:
    if depth > DEEPEST:
        raise InputError(f"graph {where!r}: subgraphs are nested more than {DEEPEST} levels deep.")
    nodes: dict[str, Node | NirGraph] = {}
    for name, inner in graph.nodes.items():
        path = f"{where}{name}"
        kind = type(inner).__name__
        if kind == "NIRGraph":
            nodes[name] = _from_object(inner, f"{path}.", depth + 1)
            continue
        needed, optional = FIELDS.get(kind, ((), ()))
        given = {key: getattr(inner, key, None) for key in (*needed, *optional)}
        if kind in ("Input", "Output"):
            given["shape"] = (inner.input_type or {}).get("input")
        elif kind == "Flatten":
            given["input_type"] = (inner.input_type or {}).get("input")
        nodes[name] = node(path, kind, given)
    edges = tuple((str(source), str(target)) for source, target in graph.edges)
    return NirGraph(nodes, edges, dict(graph.metadata) if isinstance(graph.metadata, Mapping) else {})


@dataclasses.dataclass(frozen=True, eq=False)
class Flat:
    """A graph without subgraphs: nodes by path, such as ``"block.lif"``.

    Inputs and outputs of a subgraph are `JOINT` nodes, which pass on their input.
    """

    nodes: dict[str, Node]
    edges: list[tuple[str, str]]


JOINT = "joint"


def in_seconds(flat: Flat, time_unit: float) -> Flat:
    """Return a graph whose unit of time is `time_unit` seconds as one in seconds.

    Time constants and delays are multiplied by it. The gain r of `I` and `IF`, which is membrane per unit of time, is
    divided by it; other gains have no unit of time.
    """
    return Flat({name: _in_seconds(node, time_unit) for name, node in flat.nodes.items()}, flat.edges)


def _in_seconds(node: Node, time_unit: float) -> Node:
    factors = {name: time_unit for name in node.fields if name.startswith("tau") or name == "delay"}
    if node.kind in ("I", "IF"):
        factors["r"] = 1.0 / time_unit
    scaled = {name: node.numbers(name).astype(np.float64) * factor for name, factor in factors.items()}
    return Node(node.kind, {**node.fields, **scaled})


def flattened(graph: NirGraph) -> Flat:
    """Return `graph` without subgraphs.

    An edge to a subgraph goes to its input, an edge from it starts at its output; ``"graph.node"`` names a node inside.

    Raises
    ------
    InputError
        For an edge with an unknown end, a duplicate edge or node, a subgraph with several inputs or outputs where an
        edge names none of them, and for too many nodes.
    """
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []
    ports: dict[str, dict[str, list[str]]] = {}
    for path, inner in _graphs("", graph):
        ports[path] = {"Input": [], "Output": []}
        for name, member in inner.nodes.items():
            full = f"{path}{name}"
            if isinstance(member, NirGraph):
                continue
            if full in nodes or len(nodes) >= MOST_NODES:
                why = "is a duplicate" if full in nodes else f"is one of more than {MOST_NODES}"
                raise InputError(f"node {full!r} {why}.")
            inside = path != "" and member.kind in ports[path]
            nodes[full] = Node(JOINT, {}) if inside else member
            if member.kind in ports[path]:
                ports[path][member.kind].append(full)
    for path, inner in _graphs("", graph):
        if len(set(inner.edges)) != len(inner.edges):
            twice = next(edge for edge in inner.edges if inner.edges.count(edge) > 1)
            raise InputError(f"edge {twice[0]!r} -> {twice[1]!r} is a duplicate; sum the two or remove one.")
        for source, target in inner.edges:
            ends = (_end(path, source, "Output", nodes, ports), _end(path, target, "Input", nodes, ports))
            edges.append(ends)
    return Flat(nodes, edges)


def _graphs(path: str, graph: NirGraph) -> Iterator[tuple[str, NirGraph]]:
    yield path, graph
    for name, member in graph.nodes.items():
        if isinstance(member, NirGraph):
            yield from _graphs(f"{path}{name}.", member)


def _end(path: str, name: str, port: str, nodes: dict[str, Node], ports: dict[str, dict[str, list[str]]]) -> str:
    full = f"{path}{name}"
    if full in nodes:
        return full
    inside = ports.get(f"{full}.")
    if inside is None:
        members = [n[len(path) :] for n in nodes if n.startswith(path)]
        shown = ", ".join(map(repr, members[:12])) + (", ..." if len(members) > 12 else "")
        raise InputError(f"an edge names the unknown node {full!r}; this graph has {shown}.")
    if len(inside[port]) != 1:
        raise InputError(
            f"an edge {'starts at' if port == 'Output' else 'ends at'} the graph {full!r}, which has "
            f"{len(inside[port])} {port} nodes {inside[port]}; name one of them, as '{name}.node'."
        )
    return inside[port][0]
