"""A network: named populations joined by named synapses, with its state going in and coming out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.neurons import Neuron, State
from neurosim.synapses import Linear, Sparse, Synapse


class Input(nn.Module):
    """Where data enters a network.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of one step of one sample, without T and B.
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not self.shape or any(not isinstance(n, int) or n < 1 for n in self.shape):
            raise InputError(f"Input: shape must hold whole numbers from 1; got {shape!r}.")

    def extra_repr(self) -> str:
        """Return the shape."""
        return str(self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Edge:
    """Synapses from one population to another.

    Parameters
    ----------
    source, target : str
        Names of nodes.
    synapse : Synapse or sequence of Synapse
        Maps applied one after the other (convolution, pooling, flattening ...).
    delay : float, optional
        Time from spike to current in s, a whole number of steps. Left out: none, or one step for a loop from a
        node to itself. Any other cycle must have a delay somewhere.
    name : str, optional
        ``"source->target"`` if left out.
    """

    source: str
    target: str
    synapse: Synapse | Sequence[Synapse]
    delay: float | None = None
    name: str = ""

    @property
    def synapses(self) -> tuple[Synapse, ...]:
        """The maps in order."""
        return tuple(self.synapse) if isinstance(self.synapse, (tuple, list)) else (cast(Synapse, self.synapse),)


@dataclasses.dataclass(frozen=True, eq=False)
class Connection:
    """An edge as the network holds it: named, with its delay on the grid.

    Attributes
    ----------
    name, source, target : str
    synapses : tuple of Synapse
    delay_steps : int
    delay : float
        In s.
    """

    name: str
    source: str
    target: str
    synapses: tuple[Synapse, ...]
    delay_steps: int
    delay: float

    def __call__(self, z: Tensor) -> Tensor:
        """Return the current that spikes `z` [T, B, ...] cause, delay aside."""
        for synapse in self.synapses:
            z = synapse(z)
        return z


class NetworkState(NamedTuple):
    """State of a network.

    Attributes
    ----------
    nodes : dict of str to NamedTuple of Tensor [B, ...]
        State of each population.
    edges : dict of str to Tensor [delay steps, B, ...]
        Spikes under way on each delayed edge, the oldest first.
    """

    nodes: dict[str, State]
    edges: dict[str, Tensor]

    def detach(self) -> NetworkState:
        """Return the same state without gradient history."""
        nodes = {k: type(s)(*(v.detach() for v in s)) for k, s in self.nodes.items()}
        return NetworkState(nodes, {k: v.detach() for k, v in self.edges.items()})


class Network(nn.Module):
    """Populations of neurons joined by synapses, simulated on one time grid.

    Parameters
    ----------
    nodes : mapping of str to Input or Neuron
        The populations; all neurons share one dt.
    edges : iterable of Edge
        The synapses between them.
    output : str, optional
        Node whose output the call returns; the last one of `nodes` if left out.

    Raises
    ------
    NetworkError
        When nodes and edges do not fit: unknown names, two steps dt, a cycle without delay, a node without input.
    ShapeError
        When synapses and populations do not fit, naming the edge.

    Notes
    -----
    Without cycles each population runs its whole time span in one fused call. Populations on a cycle run
    together in stretches as long as the shortest delay on it.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> net = ns.Network(
    ...     nodes={"input": ns.Input(4), "pool": ns.LIF(dt=1e-3), "out": ns.LI(dt=1e-3)},
    ...     edges=[
    ...         ns.Edge("input", "pool", ns.Linear(4, 8)),
    ...         ns.Edge("pool", "pool", ns.Linear(8, 8)),
    ...         ns.Edge("pool", "out", ns.Linear(8, 2), delay=3e-3),
    ...     ],
    ... )
    >>> v, state = net(torch.ones(20, 5, 4))
    >>> v.shape, state.edges["pool->out"].shape
    (torch.Size([20, 5, 2]), torch.Size([3, 5, 8]))
    """

    def __init__(
        self, nodes: Mapping[str, Input | Neuron], edges: Iterable[Edge], *, output: str | None = None
    ) -> None:
        super().__init__()
        given = list(edges)
        _check_nodes(nodes)
        self.dt = _common_dt(nodes)
        self.edges = [_connect(edge, nodes, self.dt) for edge in given]
        _check_names(self.edges)
        order, self._components = _order(list(nodes), self.edges)
        self.nodes = nn.ModuleDict({name: nodes[name] for name in order})
        self.synapses = nn.ModuleDict({edge.name: nn.ModuleList(edge.synapses) for edge in self.edges})
        self.inputs = tuple(name for name in order if isinstance(nodes[name], Input))
        self.output = output or list(nodes)[-1]
        if self.output not in nodes or isinstance(nodes[self.output], Input):
            raise NetworkError(
                f"output must name a population of neurons, one of {[n for n in nodes if n not in self.inputs]}; "
                f"got {self.output!r}."
            )
        self._shapes = _shapes(self.nodes, self.edges, self._components)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the population `name`, without T and B."""
        if name not in self._shapes:
            raise InputError(f"no node {name!r}; this network has {list(self._shapes)}.")
        return self._shapes[name]

    def neurons(self) -> dict[str, Neuron]:
        """Return the populations of neurons by name, in order of computation."""
        return {name: node for name, node in self.nodes.items() if isinstance(node, Neuron)}

    def initial_state(self, x: Tensor | Mapping[str, Tensor]) -> NetworkState:
        """Return the state before the first step for input like `x` [T, B, ...]."""
        first = next(iter(self._inputs(x).values()))
        batch = first.shape[1]

        def like(name: str) -> Tensor:
            return first.new_empty((1, batch, *self._shapes[name]))

        nodes = {name: node.initial_state(like(name)) for name, node in self.neurons().items()}
        delayed = (edge for edge in self.edges if edge.delay_steps)
        zeros = {e.name: first.new_zeros((e.delay_steps, batch, *self._shapes[e.source])) for e in delayed}
        return NetworkState(nodes, zeros)

    def forward(
        self, x: Tensor | Mapping[str, Tensor], state: NetworkState | None = None, *, through_time: bool = True
    ) -> tuple[Tensor, NetworkState]:
        """Run the network over time.

        Parameters
        ----------
        x : Tensor [T, B, ...], or mapping of input name to such
            Data of each `Input` node.
        state : NetworkState, optional
            State to start from; None is the initial state.
        through_time : bool
            Without it no gradient crosses from a step to another: not through membranes, loops or delays.

        Returns
        -------
        z : Tensor [T, B, ...]
            Output of the output node.
        state : NetworkState
            State after the last step.
        """
        z, after, _ = self.recorded(x, state, (), through_time=through_time)
        return z, after

    def recorded(
        self,
        x: Tensor | Mapping[str, Tensor],
        state: NetworkState | None = None,
        names: Sequence[str] = (),
        *,
        through_time: bool = True,
    ) -> tuple[Tensor, NetworkState, dict[str, Tensor]]:
        """Run as `forward` does and return as well what `names` say.

        Parameters
        ----------
        x, state, through_time
            As in `forward`.
        names : sequence of str
            ``"node"`` for the output of a node, ``"node.variable"`` for a state or local variable of its core.

        Returns
        -------
        z, state
            As in `forward`.
        values : dict of str to Tensor [T, B, ...]
            One for each name.
        """
        run = _Run(self, self._inputs(x), state, self._wanted(names), through_time)
        for component in self._components:
            run.advance(component)
        return run.outputs[self.output], NetworkState(run.nodes, run.edges), {n: run.value(n) for n in names}

    def _inputs(self, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = dict(x) if isinstance(x, Mapping) else dict.fromkeys(self.inputs[:1], x)
        if set(given) != set(self.inputs):
            raise InputError(f"x must give data for the inputs {list(self.inputs)}; got {list(given)}.")
        lead = None
        for name, data in given.items():
            wanted = self._shapes[name]
            if not isinstance(data, Tensor) or tuple(data.shape[2:]) != wanted or data.dim() < 2:
                got = list(data.shape) if isinstance(data, Tensor) else type(data).__name__
                raise ShapeError(f"x for {name!r} must be a tensor [T, B, {', '.join(map(str, wanted))}]; got {got}.")
            if not data.is_floating_point():
                raise InputError(f"x for {name!r} must be in floating point; got {data.dtype}. Use x.float().")
            if lead not in (None, data.shape[:2]):
                raise ShapeError(
                    f"all inputs must share T and B; {name!r} has {list(data.shape[:2])}, another {list(lead or ())}."
                )
            lead = data.shape[:2]
        return given

    def _wanted(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        wanted: dict[str, tuple[str, ...]] = {}
        for name in names:
            node, _, variable = name.partition(".")
            if node not in self._shapes:
                raise InputError(f"cannot record {name!r}: no node {node!r}; this network has {list(self._shapes)}.")
            if variable and not isinstance(self.nodes[node], Neuron):
                raise InputError(f"cannot record {name!r}: {node!r} is an input and has no variables.")
            if name.endswith("."):
                raise InputError(
                    f"cannot record {name!r}: no variable stands behind the dot; drop it to record the output."
                )
            if variable:
                wanted[node] = (*wanted.get(node, ()), variable)
        return wanted


class _Run:
    """One call of a network: what is known so far."""

    def __init__(
        self,
        net: Network,
        inputs: dict[str, Tensor],
        state: NetworkState | None,
        wanted: dict[str, tuple[str, ...]],
        through_time: bool,
    ) -> None:
        self.net, self.through_time, self.wanted = net, through_time, wanted
        self.outputs: dict[str, Tensor] = dict(inputs)
        self.values: dict[str, list[Tensor]] = {}
        self.steps = next(iter(inputs.values())).shape[0]
        fresh = net.initial_state(inputs)
        start = fresh if state is None else state
        if not isinstance(start, NetworkState):
            raise InputError(
                f"state must be the NetworkState that a network returned, or None; got {type(start).__name__}."
            )
        for kind, held, model in (("nodes", start.nodes, fresh.nodes), ("edges", start.edges, fresh.edges)):
            if set(held) != set(model):
                raise ShapeError(
                    f"state.{kind} must hold {sorted(model)}; got {sorted(held)}. Was it made by another network?"
                )
        for name, buffer in fresh.edges.items():
            if start.edges[name].shape != buffer.shape:
                raise ShapeError(
                    f"state.edges[{name!r}] must be {list(buffer.shape)}; got {list(start.edges[name].shape)}."
                )
        self.nodes = dict(start.nodes)
        self.edges = {name: line if through_time else line.detach() for name, line in start.edges.items()}

    def value(self, name: str) -> Tensor:
        return torch.cat(self.values[name]) if "." in name else self.outputs[name].detach()

    def advance(self, component: tuple[str, ...]) -> None:
        """Run the populations of one component (one node, or the nodes of a cycle) over the whole time."""
        if isinstance(self.net.nodes[component[0]], Input):
            return
        inner = [e for e in self.net.edges if e.source in component and e.target in component]
        drive = {name: self._outer_current(name, component) for name in component}
        if not inner:
            (name,) = component
            current = drive[name]
            assert current is not None  # a node without edges is refused when the network is made
            self.outputs[name] = self._neurons(name, current)
        else:
            self._cycle(component, inner, drive)

    def _outer_current(self, name: str, component: tuple[str, ...]) -> Tensor | None:
        total: Tensor | None = None
        for edge in self.net.edges:
            if edge.target == name and edge.source not in component:
                current = edge(self._arriving(edge))
                total = current if total is None else total + current
        return total

    def _arriving(self, edge: Connection) -> Tensor:
        """Return the spikes that reach the synapses of an edge from outside a cycle, delayed as it says."""
        z = self.outputs[edge.source]
        if not edge.delay_steps:
            return z
        if not self.through_time:
            z = z.detach()
        line = torch.cat((self.edges[edge.name], z))
        self.edges[edge.name] = line[self.steps :]
        return line[: self.steps]

    def _cycle(self, component: tuple[str, ...], inner: list[Connection], drive: dict[str, Tensor | None]) -> None:
        stretch = min(edge.delay_steps for edge in inner if edge.delay_steps)
        pieces: dict[str, list[Tensor]] = {name: [] for name in component}
        # A run of no steps makes one empty stretch, so that every output and trace has its shape.
        for start in range(0, max(self.steps, 1), stretch):
            length = min(stretch, self.steps - start)
            for name in component:
                outer = drive[name]
                total = None if outer is None else outer[start : start + length]
                for edge in (e for e in inner if e.target == name):
                    z = self.edges[edge.name][:length] if edge.delay_steps else pieces[edge.source][-1]
                    current = edge(z)
                    total = current if total is None else total + current
                assert total is not None
                pieces[name].append(self._neurons(name, total))
            for edge in (e for e in inner if e.delay_steps):
                sent = pieces[edge.source][-1]
                sent = sent if self.through_time else sent.detach()
                self.edges[edge.name] = torch.cat((self.edges[edge.name][length:], sent))
        for name in component:
            self.outputs[name] = torch.cat(pieces[name])

    def _neurons(self, name: str, current: Tensor) -> Tensor:
        node = self.net.nodes[name]
        assert isinstance(node, Neuron)
        names = self.wanted.get(name, ())
        z, self.nodes[name], values = node.recorded(current, self.nodes[name], names, through_time=self.through_time)
        for variable, trace in values.items():
            self.values.setdefault(f"{name}.{variable}", []).append(trace)
        return z


def _check_nodes(nodes: Mapping[str, Input | Neuron]) -> None:
    for name, node in nodes.items():
        if not _usable(name) or "->" in name:
            raise NetworkError(
                f"a node's name must be text without '.', '/' and '->', and not that of a dict method; got {name!r}."
            )
        if not isinstance(node, (Input, Neuron)):
            raise NetworkError(f"node {name!r} must be an Input or a layer of neurons; got {type(node).__name__}.")
    if not any(isinstance(node, Input) for node in nodes.values()):
        raise NetworkError("a network needs an Input node; got only " + str(list(nodes)) + ".")


def _usable(name: object) -> bool:
    """Return whether `name` can stand in a state_dict, in an HDF5 file and in ``"node.variable"``."""
    return isinstance(name, str) and name != "" and not {".", "/"} & set(name) and not hasattr(nn.ModuleDict(), name)


def _common_dt(nodes: Mapping[str, Input | Neuron]) -> float:
    steps = {name: node.dt for name, node in nodes.items() if isinstance(node, Neuron)}
    if not steps:
        raise NetworkError("a network needs at least one population of neurons.")
    if len(set(steps.values())) > 1:
        raise NetworkError(f"all populations must share one dt; got {steps} (s).")
    return next(iter(steps.values()))


def _connect(edge: Edge, nodes: Mapping[str, Input | Neuron], dt: float) -> Connection:
    name = edge.name or f"{edge.source}->{edge.target}"
    for end in (edge.source, edge.target):
        if end not in nodes:
            raise NetworkError(f"edge {name!r}: no node {end!r}; this network has {list(nodes)}.")
    if isinstance(nodes[edge.target], Input):
        raise NetworkError(f"edge {name!r}: {edge.target!r} is an Input and takes no synapses.")
    for synapse in edge.synapses:
        if not isinstance(synapse, Synapse):
            kind = f"{type(synapse).__module__}.{type(synapse).__qualname__}"
            raise NetworkError(f"edge {name!r}: {kind} is not a synapse; use neurosim's Linear, Conv2d, Flatten, ...")
    if edge.delay is None:
        steps = 1 if edge.source == edge.target else 0
    else:
        if not math.isfinite(edge.delay):
            raise NetworkError(
                f"edge {name!r}: delay must be a whole number of steps of {dt:g} s; got {edge.delay!r} s."
            )
        steps = round(edge.delay / dt)
        if edge.delay < 0 or abs(edge.delay / dt - steps) > 1e-6 * max(steps, 1):
            raise NetworkError(
                f"edge {name!r}: delay must be a whole number of steps of {dt:g} s; got {edge.delay!r} s."
            )
        if edge.delay >= 10:
            raise NetworkError(
                f"edge {name!r}: delay must be in [0, 10) s; got {edge.delay!r}. Did you pass milliseconds?"
            )
        if edge.source == edge.target and steps == 0:
            raise NetworkError(
                f"edge {name!r}: a loop takes at least one step; give a delay of {dt:g} s or more, or leave it out."
            )
    return Connection(name, edge.source, edge.target, edge.synapses, steps, steps * dt)


def _check_names(edges: list[Connection]) -> None:
    names = [edge.name for edge in edges]
    wrong = [name for name in names if not _usable(name)]
    if wrong:
        raise NetworkError(
            f"an edge's name must be text without '.' and '/', and not that of a dict method; got {wrong}."
        )
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise NetworkError(f"edges must have different names; {sorted(twice)} stand more than once. Pass name=.")


def _order(nodes: list[str], edges: list[Connection]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the nodes in order of computation, and the same grouped into cycles."""
    import networkx

    at_once = networkx.DiGraph()
    at_once.add_nodes_from(nodes)
    at_once.add_edges_from((e.source, e.target) for e in edges if not e.delay_steps)
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


def _shapes(
    nodes: nn.ModuleDict, edges: list[Connection], components: list[tuple[str, ...]]
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {n: m.shape for n, m in nodes.items() if isinstance(m, Input)}
    told: dict[str, str] = {}

    def tell(edge: Connection) -> None:
        shape = shapes[edge.source]
        try:
            for synapse in edge.synapses:
                shape = synapse.output_shape(shape)
        except ShapeError as error:
            raise ShapeError(f"edge {edge.name!r}: {error}") from None
        if shapes.setdefault(edge.target, shape) != shape:
            raise ShapeError(
                f"edge {edge.name!r} gives currents of shape {list(shape)} to {edge.target!r}, "
                f"but {told.get(edge.target, 'its size')} says {list(shapes[edge.target])}."
            )
        told.setdefault(edge.target, f"edge {edge.name!r}")

    for name, node in nodes.items():
        if isinstance(node, Neuron) and node.size is not None:
            shapes[name] = node.size
    waiting = list(edges)
    while waiting:
        ready = [edge for edge in waiting if edge.source in shapes]
        if not ready:
            break
        for edge in ready:
            tell(edge)
            waiting.remove(edge)
    for component in components:
        for name in component:
            if not isinstance(nodes[name], Input) and not any(e.target == name for e in edges):
                raise NetworkError(f"node {name!r} receives nothing; give it an edge or take it out.")
            if name not in shapes:
                raise NetworkError(f"the shape of {name!r} cannot be worked out; pass size= when making its neurons.")
    return shapes


@dataclasses.dataclass(frozen=True, eq=False)
class Recurrent:
    """Neurons with synapses among themselves, for use in `Sequential`.

    Parameters
    ----------
    neuron : Neuron
        The population.
    synapse : Synapse
        From the population to itself.
    delay : float, optional
        In s; one step if left out.
    """

    neuron: Neuron
    synapse: Synapse
    delay: float | None = None


def Sequential(*parts: Input | Synapse | Neuron | Recurrent, names: Sequence[str] | None = None) -> Network:
    """Build a network whose populations stand in a row.

    Parameters
    ----------
    *parts : Input, Synapse, Neuron or Recurrent
        In order. Synapses between two populations are applied one after the other. An `Input` may stand first;
        it is needed unless the first synapse is linear.
    names : sequence of str, optional
        One for each population of neurons; the core's name and a number if left out.

    Returns
    -------
    Network
        With nodes ``"input"`` and `names`.

    Examples
    --------
    >>> import neurosim as ns
    >>> net = ns.Sequential(ns.Linear(64, 32), ns.LIF(dt=1e-3), ns.Linear(32, 10), ns.LIF(dt=1e-3))
    >>> list(net.nodes), [edge.name for edge in net.edges]
    (['input', 'lif1', 'lif2'], ['input->lif1', 'lif1->lif2'])
    """
    rest = list(parts)
    if rest and isinstance(rest[0], Input):
        nodes: dict[str, Input | Neuron] = {"input": rest.pop(0)}  # type: ignore[dict-item]
    elif rest and isinstance(rest[0], (Linear, Sparse)):
        nodes = {"input": Input(rest[0].n_in)}
    else:
        first = type(rest[0]).__name__ if rest else "nothing"
        raise NetworkError(
            f"Sequential must start with Input(shape) or a linear synapse; got {first}. Put Input((C, H, W)) first."
        )
    edges: list[Edge] = []
    between: list[Synapse] = []
    before = "input"
    given = list(names) if names is not None else None
    populations = sum(isinstance(p, (Neuron, Recurrent)) for p in rest)
    if given is not None and len(given) != populations:
        raise NetworkError(f"names must give one name for each of the {populations} populations; got {given}.")
    for part in rest:
        if isinstance(part, Synapse):
            between.append(part)
            continue
        neuron = part.neuron if isinstance(part, Recurrent) else part
        if not isinstance(neuron, Neuron):
            raise NetworkError(f"Sequential takes Input, synapses, neurons and Recurrent; got {type(part).__name__}.")
        if not between:
            raise NetworkError(
                f"no synapse stands before {neuron.core.name}; put Linear, Conv2d, ... between populations."
            )
        name = given.pop(0) if given is not None else f"{neuron.core.name}{len(nodes)}"
        if name in nodes:
            raise NetworkError(f"names must differ; {name!r} stands twice.")
        nodes[name] = neuron
        edges.append(Edge(before, name, tuple(between)))
        if isinstance(part, Recurrent):
            edges.append(Edge(name, name, part.synapse, part.delay))
        between, before = [], name
    if between:
        kinds = ", ".join(type(s).__name__ for s in between)
        raise NetworkError(
            f"Sequential must end with neurons; {kinds} stands last. Add LI(dt=...) to read out currents."
        )
    return Network(nodes, edges)
