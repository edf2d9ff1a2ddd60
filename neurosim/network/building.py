"""Checks and derived facts of a network's description: names, delays, order of computation, shapes."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

from torch import nn

from neurosim.errors import InputError, NetworkError, ShapeError, UnitError
from neurosim.network.graph import Connection, Edge, Input
from neurosim.network.population import Population
from neurosim.network.source import Source
from neurosim.synapses import Drawn, Synapse
from neurosim.synapses.delayed import Delayed
from neurosim.synapses.time_step import OnGrid
from neurosim.units import check_dt, delay_obstacle


def check_nodes(nodes: Mapping[str, Input | Source | Population]) -> None:
    """Check names and types of the nodes."""
    for name, node in nodes.items():
        if not _usable(name) or "->" in name:
            raise NetworkError(
                f"a node's name must be text without '.', '/' and '->', and not that of a dict method; got {name!r}."
            )
        if not isinstance(node, (Input, Source, Population)):
            kind = type(node).__name__
            raise NetworkError(f"node {name!r} must be an Input, a source or a layer of neurons; got {kind}.")


def _usable(name: object) -> bool:
    """Return whether `name` can stand in a state_dict, in an HDF5 file and in ``"node.variable"``."""
    return isinstance(name, str) and name != "" and not {".", "/"} & set(name) and not hasattr(nn.ModuleDict(), name)


def single(edges: Iterable[Edge]) -> list[Edge]:
    """Return edges with one target each, for edges that may have several.

    Raises
    ------
    NetworkError
        For an edge with several targets and a name, or synapses with parameters.
    """
    found: list[Edge] = []
    for edge in edges:
        if not isinstance(edge.target, (tuple, list)):
            found.append(edge)
            continue
        place = f"edge {edge.source!r} to {tuple(edge.target)!r}"
        if edge.name or not edge.target:
            wrong = f"one name, {edge.name!r}, for several edges" if edge.name else "no target"
            raise NetworkError(f"{place}: {wrong}; leave name out, or write one Edge for each target.")
        for synapse in edge.synapses:
            held = [name for name, _ in synapse.named_parameters()] if isinstance(synapse, nn.Module) else []
            if held:
                raise NetworkError(
                    f"{place}: {type(synapse).__name__} holds the parameters {held}, which several edges cannot share "
                    "without a word; write one Edge for each target, each with synapses of its own."
                )
        for target in edge.target:
            synapses = tuple(copy.deepcopy(synapse) for synapse in edge.synapses)
            found.append(dataclasses.replace(edge, target=target, synapse=synapses))
    return found


def on_grid(nodes: Mapping[str, Input | Source | Population], edges: Sequence[Edge]) -> dict[str, OnGrid]:
    """Return the parts of a network that have a step: populations, and synapses with delays."""
    found: dict[str, OnGrid] = {f"node {name!r}": node for name, node in nodes.items() if isinstance(node, Population)}
    if not found:
        raise NetworkError("a network needs at least one population of neurons.")
    for edge in edges:
        assert isinstance(edge.target, str)  # see `single`
        name = _name(edge, nodes.get(edge.target))
        found |= {f"edge {name!r}": synapse for synapse in edge.synapses if _holds_dt(synapse)}
    return found


def _holds_dt(synapse: Synapse) -> TypeGuard[Delayed]:
    """Return whether a synapse has a step; of rules the copies that are bound have one."""
    return isinstance(synapse, Delayed) and (not isinstance(synapse, Drawn) or synapse.is_bound)


def common_dt(parts: Mapping[str, OnGrid], dt: float | None) -> float:
    """Return the step, s, of a network: `dt`, or that of its parts; all that have one share it."""
    steps = {name: part.dt for name, part in parts.items() if part.has_dt}
    if dt is not None:
        dt = check_dt("Network", dt)
        other = {name: step for name, step in steps.items() if step != dt}
        if other:
            raise NetworkError(
                f"all parts must share the dt={dt:g} s of the network; got {_shown(other)}. Leave dt out of them."
            )
        return dt
    if not steps:
        raise NetworkError(
            f"no dt: neither the network nor any of {list(parts)} has one. Give the network dt=, the length of a step "
            "in s."
        )
    if len(set(steps.values())) > 1:
        raise NetworkError(f"all populations and delays must share one dt; got {_shown(steps)}.")
    return next(iter(steps.values()))


def _shown(steps: Mapping[str, float]) -> str:
    return ", ".join(f"{step:g} s in {name}" for name, step in steps.items())


def set_steps(parts: Mapping[str, OnGrid], dt: float) -> None:
    """Give `dt` to the parts of a network that have no step."""
    for name, part in parts.items():
        if not part.has_dt:
            try:
                part.set_dt(dt)
            except (InputError, UnitError) as error:
                raise type(error)(f"{name}: {error}") from None


def connect(edge: Edge, nodes: Mapping[str, Input | Source | Population], dt: float, seed: int) -> Connection:
    """Return an edge with its name, its delay on the grid, and its drawn synapses bound to sizes and `seed`."""
    assert isinstance(edge.target, str)  # see `single`
    name = _name(edge, nodes.get(edge.target))
    for end in (edge.source, edge.target):
        if end not in nodes:
            raise NetworkError(f"edge {name!r}: no node {end!r}; this network has {list(nodes)}.")
    if not isinstance(target := nodes[edge.target], Population):
        kind = "an Input" if isinstance(target, Input) else "a source"
        raise NetworkError(f"edge {name!r}: {edge.target!r} is {kind} and takes no synapses.")
    for synapse in edge.synapses:
        if not isinstance(synapse, Synapse):
            kind = f"{type(synapse).__module__}.{type(synapse).__qualname__}"
            raise NetworkError(f"edge {name!r}: {kind} is not a synapse; use neurosim's Linear, Conv2d, Flatten, ...")
    synapses = _bound(name, edge, nodes, dt, seed)
    if edge.delay is None:
        steps = 1 if edge.source == edge.target else 0
    else:
        obstacle = delay_obstacle(edge.delay, dt)
        if obstacle:
            raise NetworkError(f"edge {name!r}: {obstacle}")
        steps = round(edge.delay / dt)
        if edge.source == edge.target and steps + sum(synapse.min_delay for synapse in synapses) == 0:
            raise NetworkError(
                f"edge {name!r}: a loop takes at least one step; give a delay of {dt:g} s or more, or leave it out."
            )
    return Connection(name, edge.source, edge.target, synapses, steps, steps * dt, _port(name, edge, nodes))


def _bound(
    name: str, edge: Edge, nodes: Mapping[str, Input | Source | Population], dt: float, seed: int
) -> tuple[Synapse, ...]:
    """Return the synapses of an edge; those that are drawn get its ends' sizes, which must be known."""
    drawn = [synapse for synapse in edge.synapses if isinstance(synapse, Drawn)]
    if all(synapse.is_bound for synapse in drawn):
        return edge.synapses
    if len(edge.synapses) > 1:
        raise NetworkError(
            f"edge {name!r}: a Drawn is the only synapse of its edge; got {len(edge.synapses)} synapses. Bind it to "
            "sizes with drawn.bind(...) to have others beside it."
        )
    assert isinstance(edge.target, str)  # see `single`
    sizes = []
    for end in (edge.source, edge.target):
        node = nodes[end]
        shape = node.size if isinstance(node, Population) else node.shape
        if shape is None:
            raise NetworkError(f"edge {name!r}: Drawn needs the size of {end!r}; pass size= when making its neurons.")
        if len(shape) != 1:
            raise NetworkError(f"edge {name!r}: Drawn joins populations of shape [N]; {end!r} is {list(shape)}.")
        sizes.append(shape[0])
    try:
        n_in, n_out = sizes
        return (drawn[0].bind(n_in, n_out, name, seed, dt, edge.source == edge.target),)
    except InputError as error:
        raise NetworkError(f"edge {name!r}: {error}") from None


def _name(edge: Edge, target: Input | Source | Population | None) -> str:
    several = isinstance(target, Population) and len(_open_ports(target)) + (edge.port == target.noise_port) > 1
    return edge.name or f"{edge.source}->{edge.target}" + (f":{edge.port}" if several and edge.port else "")


def _port(name: str, edge: Edge, nodes: Mapping[str, Input | Source | Population]) -> str:
    """Return the input port that an edge feeds."""
    assert isinstance(edge.target, str)  # see `single`
    target = nodes[edge.target]
    assert isinstance(target, Population)  # any other target has been refused
    ports = _open_ports(target)
    if not edge.port and len(ports) > 1:
        raise NetworkError(
            f"edge {name!r}: {edge.target!r} has the input ports {ports}; name the one to feed, as in "
            f"Edge({edge.source!r}, {edge.target!r}, ..., port={ports[0]!r})."
        )
    if edge.port and edge.port not in target.ports:
        have = list(target.ports)
        raise NetworkError(f"edge {name!r}: {edge.target!r} has no input port {edge.port!r}; it has {have}.")
    return edge.port or ports[0]


def _open_ports(node: Population) -> list[str]:
    """Return the input ports of a population but for that of its noise."""
    return [port for port in node.ports if port != node.noise_port]


def check_ports(nodes: Mapping[str, Input | Source | Population], edges: Sequence[Connection]) -> None:
    """Check that every input port that must be fed has an edge."""
    for name, node in nodes.items():
        if isinstance(node, Population):
            fed = {edge.port for edge in edges if edge.target == name}
            missing = [port for port, value in node.ports.items() if value is None and port not in fed]
            if fed - {node.noise_port} and missing:
                raise NetworkError(f"node {name!r}: no edge feeds its input ports {missing}; add one with port=.")


def check_names(edges: list[Connection]) -> None:
    """Check the names of the edges."""
    names = [edge.name for edge in edges]
    wrong = [name for name in names if not _usable(name)]
    if wrong:
        raise NetworkError(
            f"an edge's name must be text without '.' and '/', and not that of a dict method; got {wrong}."
        )
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise NetworkError(f"edges must have different names; {sorted(twice)} are used more than once. Pass name=.")


def check_streams(edges: Sequence[Connection]) -> None:
    """Check that no two edges draw their synapses from the same random numbers, unless they share them."""
    known: dict[tuple[int, int], tuple[str, Drawn]] = {}
    for edge in edges:
        for synapse in edge.synapses:
            if isinstance(synapse, Drawn):
                other, first = known.setdefault(synapse.drawing.key, (edge.name, synapse))
                if first is not synapse:
                    raise NetworkError(
                        f"edges {other!r} and {edge.name!r} would draw their synapses from the same random numbers: "
                        "their names have one CRC-32, or a bound Drawn was copied. Rename one of them, or give it a "
                        "new Drawn."
                    )


def order_of(nodes: list[str], edges: list[Connection]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the nodes in order of computation, and the same grouped into cycles."""
    import networkx

    at_once = networkx.DiGraph()
    at_once.add_nodes_from(nodes)
    at_once.add_edges_from((e.source, e.target) for e in edges if not e.min_delay)
    try:
        cycle = networkx.find_cycle(at_once)
    except networkx.NetworkXNoCycle:
        cycle = []
    if cycle:
        way = " -> ".join([a for a, *_ in cycle] + [cycle[0][0]])
        raise NetworkError(f"the cycle {way} has no delay; give one of its edges a delay of at least one step.")
    every = networkx.DiGraph()
    every.add_nodes_from(nodes)
    every.add_edges_from((e.source, e.target) for e in edges)
    place = {name: n for n, name in enumerate(networkx.lexicographical_topological_sort(at_once, key=nodes.index))}
    condensed = networkx.condensation(every)
    groups = networkx.lexicographical_topological_sort(
        condensed, key=lambda c: min(nodes.index(n) for n in condensed.nodes[c]["members"])
    )
    components = [tuple(sorted(condensed.nodes[c]["members"], key=place.__getitem__)) for c in groups]
    return [name for group in components for name in group], components


def shapes_of(nodes: nn.ModuleDict, edges: list[Connection]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each node, from the shapes of inputs and sources through the synapses."""
    shapes: dict[str, tuple[int, ...]] = {n: m.shape for n, m in nodes.items() if isinstance(m, (Input, Source))}
    given_by: dict[str, str] = {}

    def follow(edge: Connection) -> None:
        shape = shapes[edge.source]
        try:
            for synapse in edge.synapses:
                shape = synapse.output_shape(shape)
        except ShapeError as error:
            raise ShapeError(f"edge {edge.name!r}: {error}") from None
        if shapes.setdefault(edge.target, shape) != shape:
            raise ShapeError(
                f"edge {edge.name!r} gives currents of shape {list(shape)} to {edge.target!r}, "
                f"but {given_by.get(edge.target, 'its size')} says {list(shapes[edge.target])}."
            )
        given_by.setdefault(edge.target, f"edge {edge.name!r}")

    for name, node in nodes.items():
        if isinstance(node, Population) and node.size is not None:
            shapes[name] = node.size
    remaining = list(edges)
    while remaining:
        ready = [edge for edge in remaining if edge.source in shapes]
        if not ready:
            break
        for edge in ready:
            follow(edge)
            remaining.remove(edge)
    for name in nodes:
        if name not in shapes:
            raise NetworkError(f"the shape of {name!r} cannot be computed; pass size= when making its neurons.")
    return shapes
