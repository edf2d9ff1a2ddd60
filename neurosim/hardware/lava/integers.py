"""From an integer network of Loihi neurons to the fixed-point processes of Lava, or to what they cannot hold."""

from __future__ import annotations

import copy

import numpy as np
import torch

from neurosim import cores
from neurosim.errors import ExportError, InputError
from neurosim.files.problems import Problems
from neurosim.hardware.lava import description
from neurosim.hardware.lava.checks import SUMMARY, check_connected, find_latency, hop_of
from neurosim.hardware.lava.edges import Projection, as_connections, projection_of
from neurosim.hardware.lava.latency import extra_delay
from neurosim.hardware.lava.layout import conv_process, lava_layout, lava_shape
from neurosim.hardware.lava.mapping import LavaMapping, Synapses
from neurosim.hardware.lava.populations import INTEGER_GRADED, number
from neurosim.hardware.lava.start_voltage import TOP, integer_start
from neurosim.hardware.loihi import describe, loihi_neurons
from neurosim.hardware.loihi.description import LONGEST_DELAY, IntegerEdge, Registers
from neurosim.hardware.loihi.neurons import CORES
from neurosim.hardware.loihi.weights import storage
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.portability import refuse_unportable
from neurosim.quantities import value_range
from neurosim.synapses.lowering import Convolution, Dense

NEVER = 1 << 17  # a threshold above every voltage of 24 bits


def map_integers(net: Network) -> LavaMapping:
    """Return the fixed-point graph of an integer network in double precision.

    Raises
    ------
    ExportError
        With all that Lava's fixed-point models cannot hold, or, of `describe`, what is no integer network.
    """
    problems = Problems(SUMMARY)
    refuse_unportable(net, problems)
    described = describe(_as_loihi(net))
    projections = {edge.name: _projection(net, edge, problems) for edge in net.edges}
    latency = find_latency(net, list(projections.values()), problems)
    check_connected(net, problems)
    items = []
    for name, connection in described.edges.items():
        waits = extra_delay(latency, hop_of(projections[name])) if latency else 0
        item = _synapses(net, projections[name], connection, waits, problems)
        late = 0 if isinstance(item, description.ConvProcess) else int(item.delay.max(initial=0))
        if late > LONGEST_DELAY:
            problems.add(
                f"edge {name!r}",
                f"would have to wait {late} steps on Lava, which holds up to {LONGEST_DELAY}; shorten the delay or the "
                "paths beside it",
            )
        items.append(item)
    populations = [
        _graded(net, registers.name, latency.get(registers.name, 1), problems)
        if net.neurons()[registers.name].core in INTEGER_GRADED
        else _population(net, registers, latency.get(registers.name, 1), problems)
        for registers in described.populations.values()
    ]
    problems.raise_if_any()
    sources = {edge.source for edge in net.edges}
    graph = description.LavaGraph(
        sources=tuple(description.SourceProcess(n, lava_shape(net.shape(n))) for n in net.inputs if n in sources),
        populations=tuple(populations),
        dense=tuple(item for item in items if isinstance(item, description.DenseProcess)),
        conv=tuple(item for item in items if isinstance(item, description.ConvProcess)),
        sparse=tuple(item for item in items if isinstance(item, description.SparseProcess)),
        model="fixed_pt",
    )
    return LavaMapping(graph, {name: _scale(net, name) for name in described.populations})


def is_integer(net: Network) -> bool:
    """Whether all populations compute in integers: Loihi's neuron, or graded spikes without memory."""
    used = [getattr(node, "core", None) for node in net.populations().values()]
    return all(core in (*CORES, *INTEGER_GRADED) for core in used)


def _as_loihi(net: Network) -> Network:
    """Return the network with Loihi's neuron in place of graded spikes, so that `describe` reads its edges."""
    replaced = copy.deepcopy(net)
    for name, neuron in net.neurons().items():
        if neuron.core in INTEGER_GRADED:
            replaced.nodes[name] = loihi_neurons(dt=net.dt)
    return replaced


def _graded(net: Network, name: str, latency: int, problems: Problems) -> description.PopulationProcess:
    neuron = net.neurons()[name]
    v_th, process = number(neuron.value("v_th")).astype(np.int64), INTEGER_GRADED[neuron.core]
    if np.any(v_th != v_th.flat[0]):
        problems.add(
            f"node {name!r}",
            f"v_th={value_range(v_th)}; {process} has one for a population: give all its neurons the same",
        )
    return description.PopulationProcess(
        name, lava_shape(net.shape(name)), latency, process, {"vth": np.asarray(v_th.flat[0])}
    )


def _scale(net: Network, name: str) -> np.ndarray:
    """Return the membrane over Lava's voltage: one that is read out is a multiple of its unit."""
    neuron = net.neurons()[name]
    if neuron.core is not cores.loihi_integrator:
        return np.ones(())
    return 1.0 / torch.as_tensor(neuron.value("unit"), dtype=torch.float64).numpy()


def _projection(net: Network, edge: Connection, problems: Problems) -> Projection:
    if edge.source in net.populations():
        source = net.neurons()[edge.source]
        if source.core is cores.loihi_integrator:
            problems.add(f"edge {edge.name!r}", f"sends the membrane of {edge.source!r}; on Lava it is only read out")
    try:
        return projection_of(edge, net.shape(edge.source), net.shape(edge.target))
    except InputError as error:
        raise ExportError(f"edge {edge.name!r}: {error}") from None


def _synapses(net: Network, projection: Projection, edge: IntegerEdge, waits: int, problems: Problems) -> Synapses:
    if waits or edge.exponent or edge.largest >= TOP:
        projection = as_connections(
            projection, net.shape(edge.source)
        )  # Lava's Conv has no exponent and wraps at 24 bits
    ends, weights = (edge.name, edge.source, edge.target), projection.connectivity
    weight = np.rint(weights.weight.numpy()).astype(np.int64)
    if isinstance(weights, Convolution):
        return conv_process(ends, weights, weight)
    late = np.asarray(waits, np.int64)
    if projection.delays is not None:
        late = late + projection.delays - (projection.shortest - edge.delay_steps)
    exponent, bits, signs = _storage(weight, edge, problems)
    if isinstance(weights, Dense):
        late = np.where(weight != 0, late, 0) if late.ndim else late
        return description.DenseProcess(*ends, weight, late, exponent, bits, signs)
    post, pre = weights.post.numpy(), weights.pre.numpy()
    shape = (weights.n_out, weights.n_in)
    return description.SparseProcess(*ends, shape, post, pre, weight, late, exponent, bits, signs)


def _storage(weight: np.ndarray, edge: IntegerEdge, problems: Problems) -> tuple[int, int, str]:
    """Return exponent, bits and signs; the weights of composed synapses differ from the edge's own."""
    mode, bits = storage(torch.from_numpy(weight.astype(np.float64)))
    if not bits:
        problems.add(
            f"edge {edge.name!r}",
            "its pool and its weights, or several synapses of one pair, have sums or products up to "
            f"{np.abs(weight).max()}, which the chip cannot hold: use windows that do not overlap, or smaller weights",
        )
    return edge.exponent, bits, mode.value


def _population(net: Network, registers: Registers, latency: int, problems: Problems) -> description.PopulationProcess:
    where, shape = f"node {registers.name!r}", registers.shape
    if np.any(registers.refractory > 1):
        problems.add(
            where,
            f"refractory={value_range(registers.refractory)}; Lava's fixed-point neurons have no refractory period: "
            "use refractory=1",
        )
    if np.any(registers.du < 0):
        problems.add(where, f"du={value_range(registers.du)}; Lava's neurons have the offset bit on: use du from 0")

    def on_lava(value: np.ndarray) -> np.ndarray:
        if value.ndim == 0:
            return value
        return np.ascontiguousarray(lava_layout(np.broadcast_to(value, shape), len(shape)))

    v_th = np.asarray(NEVER, np.int64) if registers.v_th is None else registers.v_th
    arguments = {"du": on_lava(registers.du), "dv": on_lava(registers.dv), "vth": on_lava(v_th)}
    if not registers.bias_mant.any():
        return description.PopulationProcess(registers.name, lava_shape(shape), latency, "LIF", arguments)
    arguments |= {"bias_mant": on_lava(registers.bias_mant), "bias_exp": on_lava(registers.bias_exp)}
    bias, every = registers.bias_mant << registers.bias_exp, np.zeros(shape, np.int64)
    start = integer_start(every + bias, every + registers.dv, every + v_th, latency)
    process = "LIF"
    if start is None:
        # From above 0 it would fire, or start outside 24 bits: the voltage is set to 0 when the data arrive instead.
        process = "LIFReset"
        start = integer_start(np.maximum(every + bias, 0), every + registers.dv, every + v_th, latency)
        if start is None:
            problems.add(
                where,
                f"bias={value_range(bias)} would fire, or exceed 24 bits, in the {latency} steps before the data "
                "arrive; lower the bias, or use fewer populations between the input and this one",
            )
            start = every
        arguments |= {"reset_interval": np.asarray(1 << 30), "reset_offset": np.asarray(latency + 1)}
    return description.PopulationProcess(
        registers.name, lava_shape(shape), latency, process, {**arguments, "v": on_lava(start)}
    )
