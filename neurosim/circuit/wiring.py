"""The edges of a network as the engine of circuits reads them: rows of synapses, accumulators, input from outside."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from neurosim.circuit.sources import Poisson
from neurosim.kernels.circuit.tasks import padded
from neurosim.network.component import Component
from neurosim.network.graph import Connection, NetworkState
from neurosim.network.network import Network
from neurosim.network.population import Population, has_hooks
from neurosim.synapses.delayed_sparse import DelayedSparse
from neurosim.synapses.scale import Identity, Scale
from neurosim.synapses.sparse import Sparse
from neurosim.synapses.synapse import Synapse

SPARSE = (Sparse, DelayedSparse)
_ROWS = (*SPARSE, Scale, Identity)


class Feed(NamedTuple):
    """A part of the input of a port.

    Attributes
    ----------
    kind : {"integer", "real", "dense"}
        As in `kernels.circuit.tasks.Term`.
    key : hashable
        Of the accumulator, or of the edge from outside.
    unit : float
        Of integers.
    """

    kind: Literal["integer", "real", "dense"]
    key: Hashable
    unit: float = 1.0


class Route(NamedTuple):
    """Rows of synapses from one source.

    Attributes
    ----------
    source : str
    target : str or None
        Population before whose neurons the spikes are delivered; None: at the beginning of the step.
    kind, delays, starts, post, weight
        As in `kernels.circuit.tasks.Delivery`.
    key : hashable
        Of the accumulator.
    """

    source: str
    target: str | None
    kind: Any
    delays: Tensor
    starts: Tensor
    post: Tensor
    weight: int | Tensor
    key: Hashable


class Drive(NamedTuple):
    """Poisson trains that feed a port one to one.

    Attributes
    ----------
    source, target : str
    limits, weight
        As in `kernels.circuit.tasks.PoissonInput`.
    key : hashable
        Of the accumulator.
    """

    source: str
    target: str
    limits: Tensor
    weight: float
    key: Hashable


@dataclasses.dataclass(frozen=True, eq=False)
class Wiring:
    """All edges of a network.

    Attributes
    ----------
    feeds : dict of str to dict of str to list of Feed
        By population and port, in order of the additions.
    routes : list of Route
    drives : list of Drive
    outside : list of Connection
        Edges from inputs and sources whose current is computed for many steps at once.
    accumulators : dict of key to (dtype, slots)
    histories : dict of str to int
        Steps of spikes under way of each node that a route begins at, and of each population.
    """

    net: Network
    feeds: dict[str, dict[str, list[Feed]]]
    routes: list[Route]
    drives: list[Drive]
    outside: list[Connection]
    accumulators: dict[Hashable, tuple[torch.dtype, int]]
    histories: dict[str, int]

    def totals(self) -> dict[Hashable, Tensor]:
        """Return accumulators of one trial, which hold 0."""
        return {key: torch.zeros(slots, dtype=dtype) for key, (dtype, slots) in self.accumulators.items()}


def edge_obstacle(net: Network, edge: Connection) -> str | None:
    """Return why the engine cannot deliver the spikes of an edge, or None if it can."""
    if not isinstance(net.nodes[edge.source], Population):
        return None  # computed by the synapses themselves
    if len(edge.synapses) > 1:
        return "several synapses one after the other"
    (synapse,) = edge.synapses
    if type(synapse) not in _ROWS or edge_is_opaque(synapse):
        return f"{type(synapse).__name__} has no rows of synapses, or a hook"
    if isinstance(synapse, Scale) and synapse.bias is not None:
        return "Scale has a bias"
    return None


def wired(net: Network, real: torch.dtype) -> Wiring:
    """Return the edges of a network without an obstacle.

    Parameters
    ----------
    net : Network
    real : torch.dtype
        Precision of the run.
    """
    made = Wiring(net, {}, [], [], [], {}, {name: 0 for name in net.populations()})
    for component in net.components:
        for name in component.nodes:
            if name in net.populations():
                made.feeds[name] = _feeds(made, component, name, real)
    return made


def _feeds(wiring: Wiring, component: Component, name: str, real: torch.dtype) -> dict[str, list[Feed]]:
    """Return the feeds of each port of a population, and add what they need to the wiring."""
    net = wiring.net
    found: dict[str, list[Feed]] = {}
    slots = padded(math.prod(net.shape(name)))
    # In the order in which the layered strategies add currents.
    for edge in (*component.outer, *component.inner):
        if edge.target != name:
            continue
        port = found.setdefault(edge.port, [])
        if isinstance(net.nodes[edge.source], Population):
            wiring.accumulators[edge.name] = real, slots
            wiring.routes.append(_route(net, edge, real))
            history = edge.delay_steps + edge.memory
            wiring.histories[edge.source] = max(wiring.histories[edge.source], history)
            port.append(Feed("real", edge.name))
        elif (drive := _drive(net, edge)) is not None:
            wiring.accumulators[edge.name] = real, slots
            wiring.drives.append(drive)
            port.append(Feed("real", edge.name))
        else:
            wiring.outside.append(edge)
            port.append(Feed("dense", edge.name))
    return found


def _drive(net: Network, edge: Connection) -> Drive | None:
    """Return Poisson trains of one constant rate and weight that reach neurons in the same step, or None."""
    source, synapse = net.nodes[edge.source], edge.synapses[0]
    if not isinstance(source, Poisson) or edge.delay_steps or len(edge.synapses) > 1 or edge_is_opaque(synapse):
        return None
    if isinstance(synapse, Scale):
        if synapse.bias is not None or synapse.weight.dim():
            return None
        weight = float(synapse.weight)
    elif isinstance(synapse, Identity):
        weight = 1.0
    else:
        return None
    limits = source.limits(net.dt)
    return None if limits is None else Drive(edge.source, edge.target, limits, weight, edge.name)


def edge_is_opaque(synapse: Synapse) -> bool:
    """Whether hooks or a class of a program may change what a synapse does."""
    return has_hooks(synapse) or not type(synapse).__module__.startswith("neurosim.")


def _route(net: Network, edge: Connection, real: torch.dtype) -> Route:
    """Return the rows of an edge whose weights are real numbers."""
    (synapse,) = edge.synapses
    delays = torch.tensor([edge.delay_steps])
    if isinstance(synapse, DelayedSparse):
        starts, groups = _by_delay(synapse)
        post, weight, delays = synapse.rows.post, synapse.weight.detach(), groups + edge.delay_steps
    elif isinstance(synapse, Sparse):
        post, weight, starts = synapse.rows.post, synapse.weight.detach(), synapse.rows.starts
    else:
        size = math.prod(net.shape(edge.source))
        starts = torch.arange(size + 1)
        factor = synapse.weight if isinstance(synapse, Scale) else torch.ones(())
        weight = factor.detach().expand(net.shape(edge.source)).reshape(-1)
        post = torch.arange(size, dtype=torch.int32)
    target = None if int(delays[0]) else edge.target
    held = weight.to(real).contiguous()
    return Route(edge.source, target, "real", delays, starts.contiguous(), post.contiguous(), held, edge.name)


def _by_delay(synapse: DelayedSparse) -> tuple[Tensor, Tensor]:
    """Return where the synapses of each source and delay begin, and the delays in steps."""
    delay = synapse.delay
    groups, group = torch.unique(delay, return_inverse=True)
    places = synapse.rows.pre * len(groups) + group
    starts = torch.zeros(synapse.n_in * len(groups) + 1, dtype=torch.int64)
    starts[1:] = torch.bincount(places, minlength=synapse.n_in * len(groups)).cumsum(0)
    return starts, groups


def spikes_before(net: Network, state: NetworkState, name: str, steps: int, trial: int) -> list[Tensor]:
    """Return the neurons of a node that fired in each of the `steps` steps before a state, the oldest first."""
    found: list[Tensor] = [torch.empty(0, dtype=torch.int32)] * steps
    for edge in net.edges:
        if edge.source == name and edge.name in state.edges:
            line = state.edges[edge.name][:, trial].reshape(len(state.edges[edge.name]), -1)
            for k, z in enumerate(line):
                place = steps - len(line) + k
                if place >= 0:
                    found[place] = torch.nonzero(z)[:, 0].to(torch.int32)
    return found


def lines_of(net: Network, logs: Sequence[Mapping[str, Any]], real: torch.dtype) -> dict[str, Tensor]:
    """Return the spikes under way of the edges among populations, as a `NetworkState` has them."""
    lines = {}
    for edge in net.edges:
        steps = edge.delay_steps + edge.memory
        if not steps or not isinstance(net.nodes[edge.source], Population):
            continue
        size = math.prod(net.shape(edge.source))
        line = torch.zeros((steps, len(logs), size), dtype=real)
        for b, trial in enumerate(logs):
            under_way = trial[edge.source].under_way()
            for k, neurons in enumerate(under_way[len(under_way) - steps :]):
                line[k, b, neurons.long()] = 1.0
        lines[edge.name] = line.reshape(steps, len(logs), *net.shape(edge.source))
    return lines
