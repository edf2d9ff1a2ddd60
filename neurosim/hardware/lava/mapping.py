"""From a network to a Lava graph, or to the full list of what Lava cannot hold."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from neurosim import cores
from neurosim.errors import ExportError
from neurosim.graph import Connection
from neurosim.hardware.lava import description
from neurosim.hardware.lava.latency import Cycle, Way, extra_delay, latencies
from neurosim.network import Network
from neurosim.neurons import Neuron
from neurosim.population import Population
from neurosim.synapses import (
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Sparse,
    Standardised,
    SumPool2d,
    Synapse,
)
from neurosim.synapses.delayed import DelayedLinear, RoundedDelays

_BY_DELAY = "give each delay an edge of its own, see RoundedDelays.by_delay"

_FOLD = "put it into the weights with neurosim.hardware.fold(net), and export what that returns"

_INSTEAD: dict[type[Synapse], str] = {
    BatchNorm: _FOLD,
    Standardised: _FOLD,
    AvgPool2d: "Lava has no pooling process; use a Conv2d with a stride",
    SumPool2d: "Lava has no pooling process; use a Conv2d with a stride",
    MaxPool2d: "Lava has no pooling process; use a Conv2d with a stride",
    Sparse: "sparse synapses are not exported; use Linear with the same weights",
    DelayedLinear: f"its delays are not in whole steps; round them with rounded() and {_BY_DELAY}",
    RoundedDelays: f"the graph holds one delay for each connection; {_BY_DELAY}",
    Conv1d: "Lava has no convolution over one axis; use Conv2d with a kernel of height 1",
}


@dataclass(frozen=True)
class Mapped:
    """A graph, and for each population the factor from Lava's voltage to the network's membrane, in Lava's layout."""

    graph: description.Graph
    scale: dict[str, np.ndarray]


@dataclass
class _Problems:
    found: list[str] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        self.found.append(f"{where}: {what}")


@dataclass(frozen=True)
class _Weights:
    """The one synapse with weights of an edge that Lava can hold."""

    edge: Connection
    synapse: Linear | Conv2d


def map_network(net: Network) -> Mapped:
    """Return the Lava graph of a network in double precision.

    Raises
    ------
    ExportError
        With all that Lava cannot hold: node or edge, field, value, what to change.
    """
    problems = _Problems()
    for name, node in net.populations().items():
        _check_population(name, node, problems)
    weights = [w for w in (_check_edge(edge, problems) for edge in net.edges) if w is not None]
    latency = _latency(net, problems)
    delays = {edge.name: extra_delay(latency, _way(edge)) for edge in net.edges} if latency else {}
    for w in weights:
        if isinstance(w.synapse, Conv2d) and delays.get(w.edge.name):
            problems.add(
                f"edge {w.edge.name!r}",
                f"would have to wait {delays[w.edge.name]} step(s) on Lava (its own delay is "
                f"{w.edge.delay_steps} step(s), each connection takes one, and all that reaches a node must arrive "
                "together); Lava has no delayed convolution: change the delay or the paths beside it, or use Flatten "
                "and Linear",
            )
    _check_connected(net, problems)
    gains = {
        name: _Gain.of(n, net.shape(name), name, weights, problems)
        for name, n in net.populations().items()
        if isinstance(n, Neuron) and n.core in _LEAKY_OR_PERFECT
    }
    if problems.found:
        listed = "\n".join(f"  - {problem}" for problem in problems.found)
        raise ExportError(f"Lava cannot hold this network:\n{listed}")
    populations, currents = [], []
    for name, gain in gains.items():
        population, current = _population(net, name, gain, weights, latency[name])
        populations.append(population)
        currents += [current] if current is not None else []
    sources = {edge.source for edge in net.edges}
    graph = description.Graph(
        sources=tuple(description.Source(n, lava_shape(net.shape(n))) for n in net.inputs if n in sources),
        populations=tuple(populations),
        dense=tuple(
            _dense(w, gains[w.edge.target], delays[w.edge.name]) for w in weights if isinstance(w.synapse, Linear)
        ),
        conv=tuple(_conv(w, gains[w.edge.target]) for w in weights if isinstance(w.synapse, Conv2d)),
        bias_currents=tuple(currents),
    )
    return Mapped(graph, {name: lava_layout(gain.scale, gain.scale.ndim) for name, gain in gains.items()})


def lava_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return Lava's shape of a population: (W, H, C) for (C, H, W)."""
    return shape[::-1] if len(shape) == 3 else shape


def lava_layout(values: np.ndarray, dimensions: int) -> np.ndarray:
    """Turn the last `dimensions` axes of `values` between the network's order and Lava's; its own inverse."""
    if dimensions != 3:
        return values
    return values.transpose(*range(values.ndim - 3), -1, -2, -3)


_LEAKY_OR_PERFECT = (cores.lif, cores.slow_lif, cores.integrate_and_fire, cores.cubalif)


def _check_population(name: str, neuron: Population, problems: _Problems) -> None:
    where = f"node {name!r}"
    if not isinstance(neuron, Neuron):
        kind = type(neuron).__name__
        problems.add(where, f"is a {kind}, for which Lava has no process; use IF, LIF or CubaLIF and train again")
        return
    if type(neuron) is not Neuron:
        problems.add(
            where, f"is a {type(neuron).__name__}, whose step may differ from its core's; use ns.LIF and the like"
        )
    if neuron.core not in _LEAKY_OR_PERFECT:
        problems.add(where, f"its core is {neuron.core.name!r}, for which Lava has no process; use IF, LIF or CubaLIF")
        return
    if neuron.reset != "value":
        amount = _shown(_number(neuron.value("reset_amount"))) if neuron.takes_own_amount else ""
        own = f" with reset_amount={amount}" if amount else ""
        problems.add(where, f'reset={neuron.reset!r}{own}; Lava\'s LIF knows only the reset to 0; use reset="value"')
    v_reset, v_th = _number(neuron.value("v_reset")), _number(neuron.value("v_th"))
    if np.any(v_reset != 0):
        problems.add(where, f"v_reset={_shown(v_reset)}; Lava's LIF resets to 0; use v_reset=0.0")
    if np.any(v_th < 0):
        problems.add(
            where,
            f"v_th={_shown(v_th)}; below 0 it would fire on Lava before the data arrive; use a threshold from 0",
        )


def _check_edge(edge: Connection, problems: _Problems) -> _Weights | None:
    where = f"edge {edge.name!r}"
    known = (Linear, Conv2d, Flatten)
    strange = [synapse for synapse in edge.synapses if type(synapse) not in known]
    for synapse in strange:
        why = _INSTEAD.get(type(synapse), "Lava has no process for it; use Linear or Conv2d")
        problems.add(where, f"holds {type(synapse).__name__}; {why}")
    weights = [s for s in edge.synapses if isinstance(s, (Linear, Conv2d))]
    if strange:
        return None
    if len(weights) != 1:
        names = ", ".join(type(s).__name__ for s in edge.synapses)
        problems.add(where, f"holds {len(weights)} synapses with weights ({names}); Lava holds one on each edge")
        return None
    for field_name in ("weight", "bias"):
        values = getattr(weights[0], field_name)
        if values is not None and not torch.isfinite(values).all():
            problems.add(
                where,
                f"{type(weights[0]).__name__}.{field_name} holds NaN or infinity; train again or load another state",
            )
    return _Weights(edge, weights[0])


def _way(edge: Connection) -> Way:
    return Way(edge.name, edge.source, edge.target, edge.delay_steps)


def _latency(net: Network, problems: _Problems) -> dict[str, int]:
    try:
        return latencies(net.inputs, list(net.populations()), [_way(edge) for edge in net.edges])
    except Cycle as cycle:
        path = " -> ".join([cycle.ways[0].source, *(way.target for way in cycle.ways)])
        steps, needed = sum(way.delay for way in cycle.ways), len(cycle.ways)
        problems.add(
            f"cycle {path}",
            f"its delays are {steps} step(s) in all, but its {needed} connections take {needed} steps on Lava; give "
            f"its edges delays of at least {needed} steps ({needed * net.dt:g} s) in all",
        )
        return {}


def _check_connected(net: Network, problems: _Problems) -> None:
    group = {name: name for name in (*net.inputs, *net.populations())}
    for edge in net.edges:
        one, other = group[edge.source], group[edge.target]
        group = {name: one if member == other else member for name, member in group.items()}
    parts = sorted({tuple(n for n in net.populations() if group[n] == member) for member in group.values()} - {()})
    if len(parts) > 1:
        shown = " and ".join(str(list(part)) for part in parts)
        problems.add("network", f"falls into parts that share no edge: {shown}; export each as a network of its own")


@dataclass(frozen=True)
class _Gain:
    """How a current acts on the membrane: into the weights, or out of the threshold.

    Attributes
    ----------
    weight : numpy.ndarray
        Factor of everything that arrives, of the population's shape or without dimensions.
    scale : numpy.ndarray
        Lava's voltage times this is the membrane; the threshold is divided by it.
    """

    weight: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(
        cls, neuron: Neuron, shape: tuple[int, ...], name: str, weights: list[_Weights], problems: _Problems
    ) -> _Gain:
        one = np.ones(())
        gain = _number(neuron.value("r"))
        if neuron.core is not cores.integrate_and_fire:
            gain = (1.0 - _number(neuron.decay("tau_mem"))) * gain
        convs = [w for w in weights if w.edge.target == name and isinstance(w.synapse, Conv2d)]
        shared = gain.ndim == 0 or all(_per_channel(np.broadcast_to(gain, shape), w) is not None for w in convs)
        if shared:
            return cls(gain if gain.ndim == 0 else np.broadcast_to(gain, shape), one)
        if not np.all(gain > 0):
            problems.add(
                f"node {name!r}",
                f"r={_shown(_number(neuron.value('r')))} differs within a channel and is not positive everywhere; a "
                "shared kernel cannot hold that: use a positive r",
            )
        return cls(one, np.broadcast_to(gain, shape))


def _per_channel(values: np.ndarray, weights: _Weights) -> np.ndarray | None:
    """Return one value for each channel if they are the same all over it."""
    channels = values.reshape(weights.synapse.weight.shape[0], -1)
    return channels[:, 0] if np.all(channels == channels[:, :1]) else None


def _population(
    net: Network, name: str, gain: _Gain, weights: list[_Weights], latency: int
) -> tuple[description.Population, description.BiasCurrent | None]:
    neuron, shape = net.neurons()[name], net.shape(name)

    def on_lava(value: np.ndarray) -> np.ndarray:
        value = np.asarray(value, dtype=np.float64)
        return (
            value if value.ndim == 0 else np.ascontiguousarray(lava_layout(np.broadcast_to(value, shape), len(shape)))
        )

    one = np.ones(())
    du = one - _number(neuron.decay("tau_syn")) if neuron.core is cores.cubalif else one
    dv = np.zeros(()) if neuron.core is cores.integrate_and_fire else one - _number(neuron.decay("tau_mem"))
    vth = _number(neuron.value("v_th")) / gain.scale
    bias = on_lava(gain.weight * _bias(name, shape, weights))
    plain = {"du": on_lava(du), "dv": on_lava(dv), "vth": on_lava(vth)}
    population = description.Population(name, lava_shape(shape), latency, **plain)
    if not bias.any():
        return population, None
    start = None if neuron.core is cores.cubalif else initial_voltage(bias, plain["dv"], plain["vth"], latency)
    if start is None:
        return population, description.BiasCurrent(name, bias.reshape(-1))
    return description.Population(name, lava_shape(shape), latency, **plain, bias=bias, v=start), None


def _bias(name: str, shape: tuple[int, ...], weights: list[_Weights]) -> np.ndarray:
    total = np.zeros(shape)
    for w in weights:
        if w.edge.target == name and w.synapse.bias is not None:
            values = _array(w.synapse.bias)
            total += np.broadcast_to(values.reshape(-1, 1), (values.size, total.size // values.size)).reshape(shape)
    return total


def initial_voltage(bias: np.ndarray, dv: np.ndarray, vth: np.ndarray, steps: int) -> np.ndarray | None:
    """Return the voltage from which `steps` steps of bias alone lead to 0, without a spike on the way.

    Lava integrates a bias from its first step on, but the data reach a population only after `steps` steps. Started at
    ``-bias * sum_{j=1..steps} (1-dv)^-j`` it is at 0 when they do. A negative bias starts above 0; where that would
    cross the threshold, or the start is not finite because the leak is nearly complete, there is no such voltage.

    Parameters
    ----------
    bias, dv, vth : numpy.ndarray
        As Lava's ``LIF`` takes them.
    steps : int
        Steps until the data arrive.

    Returns
    -------
    numpy.ndarray or None
        Start, of the shape of `bias`; the way down is gone through in the arithmetic of Lava itself.
    """
    keep = 1.0 - dv
    with np.errstate(all="ignore"):
        start = v = -bias * sum(keep ** -float(j) for j in range(1, steps + 1))
        if not np.all(np.isfinite(start)):
            return None
        for _ in range(steps):
            v = v * (1.0 - dv) + bias
            if np.any(v > vth):
                return None
    return start if np.all(np.abs(v) <= 1e-12 * np.abs(bias)) else None


def _dense(w: _Weights, gain: _Gain, delay: int) -> description.Dense:
    factor = gain.weight if gain.weight.ndim == 0 else gain.weight.reshape(-1, 1)
    return description.Dense(w.edge.name, w.edge.source, w.edge.target, factor * _array(w.synapse.weight), delay)


def _conv(w: _Weights, gain: _Gain) -> description.Conv:
    synapse = w.synapse
    assert isinstance(synapse, Conv2d)
    factor = gain.weight
    if factor.ndim:
        per_channel = _per_channel(factor, w)
        assert per_channel is not None  # else the gain went into the threshold
        factor = per_channel.reshape(-1, 1, 1, 1)
    kernel = factor * _array(synapse.weight)
    return description.Conv(
        w.edge.name,
        w.edge.source,
        w.edge.target,
        weight=np.ascontiguousarray(kernel[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)),  # Lava convolves, torch correlates
        stride=_width_height(synapse.stride),
        padding=_width_height(synapse.padding),
        dilation=_width_height(synapse.dilation),
        groups=synapse.groups,
    )


def _width_height(pair: tuple[int, ...]) -> tuple[int, int]:
    height, width = pair
    return width, height


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()


def _number(value: float | torch.Tensor) -> np.ndarray:
    return _array(value) if isinstance(value, torch.Tensor) else np.asarray(value, dtype=np.float64)


def _shown(value: np.ndarray) -> str:
    if value.ndim == 0:
        return f"{float(value):g}"
    return f"{float(value.min()):g} to {float(value.max()):g}"
