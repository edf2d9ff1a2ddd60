"""Operations of a network on real input, counted at the input of every synapse module."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from neurosim.energy.fanout import FanOutCounts, fan_out
from neurosim.energy.operations import NodeOperations, Operations, SynapseOperations
from neurosim.errors import InputError
from neurosim.network.graph import NetworkState
from neurosim.network.in_flight import arriving
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.portability import refuse_sources
from neurosim.synapses import Synapse

# Values in memory at once, for one chunk of time: 64 MiB in single precision.
_VALUES_AT_ONCE = 2**24


def count_operations(
    net: Network,
    x: Tensor | Mapping[str, Tensor],
    state: NetworkState | None = None,
    *,
    chunk: int | None = None,
) -> Operations:
    """Run a network and count its operations on the spikes of this run.

    An effective synaptic operation is a pair of an input that is not zero and a weight that is not zero, as in
    NeuroBench; the synapses of each event are counted exactly, at the borders of convolutions too. The run goes through
    time in chunks, so a long input needs no more memory than a short one.

    Parameters
    ----------
    net : Network
        Any network; its parameters are not changed.
    x : Tensor [T, B, *input shape], or mapping of input node to such
        The samples, finite.
    state : NetworkState, optional
        State at the start; the initial state by default.
    chunk : int, optional
        Steps of a chunk; chosen from the network's size by default. The counts do not depend on it.

    Returns
    -------
    Operations
        Exact totals over all samples.

    Raises
    ------
    InputError
        When x is empty or not finite, `chunk` is below 1, or a node or synapse cannot be counted.
    ShapeError
        When x does not fit the network.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.energy import count_operations
    >>> net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3), names=("out",))
    >>> counts = count_operations(net, torch.eye(3)[:, None])     # three steps, one event in each
    >>> counts.accumulates, counts.dense
    (6, 18)
    """
    data = data_of(net, x)
    steps, samples = extent(data)
    counters = _counters(net)
    spikes = dict.fromkeys(net.neurons(), 0)
    with torch.no_grad():
        for _, outputs, before in runs(net, data, state, chunk):
            for name, neuron in net.neurons().items():
                if neuron.is_spiking:
                    spikes[name] += int(torch.count_nonzero(outputs[name]))
            _count_edges(net, counters, outputs, before)
    nodes = tuple(_node(net, name, neuron, steps * samples, spikes[name]) for name, neuron in net.neurons().items())
    return Operations(tuple(c.result(steps * samples) for c in counters.values()), nodes, steps, samples, net.dt)


def data_of(net: Network, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the data by input node, for a network whose operations can be counted."""
    _check_nodes(net)
    return dict(x) if isinstance(x, Mapping) else {net.inputs[0]: x}


@torch.no_grad()
def runs(
    net: Network, data: Mapping[str, Tensor], state: NetworkState | None, chunk: int | None
) -> Iterator[tuple[int, dict[str, Tensor], NetworkState]]:
    """Run a network in chunks of time.

    Yields
    ------
    start : int
        First step of the chunk.
    outputs : dict of str to Tensor [steps of the chunk, B, ...]
        Of all inputs and nodes of neurons.
    before : NetworkState
        The state before the chunk.
    """
    steps, samples = extent(data)
    if chunk is None:
        width = sum(math.prod(net.shape(name)) for name in net.nodes)
        chunk = max(1, _VALUES_AT_ONCE // (samples * width))
    if chunk < 1:
        raise InputError(f"chunk must be at least 1; got {chunk}.")
    names = tuple(net.neurons())
    for start in range(0, steps, chunk):
        part = {name: values[start : start + chunk] for name, values in data.items()}
        before = net.initial_state(part) if state is None else state
        _, state, outputs, *_ = net.run(part, before, names)
        yield start, {**outputs, **part}, before


class _Counter:
    """Events at each input of one synapse module, summed over the run."""

    def __init__(self, name: str, layer: str, synapse: Synapse, shape: tuple[int, ...], fan: FanOutCounts) -> None:
        self.name, self.layer, self.kind = name, layer, type(synapse).__name__
        self.shape, self.after, self.fan = shape, synapse.output_shape(shape), fan
        self.events = torch.zeros(math.prod(shape), dtype=torch.int64)
        self.graded = False

    def add(self, x: Tensor) -> None:
        flat = x.reshape(-1, self.events.numel())
        self.events += torch.count_nonzero(flat, dim=0).cpu()
        self.graded = self.graded or bool(((flat != 0) & (flat.abs() != 1)).any())

    def result(self, passes: int) -> SynapseOperations:
        fan = self.fan
        return SynapseOperations(
            name=self.name,
            layer=self.layer,
            kind=self.kind,
            input_shape=self.shape,
            output_shape=self.after,
            weights=fan.weights,
            biases=fan.biases,
            kernel=fan.kernel,
            connections=int(fan.existing.sum()),
            passes=passes,
            events=int(self.events.sum()),
            addressed=int((self.events * fan.existing.cpu()).sum()),
            effective=int((self.events * fan.effective.cpu()).sum()),
            graded=self.graded,
        )


def _check_nodes(net: Network) -> None:
    refuse_sources(net, "count_operations")
    for name, population in net.populations().items():
        if not isinstance(population, Neuron):
            raise InputError(
                f"node {name!r} is a {type(population).__name__}, which has no core whose operations can be counted. "
                "Count a network of IF, LIF and the like."
            )


def extent(data: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return steps and samples of the data, which are checked."""
    for name, values in data.items():
        if not isinstance(values, Tensor) or values.dim() < 2 or not values.shape[0] or not values.shape[1]:
            got = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise InputError(
                f"x for {name!r} must be a tensor [T, B, ...] with at least one step and sample; got {got}."
            )
        if not torch.isfinite(values).all():
            raise InputError(f"x for {name!r} holds NaN or infinite values; operations need finite input.")
    first = next(iter(data.values()))
    return first.shape[0], first.shape[1]


def _counters(net: Network) -> dict[tuple[str, int], _Counter]:
    counters = {}
    for edge in net.edges:
        shape = net.shape(edge.source)
        fans = []
        for synapse in edge.synapses:
            fans.append((fan_out(synapse, shape), synapse, shape))
            shape = synapse.output_shape(shape)
        several = sum(fan is not None for fan, _, _ in fans) > 1
        for k, (fan, synapse, before) in enumerate(fans):
            if fan is not None:
                name = f"{edge.name}[{k}]" if several else edge.name
                counters[edge.name, k] = _Counter(name, edge.target, synapse, before, fan)
    return counters


def _count_edges(
    net: Network, counters: dict[tuple[str, int], _Counter], outputs: Mapping[str, Tensor], before: NetworkState
) -> None:
    for edge in net.edges:
        z = arriving(edge, outputs[edge.source], before)
        last = max((k for name, k in counters if name == edge.name), default=-1)
        for k, synapse in enumerate(edge.synapses[: last + 1]):
            if (edge.name, k) in counters:
                counters[edge.name, k].add(z)
            if k < last:
                z = synapse(z)


def _node(net: Network, name: str, neuron: Neuron, passes: int, spikes: int) -> NodeOperations:
    arithmetic = neuron.operations()
    return NodeOperations(
        name=name,
        kind=neuron.core.name,
        neurons=math.prod(net.shape(name)),
        passes=passes,
        spikes=spikes,
        spiking=neuron.is_spiking,
        resets=spikes if neuron.reset is not None else 0,
        states=arithmetic.state,
        additions=arithmetic.add,
        multiplications=arithmetic.mul,
        unpriced=arithmetic.div + arithmetic.function,
        out_edges=sum(edge.source == name for edge in net.edges),
    )
