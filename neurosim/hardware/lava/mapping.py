"""From a network to a Lava graph of floating-point processes, or to the full list of what Lava cannot hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neurosim.files.problems import Problems
from neurosim.hardware.lava import description
from neurosim.hardware.lava.checks import (
    SUMMARY,
    check_connected,
    check_edge,
    check_population,
    find_latency,
    hop_of,
)
from neurosim.hardware.lava.edges import Projection, as_connections, projection_of
from neurosim.hardware.lava.latency import extra_delay
from neurosim.hardware.lava.layout import conv_process, lava_layout, lava_shape
from neurosim.hardware.lava.learning import PlasticityRule, check_rules, learning_process
from neurosim.hardware.lava.populations import PROCESSES, number
from neurosim.hardware.lava.start_voltage import float_start
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.portability import refuse_unportable
from neurosim.quantities import value_range
from neurosim.synapses.lowering import Convolution, Dense

Synapses = description.DenseProcess | description.SparseProcess | description.ConvProcess


@dataclass(frozen=True)
class LavaMapping:
    """A graph, and for each population the factor from Lava's voltage to the network's membrane, in Lava's layout."""

    graph: description.LavaGraph
    scale: dict[str, np.ndarray]


def map_network(net: Network, rules: Mapping[str, PlasticityRule] | None = None) -> LavaMapping:
    """Return the Lava graph of a network in double precision.

    Parameters
    ----------
    net : Network
    rules : mapping of str to PairSTDP or RewardModulated, optional
        For each edge that learns, by its name.

    Raises
    ------
    ExportError
        With all that Lava cannot hold: node or edge, field, value, what to change.
    """
    problems = Problems(SUMMARY)
    refuse_unportable(net, problems)
    for name, node in net.populations().items():
        check_population(name, node, problems)
    good = [edge for edge in net.edges if check_edge(net, edge, problems)]
    projections = [projection_of(e, net.shape(e.source), net.shape(e.target)) for e in good]
    latency = find_latency(net, projections, problems)
    check_connected(net, problems)
    rules = dict(rules or {})
    check_rules(net, rules, problems)
    delays = {e.edge.name: extra_delay(latency, hop_of(e)) for e in projections} if latency else {}
    projections = [as_connections(e, net.shape(e.edge.source)) if delays.get(e.edge.name) else e for e in projections]
    for name in rules:
        if delays.get(name):
            problems.add(
                f"edge {name!r}",
                f"would have to wait {delays[name]} step(s) on Lava, whose synapses that learn have no delay; change "
                "the delay or the paths beside it",
            )
    gains = {
        name: _Gain.of(n, net.shape(name), name, projections, rules, problems)
        for name, n in net.populations().items()
        if isinstance(n, Neuron) and n.core in PROCESSES
    }
    problems.raise_if_any()
    populations, currents = [], []
    for name, gain in gains.items():
        population, biases = _population(net, name, gain, projections, latency[name], problems)
        populations.append(population)
        currents += biases
    problems.raise_if_any()
    sources = {edge.source for edge in net.edges}
    synapses = [
        _synapses(e, gains[e.edge.target], delays[e.edge.name]) for e in projections if e.edge.name not in rules
    ]
    learning = [
        learning_process(e, rules[e.edge.name], float(gains[e.edge.target].weight), net.dt)
        for e in projections
        if e.edge.name in rules
    ]
    graph = description.LavaGraph(
        sources=tuple(description.SourceProcess(n, lava_shape(net.shape(n))) for n in net.inputs if n in sources),
        populations=tuple(populations),
        dense=tuple(item for item in synapses if isinstance(item, description.DenseProcess)),
        conv=tuple(item for item in synapses if isinstance(item, description.ConvProcess)),
        bias_currents=tuple(currents),
        sparse=tuple(item for item in synapses if isinstance(item, description.SparseProcess)),
        learning=tuple(learning),
    )
    return LavaMapping(graph, {name: lava_layout(gain.scale, gain.scale.ndim) for name, gain in gains.items()})


@dataclass(frozen=True)
class _Gain:
    """The gain of a population's current, in its weights or in its threshold.

    Attributes
    ----------
    weight : numpy.ndarray
        Factor of every current, of the population's shape or without dimensions.
    scale : numpy.ndarray
        Lava's voltage times this is the membrane; the threshold is divided by it.
    """

    weight: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(
        cls,
        neuron: Neuron,
        shape: tuple[int, ...],
        name: str,
        projections: Sequence[Projection],
        rules: Mapping[str, PlasticityRule],
        problems: Problems,
    ) -> _Gain:
        one, process = np.ones(()), PROCESSES[neuron.core]
        gain = process.gain(neuron)
        into = [e for e in projections if e.edge.target == name]
        kernels = [e.connectivity for e in into if isinstance(e.connectivity, Convolution)]
        learns = any(e.edge.name in rules for e in into)
        full = np.broadcast_to(gain, shape)
        shared = gain.ndim == 0 or (not learns and all(_by_channel(full, k) is not None for k in kernels))
        if shared:
            return cls(gain if gain.ndim == 0 else np.broadcast_to(gain, shape), one)
        if not np.all(gain > 0):
            problems.add(
                f"node {name!r}",
                f"r={value_range(number(neuron.value('r')))} differs within a channel and is not positive everywhere; "
                "a shared kernel cannot hold that: use a positive r",
            )
        if not process.scalable:
            problems.add(
                f"node {name!r}",
                f"the gain of its current differs within a channel ({value_range(gain)}); a shared kernel cannot hold "
                f"that, nor can {process.process} have another scale in each neuron: use one r and one tau_mem",
            )
        return cls(one, np.broadcast_to(gain, shape))


def _population(
    net: Network, name: str, gain: _Gain, projections: Sequence[Projection], latency: int, problems: Problems
) -> tuple[description.PopulationProcess, list[description.BiasCurrent]]:
    neuron, shape = net.neurons()[name], net.shape(name)
    process = PROCESSES[neuron.core]

    def on_lava(value: np.ndarray) -> np.ndarray:
        value = np.asarray(value)
        return (
            value if value.ndim == 0 else np.ascontiguousarray(lava_layout(np.broadcast_to(value, shape), len(shape)))
        )

    given = process.arguments(neuron)
    arguments = {key: on_lava(v / gain.scale if key in process.levels else v) for key, v in given.items()}
    arguments |= {key: np.asarray(arguments[key].flat[0]) for key, _ in process.single}
    currents = []
    if process.own_bias and np.any(number(neuron.value("bias"))):
        # Process and core add it to a sum that is 0 before; from the start it would be sent before the data arrive.
        own = on_lava(np.broadcast_to(number(neuron.value("bias")) / gain.scale, shape))
        currents.append(description.BiasCurrent(name, own.reshape(-1), once=True))
    total = sum((e.bias for e in projections if e.edge.target == name and e.bias is not None), np.zeros(shape))
    bias = on_lava(gain.weight * total)
    drive = on_lava(process.drive(neuron) / gain.scale + np.zeros(shape)) if process.drive else np.zeros(())
    at_once = bias if process.bias else drive
    start = _start(at_once, arguments, latency) if at_once.any() else None
    if start is not None:
        arguments |= {"bias_mant": at_once, "v": start}
    elif process.drive and drive.any():
        problems.add(
            f"node {name!r}",
            f"v_leak={value_range(number(neuron.value('v_leak')))} would fire, or decay, before the data arrive; use "
            "v_leak=0.0 or a longer tau_mem",
        )
    if bias.any() and not (process.bias and start is not None):
        currents.append(description.BiasCurrent(name, bias.reshape(-1)))
    return description.PopulationProcess(name, lava_shape(shape), latency, process.process, arguments), currents


def _start(bias: np.ndarray, arguments: dict[str, np.ndarray], latency: int) -> np.ndarray | None:
    low, high = arguments.get("vth_lo", np.asarray(-np.inf)), arguments.get("vth_hi", arguments.get("vth"))
    assert high is not None
    return float_start(bias, arguments["dv"], high, latency, low)


def _synapses(projection: Projection, gain: _Gain, delay: int) -> Synapses:
    edge, weights = projection.edge, projection.connectivity
    ends = (edge.name, edge.source, edge.target)
    weight = weights.weight.numpy()
    if isinstance(weights, Convolution):
        channels = gain.weight if gain.weight.ndim == 0 else _by_channel(gain.weight, weights)
        assert channels is not None  # else the gain is in the threshold
        return conv_process(ends, weights, channels * weight)
    factor = gain.weight if gain.weight.ndim == 0 else gain.weight.reshape(-1)
    late = np.asarray(delay)
    if projection.delays is not None:
        late = late + projection.delays - (projection.shortest - edge.delay_steps)
    if isinstance(weights, Dense):
        late = np.where(weight != 0, late, 0) if late.ndim else late
        return description.DenseProcess(*ends, (factor if factor.ndim == 0 else factor[:, None]) * weight, late)
    post, pre = weights.post.numpy(), weights.pre.numpy()
    scaled = (factor if factor.ndim == 0 else factor[post]) * weight
    return description.SparseProcess(*ends, (weights.n_out, weights.n_in), post, pre, scaled, late)


def _by_channel(values: np.ndarray, convolution: Convolution) -> np.ndarray | None:
    """Return the factors [neurons] as [out, 1, 1, 1], or None where they differ within a channel."""
    channels = torch.from_numpy(values.copy()).reshape(convolution.c_out, -1)
    factors = convolution.row_factors(channels, tuple(channels.shape))
    return None if factors is None else factors.numpy().reshape(-1, 1, 1, 1)
