"""From an integer network of Loihi neurons to the fixed-point processes of Lava, or to what they cannot hold."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch

from neurosim import cores
from neurosim.hardware.lava import description
from neurosim.hardware.lava.edges import Kernel, Lowered, as_connections, lower
from neurosim.hardware.lava.latency import extra_delay
from neurosim.hardware.lava.mapping import (
    Mapped,
    Problems,
    check_connected,
    conv_on_lava,
    find_latency,
    lava_layout,
    lava_shape,
    way_of,
)
from neurosim.hardware.lava.populations import WHOLE_GRADED, number
from neurosim.hardware.loihi import describe, loihi
from neurosim.hardware.loihi.description import LONGEST_DELAY, Connection, Registers
from neurosim.hardware.loihi.neurons import CORES
from neurosim.hardware.loihi.weights import storage
from neurosim.network.graph import Connection as Edge
from neurosim.network.network import Network
from neurosim.synapses.shift import Shift

TOP = 1 << 23
NEVER = 1 << 17  # a threshold that no voltage of 24 bits exceeds
UNITY = 4096


def map_integers(net: Network) -> Mapped:
    """Return the fixed-point graph of an integer network in double precision.

    Raises
    ------
    ExportError
        With all that Lava's fixed-point models cannot hold, or, of `describe`, what is no integer network.
    """
    found, problems = describe(_as_loihi(net)), Problems()
    lowered = {name: _lowered(net, edge, problems) for name, edge in ((e.name, e) for e in net.edges)}
    latency = find_latency(net, list(lowered.values()), problems)
    check_connected(net, problems)
    items = []
    for name, held in found.connections.items():
        waits = extra_delay(latency, way_of(lowered[name])) if latency else 0
        item = _connection(net, lowered[name], held, waits, problems)
        late = 0 if isinstance(item, description.Conv) else int(item.delay.max(initial=0))
        if late > LONGEST_DELAY:
            problems.add(
                f"edge {name!r}",
                f"would have to wait {late} steps on Lava, which holds up to {LONGEST_DELAY}; shorten the delay or the "
                "paths beside it",
            )
        items.append(item)
    populations = [
        _graded(net, registers.name, latency.get(registers.name, 1), problems)
        if net.neurons()[registers.name].core in WHOLE_GRADED
        else _population(net, registers, latency.get(registers.name, 1), problems)
        for registers in found.populations.values()
    ]
    problems.raise_if_any()
    sources = {edge.source for edge in net.edges}
    graph = description.Graph(
        sources=tuple(description.Source(n, lava_shape(net.shape(n))) for n in net.inputs if n in sources),
        populations=tuple(populations),
        dense=tuple(item for item in items if isinstance(item, description.Dense)),
        conv=tuple(item for item in items if isinstance(item, description.Conv)),
        sparse=tuple(item for item in items if isinstance(item, description.Sparse)),
        model="fixed_pt",
    )
    return Mapped(graph, {name: _scale(net, name) for name in found.populations})


def is_integer(net: Network) -> bool:
    """Whether all populations are of whole numbers: Loihi's neuron, or graded spikes without memory."""
    found = [getattr(node, "core", None) for node in net.populations().values()]
    return all(core in (*CORES, *WHOLE_GRADED) for core in found)


def _as_loihi(net: Network) -> Network:
    """Return the network with Loihi's neuron in the place of graded spikes: its edges are what is to be described."""
    shown = copy.deepcopy(net)
    for name, neuron in net.neurons().items():
        if neuron.core in WHOLE_GRADED:
            shown.nodes[name] = loihi(dt=net.dt)
    return shown


def _graded(net: Network, name: str, latency: int, problems: Problems) -> description.Population:
    neuron = net.neurons()[name]
    v_th, process = number(neuron.value("v_th")).astype(np.int64), WHOLE_GRADED[neuron.core]
    if np.any(v_th != v_th.flat[0]):
        problems.add(
            f"node {name!r}",
            f"v_th={_shown(v_th)}; {process} holds one for a population: give all its neurons the same",
        )
    return description.Population(
        name, lava_shape(net.shape(name)), latency, process, {"vth": np.asarray(v_th.flat[0])}
    )


def _scale(net: Network, name: str) -> np.ndarray:
    """Return the membrane over Lava's voltage: one that is read out is a multiple of its unit."""
    neuron = net.neurons()[name]
    if neuron.core is not cores.loihi_integrator:
        return np.ones(())
    return 1.0 / torch.as_tensor(neuron.value("unit"), dtype=torch.float64).numpy()


def _lowered(net: Network, edge: Edge, problems: Problems) -> Lowered:
    maps = tuple(s for s in edge.synapses if not isinstance(s, Shift))
    if edge.source in net.populations():
        source = net.neurons()[edge.source]
        if source.core is cores.loihi_integrator:
            problems.add(f"edge {edge.name!r}", f"sends the membrane of {edge.source!r}; on Lava it is only read out")
    return lower(replace(edge, synapses=maps), net.shape(edge.source), net.shape(edge.target))


def _connection(
    net: Network, lowered: Lowered, held: Connection, waits: int, problems: Problems
) -> description.Dense | description.Sparse | description.Conv:
    if isinstance(lowered.maps, Kernel) and (waits or held.exponent or held.largest >= TOP):
        lowered = as_connections(lowered, net.shape(held.source))  # Lava's Conv has no exponent and wraps at 24 bits
    ends, maps = (held.name, held.source, held.target), lowered.maps
    if isinstance(maps, Kernel):
        return conv_on_lava(ends, maps, np.rint(maps.weight).astype(np.int64))
    late = np.asarray(waits, np.int64)
    if lowered.delays is not None:
        late = late + lowered.delays - (lowered.shortest - held.delay_steps)
    if isinstance(maps, np.ndarray):
        whole = np.rint(maps).astype(np.int64)
        late = np.where(whole != 0, late, 0) if late.ndim else late
        return description.Dense(*ends, whole, late, *_storage(whole, held, problems))
    listed = maps.tocoo()
    whole = np.rint(listed.data).astype(np.int64)
    places = listed.row.astype(np.int64), listed.col.astype(np.int64)
    shape = tuple(int(n) for n in listed.shape)
    exponent, bits, signs = _storage(whole, held, problems)
    return description.Sparse(*ends, shape, *places, whole, late, exponent, bits, signs)


def _storage(weight: np.ndarray, held: Connection, problems: Problems) -> tuple[int, int, str]:
    """Return exponent, bits and signs; where maps were put together the weights are others than the edge's own."""
    mode, bits = storage(torch.from_numpy(weight.astype(np.float64)))
    if not bits:
        problems.add(
            f"edge {held.name!r}",
            f"its pool and its weights, or several synapses of one pair, together come to weights up to "
            f"{np.abs(weight).max()}, which the chip cannot hold: use windows that do not overlap, or smaller weights",
        )
    return held.exponent, bits, mode.value


def _population(net: Network, held: Registers, latency: int, problems: Problems) -> description.Population:
    where, shape = f"node {held.name!r}", held.shape
    if np.any(held.refractory > 1):
        problems.add(
            where, f"refractory={_shown(held.refractory)}; Lava's fixed-point neurons never rest: use refractory=1"
        )
    if np.any(held.du < 0):
        problems.add(where, f"du={_shown(held.du)}; Lava's neurons have the offset bit on: use du from 0")

    def on_lava(value: np.ndarray) -> np.ndarray:
        if value.ndim == 0:
            return value
        return np.ascontiguousarray(lava_layout(np.broadcast_to(value, shape), len(shape)))

    v_th = np.asarray(NEVER, np.int64) if held.v_th is None else held.v_th
    arguments = {"du": on_lava(held.du), "dv": on_lava(held.dv), "vth": on_lava(v_th)}
    if not held.bias_mant.any():
        return description.Population(held.name, lava_shape(shape), latency, "LIF", arguments)
    arguments |= {"bias_mant": on_lava(held.bias_mant), "bias_exp": on_lava(held.bias_exp)}
    bias, every = held.bias_mant << held.bias_exp, np.zeros(shape, np.int64)
    start = whole_start(every + bias, every + held.dv, every + v_th, latency)
    process = "LIF"
    if start is None:
        # What comes from above 0 would fire, or starts outside 24 bits: it is put to 0 as the data arrive instead.
        process = "LIFReset"
        start = whole_start(np.maximum(every + bias, 0), every + held.dv, every + v_th, latency)
        if start is None:
            problems.add(
                where,
                f"bias={_shown(bias)} would fire, or leave 24 bits, in the {latency} steps before the data arrive; "
                "lower the bias, or bring the population nearer to the input",
            )
            start = every
        arguments |= {"reset_interval": np.asarray(1 << 30), "reset_offset": np.asarray(latency + 1)}
    return description.Population(held.name, lava_shape(shape), latency, process, {**arguments, "v": on_lava(start)})


def whole_start(bias: np.ndarray, dv: np.ndarray, vth: np.ndarray, steps: int) -> np.ndarray | None:
    """Return the voltage from which `steps` steps of bias alone lead to 0, in the chip's own arithmetic.

    Of each step's voltages that decay to what is needed the smallest is taken. None where that leaves 24 bits or fires
    on the way; with ``dv = 4096``, which keeps nothing, only the latter can be.

    Parameters
    ----------
    bias, dv, vth : numpy.ndarray of int64
        Of one shape; `bias` with its exponent, `vth` without the factor 64.
    steps : int
        Steps until the data arrive.
    """
    kept = UNITY - dv
    forgets = kept == 0
    v = np.zeros_like(bias)
    way = [v]
    for _ in range(steps):
        size = np.abs(v - bias)
        needed = np.where(forgets, 0, -(-(size * UNITY) // np.where(forgets, 1, kept)))
        v = np.sign(v - bias) * needed
        way.append(v)
    if any(np.any(np.abs(v) >= TOP) for v in way):
        return None
    start = v = way[-1]
    for _ in range(steps):
        v = np.sign(v) * ((np.abs(v) * kept) >> 12) + bias
        if np.any(v > vth << 6):
            return None
    return start if np.all((v == 0) | forgets) else None


def _shown(values: np.ndarray) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
