"""Events and messages of a run by step and core of a placed network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurosim.energy.counting import data_of, extent, runs
from neurosim.errors import InputError
from neurosim.hardware.lava.latency import Cycle, Hop, latencies
from neurosim.hardware.placement import Placement, Workload
from neurosim.hardware.placement.mesh import Mesh
from neurosim.network.network import Network


@dataclass(frozen=True, eq=False)
class Traffic:
    """What each core of a chip processes in each step of a run. Made by `count_traffic`.

    A connection takes a step on a chip, so a population at depth k acts k steps after the data: an inference takes
    more steps than its data. What a population does after its last step of the data is not counted.

    Attributes
    ----------
    placement : Placement
        The chip and the cores.
    updates : numpy.ndarray [cores] of int64
        Neurons of a core; each is updated at every step.
    spikes : numpy.ndarray [steps, samples, cores] of int64
        Spikes of the neurons of a core.
    sent : numpy.ndarray [steps, samples, cores] of int64
        Messages that leave a core: one for each spike, edge and core with a synapse for it, the same core included.
    received : numpy.ndarray [steps, samples, cores] of int64
        Messages that arrive at a core, those from outside the chip included.
    events : numpy.ndarray [steps, samples, cores] of int64
        Synapses that the messages to a core reach.
    messages : mapping of str to int
        Messages of each population, over the run.
    hops : mapping of str to (int, int)
        Tiles that they pass, east or west and north or south; 0 where the mesh is not known and between chips.
    routes : numpy.ndarray [n, 2] of int64
        Pairs of cores with at least one synapse from the first to the second.
    graded : tuple of str
        Nodes with synapses that sent values outside {-1, 0, 1}; each is counted as one spike.
    data_steps : int
        Steps of the data.
    dt : float
        Length of a step of the network, s.
    """

    placement: Placement
    updates: np.ndarray
    spikes: np.ndarray
    sent: np.ndarray
    received: np.ndarray
    events: np.ndarray
    messages: Mapping[str, int]
    hops: Mapping[str, tuple[int, int]]
    routes: np.ndarray
    graded: tuple[str, ...]
    data_steps: int
    dt: float

    @property
    def steps(self) -> int:
        """Steps of an inference on the chip, from the first input to the last output."""
        return len(self.spikes)

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.spikes.shape[1])


def count_traffic(
    net: Network, x: Tensor | Mapping[str, Tensor], placement: Placement, *, chunk: int | None = None
) -> Traffic:
    """Run a network and count what each core of its placement processes in each step.

    Parameters
    ----------
    net : Network
        The network that was placed; weights of exactly 0 are no synapses.
    x : Tensor [T, B, *input shape], or mapping of input node to such
        The samples, finite. A value that is not 0 is one spike.
    placement : Placement
        From `neurosim.hardware.placement.place`; it must fit.
    chunk : int, optional
        Steps of a chunk, as in `count_operations`. The counts do not depend on it.

    Returns
    -------
    Traffic
        Exact counts.

    Raises
    ------
    InputError
        When the placement does not fit or is of another network, x is empty or not finite, a node cannot be counted,
        or a cycle has fewer steps of delay than connections.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.energy import count_traffic
    >>> from neurosim.hardware.placement import place
    >>> net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3), names=("out",))
    >>> traffic = count_traffic(net, torch.eye(3)[:, None], place(net, "loihi1"))    # three steps, one event in each
    >>> traffic.steps, traffic.received[:, 0, 0].tolist(), traffic.events[:, 0, 0].tolist()
    (4, [1, 1, 1, 0], [2, 2, 2, 0])
    """
    sizes, placed = ({name: math.prod(net.shape(name)) for name in net.populations()}, placement.sizes)
    if sizes != placed:
        raise InputError(f"the placement on {placement.target.name} is of {placed}, the network of {sizes}.")
    if not placement.fits:
        raise InputError(f"the network does not fit {placement.target.name}: {'; '.join(placement.findings())}")
    data = data_of(net, x)
    lag = chip_steps(net)
    steps, samples = extent(data)
    shape = (steps + max(lag.values()), samples, placement.cores)
    spikes, sent, received, events = (np.zeros(shape, np.int64) for _ in range(4))
    home = _homes(placement)
    ways = _ways(net, placement, home)
    graded = set()
    totals = {name: torch.zeros(math.prod(net.shape(name)), dtype=torch.float64) for name in ways}
    for start, outputs, _ in runs(net, data, None, chunk):
        for name, z in outputs.items():
            fired = (z.flatten(2) != 0).double().cpu()
            at = slice(start + lag[name], start + lag[name] + len(fired))
            if name in home and net.neurons()[name].is_spiking:
                spikes[at] += _sum(fired, home[name])
            if name in ways:
                way = ways[name]
                if bool(((z != 0) & (z.abs() != 1)).any()):
                    graded.add(name)
                received[at] += _sum(fired, way.messages)
                events[at] += _sum(fired, way.synapses)
                totals[name] += fired.sum((0, 1))
                if name in home:
                    sent[at] += _sum(fired, way.messages.sum(1, keepdim=True) * home[name])
    messages, hops = dict.fromkeys(home, 0), dict.fromkeys(home, (0, 0))
    for name in home.keys() & ways.keys():
        messages[name] = round(float(totals[name] @ ways[name].messages.sum(1)))
        east_west, north_south = (totals[name] @ ways[name].hops).round().long().tolist()
        hops[name] = (east_west, north_south)
    routes = sorted({pair for name, way in ways.items() if name in home for pair in _routes(home[name], way.messages)})
    return Traffic(
        placement=placement,
        updates=np.array([len(part.neurons) for one in placement.populations for part in one.parts], np.int64),
        spikes=spikes,
        sent=sent,
        received=received,
        events=events,
        messages=messages,
        hops=hops,
        routes=np.array(routes, np.int64).reshape(-1, 2),
        graded=tuple(sorted(graded)),
        data_steps=steps,
        dt=net.dt,
    )


def distances(placement: Placement) -> np.ndarray:
    """Return the tiles between cores, [2, cores, cores]: east or west, and north or south.

    They are 0 where the mesh is not known and between cores of different chips.
    """
    cores, mesh = np.arange(placement.cores), Mesh.of(placement.target)
    chip, core = np.divmod(cores, placement.cores_per_chip)
    same = (chip[:, None] == chip) & mesh.known
    return np.stack([np.abs(at[:, None] - at) * same for at in mesh.tile(core)])


@dataclass(frozen=True, eq=False)
class _Way:
    """Where a spike of each neuron of a node goes: messages and synapses [neurons, cores], hops [neurons, 2]."""

    messages: Tensor
    synapses: Tensor
    hops: Tensor


def chip_steps(net: Network) -> dict[str, int]:
    """Return the step of the chip at which each node begins: a connection takes a step that the network does not have.

    Raises
    ------
    InputError
        For a cycle that has fewer steps of delay than connections.
    """
    try:
        hops = [Hop(edge.name, edge.source, edge.target, edge.min_delay) for edge in net.edges]
        return latencies(net.inputs, list(net.populations()), hops)
    except Cycle as cycle:
        path = " -> ".join([cycle.hops[0].source, *(hop.target for hop in cycle.hops)])
        raise InputError(
            f"cycle {path}: its delays are {sum(hop.delay for hop in cycle.hops)} step(s) in all, but its "
            f"{len(cycle.hops)} connections take a step each on a chip. Give its edges longer delays."
        ) from None


def _homes(placement: Placement) -> dict[str, Tensor]:
    """Return for each population a matrix [neurons, cores] with 1 where a neuron is on a core."""
    homes = {}
    for one in placement.populations:
        homes[one.name] = torch.zeros(one.neurons, placement.cores, dtype=torch.float64)
        for part in one.parts:
            homes[one.name][torch.from_numpy(part.neurons), part.core] = 1.0
    return homes


def _ways(net: Network, placement: Placement, homes: Mapping[str, Tensor]) -> dict[str, _Way]:
    distance = torch.from_numpy(distances(placement)).double()
    ways: dict[str, _Way] = {}
    for link in Workload.of(net).links:
        counts = np.zeros((link.reach.inputs, placement.cores))
        for part in placement[link.target].parts:
            counts[:, part.core] = link.reach.onto(part.neurons)
        synapses = torch.from_numpy(counts)
        messages = (synapses > 0).double()
        hops = torch.zeros(len(counts), 2, dtype=torch.float64)
        if link.source in homes:
            own = homes[link.source]
            hops = torch.stack([(own @ along * messages).sum(1) for along in distance], 1)
        before = ways.get(link.source)
        if before is not None:
            messages, synapses, hops = before.messages + messages, before.synapses + synapses, before.hops + hops
        ways[link.source] = _Way(messages, synapses, hops)
    return ways


def _routes(home: Tensor, messages: Tensor) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in (home.T @ messages).nonzero()]


def _sum(fired: Tensor, weights: Tensor) -> np.ndarray:
    """Return for each step and sample the sum over neurons of their weights for each core."""
    return (fired @ weights).round().numpy().astype(np.int64)
