"""The edges of a network as the engine of circuits reads them: rows of synapses, accumulators, input from outside."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosim.circuit.division import Division
from neurosim.circuit.integers import common_unit, unit_of
from neurosim.circuit.rules import Rules
from neurosim.circuit.sources import Poisson
from neurosim.kernels.circuit.cpu import split, to_bits
from neurosim.kernels.circuit.tasks import PAD, padded
from neurosim.kernels.drawing.plan import DENSE, Plan, Projection, RowTable
from neurosim.kernels.drawing.tables import row_tables
from neurosim.network.component import Component
from neurosim.network.graph import Connection, NetworkState
from neurosim.network.network import Network
from neurosim.network.population import Population, has_hooks
from neurosim.synapses.delayed_sparse import DelayedSparse
from neurosim.synapses.drawn import Drawn
from neurosim.synapses.scale import Identity, Scale
from neurosim.synapses.sparse import Sparse
from neurosim.synapses.synapse import Synapse

SPARSE = (Sparse, DelayedSparse, Drawn)
_ROWS = (*SPARSE, Scale, Identity)
_WINDOW = 64  # steps where no population drives another
_INTEGERS = "integers"  # key of the accumulators of all ports whose input is an integer in a unit


class Feed(NamedTuple):
    """A part of the input of a port.

    Attributes
    ----------
    kind : {"integer", "real", "dense"}
        As in `kernels.circuit.tasks.Term`.
    key : hashable
        Of the accumulators, or of the edge from outside.
    offset : int
        First slot.
    unit : float
        Of integers.
    """

    kind: Literal["integer", "real", "dense"]
    key: Hashable
    offset: int = 0
    unit: float = 1.0


class Route(NamedTuple):
    """Rows of synapses from one source, divided among the parts of the targets.

    Attributes
    ----------
    source : str
    target : str or None
        Population before whose neurons the spikes are delivered; None: at the beginning of the step.
    kind, delays, post, weight
        As in `kernels.circuit.tasks.Delivery`.
    first, last : list of Tensor
        As there, for each part.
    key : hashable
        Of the accumulators.
    offset : int
        First slot.
    rules : Rules, optional
        By which the weights change, `weight` being where they start, or the amplitudes.
    """

    source: str
    target: str | None
    kind: Any
    delays: Tensor
    first: list[Tensor]
    last: list[Tensor]
    post: Tensor
    weight: int | Tensor
    key: Hashable
    offset: int = 0
    rules: Rules | None = None


class Drive(NamedTuple):
    """Poisson trains that feed a port one to one.

    Attributes
    ----------
    source, target : str
    weight
        As in `kernels.circuit.tasks.PoissonInput`.
    feed : Feed
    """

    source: str
    target: str
    weight: float
    feed: Feed


@dataclasses.dataclass(frozen=True, eq=False)
class Wiring:
    """All edges of a network.

    Attributes
    ----------
    net : Network
    real : torch.dtype
        Precision of the run.
    division : Division
        Parts of the neurons.
    feeds : dict of str to dict of str to list of Feed
        By population and port, in order of the additions.
    projections : dict of (source, target) to list of (Connection, Projection)
        Edges whose synapses are drawn into tables, which those of one key may share.
    listed : list of Connection
        Edges whose weights are real numbers.
    routes : list of Route
        Empty before the synapses are drawn.
    drives : list of Drive
    outside : list of Connection
        Edges from inputs and sources whose current is computed for many steps at once.
    accumulators : dict of key to (dtype, slots)
    histories : dict of str to int
        Steps of spikes under way of each population, and of each source that a route begins at.
    plasticity : mapping of str to Rules
        Of each plastic edge.
    """

    net: Network
    real: torch.dtype
    division: Division
    feeds: dict[str, dict[str, list[Feed]]]
    projections: dict[tuple[str, str | None], list[tuple[Connection, Projection]]]
    listed: list[Connection]
    routes: list[Route]
    drives: list[Drive]
    outside: list[Connection]
    accumulators: dict[Hashable, tuple[torch.dtype, int]]
    histories: dict[str, int]
    plasticity: Mapping[str, Rules]

    def edge(self, name: Hashable) -> Connection:
        """Return an edge by its name."""
        return next(edge for edge in self.net.edges if edge.name == name)

    @property
    def window(self) -> int:
        """Steps that a part can run before it needs what another one has sent."""
        delays = [edge.min_delay for edge in self.net.edges if edge.source in self.division.bounds]
        return max(min(delays, default=_WINDOW), 1)

    def totals(self) -> dict[Hashable, Tensor]:
        """Return accumulators of one trial, which hold 0."""
        return {key: torch.zeros(slots + PAD, dtype=dtype) for key, (dtype, slots) in self.accumulators.items()}


def edge_obstacle(net: Network, edge: Connection) -> str | None:
    """Return why the engine cannot deliver the spikes of an edge, or None if it can."""
    if not isinstance(net.nodes[edge.source], Population):
        return None  # computed by the synapses themselves
    if len(edge.synapses) > 1:
        return "several synapses one after the other"
    (synapse,) = edge.synapses
    if type(synapse) not in _ROWS or _is_opaque(synapse):
        return f"{type(synapse).__name__} has no rows of synapses, or a hook"
    if isinstance(synapse, Scale) and synapse.bias is not None:
        return "Scale has a bias"
    return None


def wired(
    net: Network,
    real: torch.dtype,
    parts: int = 1,
    plasticity: Mapping[str, Rules] = MappingProxyType({}),
    keep: Callable[[Route], Route] = lambda route: route,
) -> Wiring:
    """Return the edges of a network without an obstacle, their synapses drawn; parameters as in `laid_out`.

    `keep` returns what is kept of the synapses of a route as soon as they are drawn.
    """
    net.plan().check()
    made = laid_out(net, real, parts, plasticity)
    for edge in made.listed:
        made.routes.append(keep(_real_route(made, edge)._replace(rules=plasticity.get(edge.name))))
    for (source, target), each in made.projections.items():
        tables = [part for table in row_tables([projection for _, projection in each]) for part in _with_bits(table)]
        made.routes.extend(keep(_table_route(made, source, target, table)) for table in tables)
    return made


def laid_out(
    net: Network, real: torch.dtype, parts: int = 1, plasticity: Mapping[str, Rules] = MappingProxyType({})
) -> Wiring:
    """Return how the edges of a network without an obstacle are run; nothing is drawn.

    Parameters
    ----------
    net : Network
    real : torch.dtype
        Precision of the run.
    parts : int
        Parts that the neurons are divided into, if no edge is without delay.
    plasticity : mapping of str to Rules
        Of each plastic edge.
    """
    is_prompt = any(not edge.min_delay for edge in net.edges if isinstance(net.nodes[edge.source], Population))
    ports = {name: len(_by_port(net.edges, name)) for name in net.populations()}
    for name in ports:
        by_port = _by_port(net.edges, name).values()
        if any(not common_unit(net, edges, plasticity) for edges in by_port):  # a port with several accumulators
            ports[name] = max(ports[name], 2)
    sizes = {name: math.prod(net.shape(name)) for name in ports}
    division = Division.of(sizes, ports, 1 if is_prompt else parts)
    made = Wiring(net, real, division, {}, {}, [], [], [], [], {}, dict.fromkeys(net.populations(), 0), plasticity)
    slots = 0
    for component in net.components:
        for name in component.nodes:
            if name in ports:
                slots = _feed(made, component, name, slots)
    made.accumulators[_INTEGERS] = torch.int32, slots
    return made


def _feed(wiring: Wiring, component: Component, name: str, slots: int) -> int:
    """Add the feeds of a population; return the first slot after those of its integers, which begin at `slots`."""
    net, size = wiring.net, padded(math.prod(wiring.net.shape(name)))
    feeds = wiring.feeds[name] = {}
    # In the order in which the layered strategies add currents.
    for port, edges in _by_port((*component.outer, *component.inner), name).items():
        units = [0.0 if edge.name in wiring.plasticity else unit_of(net, edge) for edge in edges]
        common = common_unit(net, edges, wiring.plasticity)
        feeds[port] = []
        if common:  # sums of integers are exact, in any order
            feeds[port].append(Feed("integer", _INTEGERS, slots, common))
        for edge, unit in zip(edges, units, strict=True):
            if unit:
                feed = Feed("integer", _INTEGERS, slots, common or unit)
                if not common:
                    feeds[port].append(feed)
                    slots += size
                _add_drawn(wiring, edge, feed)
            else:
                feeds[port].append(_real_feed(wiring, edge, size))
        slots += size if common else 0
    return slots


def _by_port(edges: Iterable[Connection], name: str) -> dict[str, list[Connection]]:
    """Return the edges into each port of a node."""
    found: dict[str, list[Connection]] = {}
    for edge in edges:
        if edge.target == name:
            found.setdefault(edge.port, []).append(edge)
    return found


def _add_drawn(wiring: Wiring, edge: Connection, feed: Feed) -> None:
    (synapse,) = edge.synapses
    assert isinstance(synapse, Drawn)
    drive = _drive(wiring.net, edge, feed)
    if drive is not None:
        wiring.drives.append(drive)
        return
    target = None if edge.min_delay else edge.target
    projection = Projection(synapse, feed.offset, edge.delay_steps, feed.unit)
    wiring.projections.setdefault((edge.source, target), []).append((edge, projection))
    _keep_spikes(wiring, edge)


def _keep_spikes(wiring: Wiring, edge: Connection) -> None:
    known = wiring.histories.get(edge.source, 0)
    wiring.histories[edge.source] = max(known, edge.reach)


def _real_feed(wiring: Wiring, edge: Connection, slots: int) -> Feed:
    """Return the feed of an edge whose weights are real numbers, or whose current is computed from outside."""
    net, real, rules = wiring.net, Feed("real", edge.name), wiring.plasticity.get(edge.name)
    if rules is not None or isinstance(net.nodes[edge.source], Population):
        wiring.listed.append(edge)
        _keep_spikes(wiring, edge)
    elif (drive := _drive(net, edge, real)) is not None:
        wiring.drives.append(drive)
    else:
        wiring.outside.append(edge)
        return Feed("dense", edge.name)
    wiring.accumulators[edge.name] = wiring.real, slots
    return real


def _drive(net: Network, edge: Connection, feed: Feed) -> Drive | None:
    """Return Poisson trains of one rate and weight that reach neurons in the same step, or None."""
    source, synapse = net.nodes[edge.source], edge.synapses[0]
    is_prompt = not edge.reach and len(edge.synapses) == 1
    if type(source) is not Poisson or not source.rate.is_shared or not is_prompt or _is_opaque(synapse):
        return None
    if isinstance(synapse, Scale) and synapse.bias is None and not synapse.weight.dim():
        weight = float(synapse.weight.detach())
    elif isinstance(synapse, Identity):
        weight = 1.0
    elif isinstance(synapse, Drawn) and feed.kind == "integer" and synapse.drawing.is_one_to_one:
        weight = synapse.drawing.weight.first * round(synapse.unit / feed.unit)
    else:
        return None
    return Drive(edge.source, edge.target, weight, feed)


def _is_opaque(synapse: Synapse) -> bool:
    """Whether hooks or a class of a program may change what a synapse does."""
    return has_hooks(synapse) or not type(synapse).__module__.startswith("neurosim.")


def takes_bits(table: RowTable | Plan, synapses: float) -> bool:
    """Whether the synapses of a table of one weight and delay are so dense that bits take less room and time."""
    is_dense = synapses > DENSE * table.n_in * (table.slots[1] - table.slots[0])
    return table.kind == "constant" and len(table.delays) == 1 and is_dense


def _with_bits(table: RowTable) -> list[RowTable]:
    """Return a table of one weight and delay whose pairs are dense as bits, and the repeats of pairs as rows."""
    if not takes_bits(table, table.post.numel()) or table.starts is None:
        return [table]
    words, starts, post = to_bits(table.starts, table.post, table.slots[1] - table.slots[0])
    bits = table._replace(kind="bits", starts=None, post=words)
    return [bits, table._replace(starts=starts, post=post)] if len(post) else [bits]


def _table_route(wiring: Wiring, source: str, target: str | None, table: RowTable) -> Route:
    """Return a table of drawn synapses, divided among the parts."""
    first, end = table.slots
    limits = [min(max(limit - first, 0), end - first) for limit in _slot_bounds(wiring)]
    delays = torch.tensor(table.delays, dtype=torch.int64)
    if table.starts is None:
        words = [torch.tensor([-(-limit // PAD)]) for limit in limits]
        firsts, lasts = words[:-1], words[1:]
    else:
        rows = table.starts, table.post, table.weight
        firsts, lasts = _divided(*rows, limits, is_packed=table.kind == "packed")
    return Route(source, target, table.kind, delays, firsts, lasts, table.post, table.weight, _INTEGERS, first)


def _slot_bounds(wiring: Wiring) -> list[int]:
    """Return the first slot of integers of each part, and the number of slots."""
    bounds = [0]
    for part in range(1, wiring.division.parts):
        for name, feeds in wiring.feeds.items():
            offsets = [feed.offset for port in feeds.values() for feed in port if feed.kind == "integer"]
            begin = wiring.division.bounds[name][part]
            if offsets and begin < wiring.division.bounds[name][-1]:
                bounds.append(min(offsets) + begin)
                break
        else:
            bounds.append(wiring.accumulators[_INTEGERS][1])
    return [*bounds, wiring.accumulators[_INTEGERS][1]]


def _divided(
    starts: Tensor, post: Tensor, weight: int | Tensor, limits: Sequence[int], *, is_packed: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the first and last synapse of each source and delay in each part, given the limits of their slots.

    Synapses are moved in place, if their slots do not ascend.
    """
    begin, end = [starts[:-1]], starts[1:]
    for limit in limits[1:-1]:
        begin.append(split(begin[-1], end, post, weight, limit, packed=is_packed))
    return begin, [*begin[1:], end]


def _real_route(wiring: Wiring, edge: Connection) -> Route:
    """Return the rows of an edge whose weights are real numbers."""
    (synapse,) = edge.synapses
    synapse = synapse.materialised() if isinstance(synapse, Drawn) else synapse
    late = edge.delay_steps + (edge.memory if isinstance(synapse, Sparse) else 0)  # a drawn delay of all synapses
    delays = torch.tensor([late])
    if isinstance(synapse, DelayedSparse):
        starts, groups = _by_delay(synapse)
        post, weight, delays = synapse.rows.post, synapse.weight.detach(), groups + edge.delay_steps
    elif isinstance(synapse, Sparse):
        post, weight, starts = synapse.rows.post, synapse.weight.detach(), synapse.rows.starts
    else:
        size = math.prod(wiring.net.shape(edge.source))
        starts = torch.arange(size + 1)
        factor = synapse.weight if isinstance(synapse, Scale) else torch.ones(())
        weight = factor.detach().expand(wiring.net.shape(edge.source)).reshape(-1)
        post = torch.arange(size, dtype=torch.int32)
    post = post.contiguous()
    firsts, lasts = _divided(starts.contiguous(), post, 0, wiring.division.bounds[edge.target], is_packed=False)
    target = None if edge.min_delay else edge.target
    held = weight.to(wiring.real).contiguous()
    return Route(edge.source, target, "real", delays, firsts, lasts, post, held, edge.name)


def _by_delay(synapse: DelayedSparse) -> tuple[Tensor, Tensor]:
    """Return where the synapses of each source and delay begin, and the delays in steps."""
    delay = synapse.delay
    groups, group = torch.unique(delay, return_inverse=True)
    places = synapse.rows.pre * len(groups) + group
    starts = torch.zeros(synapse.n_in * len(groups) + 1, dtype=torch.int64)
    starts[1:] = torch.bincount(places, minlength=synapse.n_in * len(groups)).cumsum(0)
    return starts, groups


def spikes_before(state: NetworkState, name: str, steps: int, trial: int, plastic: Sequence[str]) -> list[Tensor]:
    """Return the neurons of a node that fired in each of the `steps` steps before a state, the oldest first.

    Parameters
    ----------
    state : NetworkState
    name : str
    steps, trial : int
    plastic : sequence of str
        Plastic edges to the node; the state may hold spikes on their way along dendrites.
    """
    found: list[Tensor] = [torch.empty(0, dtype=torch.int32)] * steps
    if steps and name in state.in_flight:
        line = state.in_flight[name][-steps:, trial].flatten(1)
        for k, z in enumerate(line, steps - len(line)):
            neurons = torch.nonzero(z)[:, 0]
            found[k] = neurons.repeat_interleave(z[neurons].long()).to(torch.int32)
    for edge in plastic:
        lines: Tensor | None = getattr(state.plastic.get(edge), "late", None)
        late = () if lines is None else lines[trial]
        for k, z in enumerate(late, steps - len(late)):
            found[k] = torch.nonzero(z)[:, 0].to(torch.int32)
    return found


def lines_of(
    net: Network, histories: Mapping[str, int], logs: Sequence[Mapping[str, Any]], real: torch.dtype
) -> dict[str, Tensor]:
    """Return what is in flight from the nodes that have a log, as a `NetworkState` has it, over their `histories`."""
    lines = {}
    for name, steps in histories.items():
        if not steps:
            continue
        line = np.zeros((steps, len(logs), math.prod(net.shape(name))))
        for b, trial in enumerate(logs):
            under_way = trial[name].under_way()
            for k, neurons in enumerate(under_way[len(under_way) - steps :]):
                np.add.at(line[k, b], neurons, 1.0)
        lines[name] = torch.from_numpy(line).to(real).reshape(steps, len(logs), *net.shape(name))
    return lines
