"""A network: named populations joined by named synapses, with its state going in and coming out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from neurosim.errors import InputError, NetworkError, ShapeError
from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network.graph import Connection, Edge, Input, NetworkState
from neurosim.network.layered import Run
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.synapses import Linear, Sparse, Synapse
from neurosim.synapses.traced import Traces


class Network(nn.Module):
    """Populations of neurons joined by synapses, simulated on one time grid.

    Parameters
    ----------
    nodes : mapping of str to Input or Population
        The populations, such as layers of neurons; all share one dt.
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
        self, nodes: Mapping[str, Input | Population], edges: Iterable[Edge], *, output: str | None = None
    ) -> None:
        super().__init__()
        given = list(edges)
        _check_nodes(nodes)
        self.dt = _common_dt(nodes)
        self.edges = [_connect(edge, nodes, self.dt) for edge in given]
        _check_names(self.edges)
        _check_ports(nodes, self.edges)
        order, self.components = _order(list(nodes), self.edges)
        self.nodes = nn.ModuleDict({name: nodes[name] for name in order})
        self.synapses = nn.ModuleDict({edge.name: nn.ModuleList(edge.synapses) for edge in self.edges})
        self.inputs = tuple(name for name in order if isinstance(nodes[name], Input))
        self.output = output or list(nodes)[-1]
        if self.output not in nodes or isinstance(nodes[self.output], Input):
            raise NetworkError(
                f"output must name a population of neurons, one of {[n for n in nodes if n not in self.inputs]}; "
                f"got {self.output!r}."
            )
        self._shapes = _shapes(self.nodes, self.edges, self.components)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the population `name`, without T and B."""
        if name not in self._shapes:
            raise InputError(f"no node {name!r}; this network has {list(self._shapes)}.")
        return self._shapes[name]

    def populations(self) -> dict[str, Population]:
        """Return the populations by name, in order of computation."""
        return {name: node for name, node in self.nodes.items() if isinstance(node, Population)}

    def neurons(self) -> dict[str, Neuron]:
        """Return the populations by name as layers of a core, in order of computation.

        Raises
        ------
        NetworkError
            When a population has no core, so that nothing that reads cores passes it over; see `populations`.
        """
        found = {}
        for name, node in self.populations().items():
            if not isinstance(node, Neuron):
                raise NetworkError(
                    f"node {name!r} is of type {type(node).__name__}, which has no core that steps through time; "
                    "what was asked for needs one, as LIF has."
                )
            found[name] = node
        return found

    def initial_state(self, x: Tensor | Mapping[str, Tensor]) -> NetworkState:
        """Return the state before the first step for input like `x` [T, B, ...]."""
        first = next(iter(self._inputs(x).values()))
        batch = first.shape[1]

        def like(name: str) -> Tensor:
            return first.new_empty((1, batch, *self._shapes[name]))

        nodes = {name: node.initial_state(like(name)) for name, node in self.populations().items()}
        kept = {edge: edge.delay_steps + edge.memory for edge in self.edges}
        zeros = {e.name: first.new_zeros((n, batch, *self._shapes[e.source])) for e, n in kept.items() if n}
        return NetworkState(nodes, zeros)

    def forward(
        self,
        x: Tensor | Mapping[str, Tensor],
        state: NetworkState | None = None,
        *,
        through_time: bool = True,
        recompute: bool = False,
        traces: Traces | None = None,
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
        recompute : bool
            Keep for the backward pass only spikes, a bit each, and the state at some steps, and work out the
            steps between again: far less memory for somewhat more time, and the same gradients. Populations on
            a cycle, those without a core and those being recorded keep all.
        traces : Traces, optional
            Let weights learn from traces of the spikes before them, which the object carries from call to call; for
            runs without `through_time` and without `recompute`.

        Returns
        -------
        z : Tensor [T, B, ...]
            Output of the output node.
        state : NetworkState
            State after the last step.
        """
        result = self.run(x, state, (), through_time=through_time, recompute=recompute, traces=traces)
        return result.out, result.state

    def run(
        self,
        x: Tensor | Mapping[str, Tensor],
        state: NetworkState | None = None,
        record: Sequence[str] = (),
        *,
        through_time: bool = True,
        recompute: bool = False,
        traces: Traces | None = None,
    ) -> LayerOutput:
        """Run as `forward` does, and record what `record` names.

        Parameters
        ----------
        x, state, through_time, recompute, traces
            As in `forward`.
        record : sequence of str
            ``"node"`` for the output of a node, ``"node.variable"`` for a state or local variable of its core.

        Returns
        -------
        LayerOutput
            Output of the output node, `NetworkState` after the last step, and what was recorded by name.

        Examples
        --------
        >>> import torch, neurosim as ns
        >>> net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3), names=["out"])
        >>> result = net.run(torch.rand(100, 4, 3), record=["out.u"])
        >>> result.out.shape, result.recorded["out.u"].shape
        (torch.Size([100, 4, 2]), torch.Size([100, 4, 2]))
        """
        run = Run(self, self._inputs(x), state, self._variables(record), through_time, recompute, traces)
        for component in self.components:
            run.advance(component)
            run.release(component, {self.output, *record})
        recorded = {name: run.value(name) for name in record}
        return LayerOutput(run.outputs[self.output], NetworkState(run.nodes, run.edges), recorded)

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

    def _variables(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the variables to record of each node."""
        variables: dict[str, tuple[str, ...]] = {}
        for name in names:
            node, _, variable = name.partition(".")
            if node not in self._shapes:
                raise InputError(f"cannot record {name!r}: no node {node!r}; this network has {list(self._shapes)}.")
            if variable and not isinstance(self.nodes[node], Population):
                raise InputError(f"cannot record {name!r}: {node!r} is an input and has no variables.")
            if name.endswith("."):
                raise InputError(
                    f"cannot record {name!r}: no variable stands behind the dot; drop it to record the output."
                )
            if variable:
                variables[node] = (*variables.get(node, ()), variable)
        return variables


def _check_nodes(nodes: Mapping[str, Input | Population]) -> None:
    for name, node in nodes.items():
        if not _usable(name) or "->" in name:
            raise NetworkError(
                f"a node's name must be text without '.', '/' and '->', and not that of a dict method; got {name!r}."
            )
        if not isinstance(node, (Input, Population)):
            raise NetworkError(f"node {name!r} must be an Input or a layer of neurons; got {type(node).__name__}.")
    if not any(isinstance(node, Input) for node in nodes.values()):
        raise NetworkError("a network needs an Input node; got only " + str(list(nodes)) + ".")


def _usable(name: object) -> bool:
    """Return whether `name` can stand in a state_dict, in an HDF5 file and in ``"node.variable"``."""
    return isinstance(name, str) and name != "" and not {".", "/"} & set(name) and not hasattr(nn.ModuleDict(), name)


def _common_dt(nodes: Mapping[str, Input | Population]) -> float:
    steps = {name: node.dt for name, node in nodes.items() if isinstance(node, Population)}
    if not steps:
        raise NetworkError("a network needs at least one population of neurons.")
    if len(set(steps.values())) > 1:
        raise NetworkError(f"all populations must share one dt; got {steps} (s).")
    return next(iter(steps.values()))


def _connect(edge: Edge, nodes: Mapping[str, Input | Population], dt: float) -> Connection:
    name = _name(edge, nodes.get(edge.target))
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
        if edge.source == edge.target and steps + sum(synapse.min_delay for synapse in edge.synapses) == 0:
            raise NetworkError(
                f"edge {name!r}: a loop takes at least one step; give a delay of {dt:g} s or more, or leave it out."
            )
    return Connection(name, edge.source, edge.target, edge.synapses, steps, steps * dt, _port(name, edge, nodes))


def _name(edge: Edge, target: Input | Population | None) -> str:
    several = isinstance(target, Population) and len(target.ports) > 1
    return edge.name or f"{edge.source}->{edge.target}" + (f":{edge.port}" if several and edge.port else "")


def _port(name: str, edge: Edge, nodes: Mapping[str, Input | Population]) -> str:
    """Return the input port that an edge feeds."""
    target = nodes[edge.target]
    assert isinstance(target, Population)  # an Input as target has been refused
    ports = list(target.ports)
    if not edge.port and len(ports) > 1:
        raise NetworkError(
            f"edge {name!r}: {edge.target!r} has the input ports {ports}; name the one to feed, as in "
            f"Edge({edge.source!r}, {edge.target!r}, ..., port={ports[0]!r})."
        )
    if edge.port and edge.port not in ports:
        raise NetworkError(f"edge {name!r}: {edge.target!r} has no input port {edge.port!r}; it has {ports}.")
    return edge.port or ports[0]


def _check_ports(nodes: Mapping[str, Input | Population], edges: Sequence[Connection]) -> None:
    for name, node in nodes.items():
        if isinstance(node, Population):
            fed = {edge.port for edge in edges if edge.target == name}
            missing = [port for port, value in node.ports.items() if value is None and port not in fed]
            if fed and missing:
                raise NetworkError(f"node {name!r}: no edge feeds its input ports {missing}; add one with port=.")


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
        if isinstance(node, Population) and node.size is not None:
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
    neuron : Population
        The neurons.
    synapse : Synapse
        From the population to itself.
    delay : float, optional
        In s; one step if left out.
    """

    neuron: Population
    synapse: Synapse
    delay: float | None = None


def Sequential(*parts: Input | Synapse | Population | Recurrent, names: Sequence[str] | None = None) -> Network:
    """Build a network whose populations stand in a row.

    Parameters
    ----------
    *parts : Input, Synapse, Population or Recurrent
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
        nodes: dict[str, Input | Population] = {"input": rest.pop(0)}  # type: ignore[dict-item]
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
    populations = sum(isinstance(p, (Population, Recurrent)) for p in rest)
    if given is not None and len(given) != populations:
        raise NetworkError(f"names must give one name for each of the {populations} populations; got {given}.")
    for part in rest:
        if isinstance(part, Synapse):
            between.append(part)
            continue
        neuron = part.neuron if isinstance(part, Recurrent) else part
        if not isinstance(neuron, Population):
            raise NetworkError(f"Sequential takes Input, synapses, neurons and Recurrent; got {type(part).__name__}.")
        if not between:
            raise NetworkError(f"no synapse stands before {neuron.kind}; put Linear, Conv2d, ... between populations.")
        name = given.pop(0) if given is not None else f"{neuron.kind}{len(nodes)}"
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
