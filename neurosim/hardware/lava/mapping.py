"""From a network to a Lava graph, or to the full list of what Lava cannot hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from neurosim import cores
from neurosim.errors import ExportError
from neurosim.hardware.lava import description
from neurosim.hardware.lava.edges import INSTEAD, LINEAR, Kernel, Lowered, as_connections, lower
from neurosim.hardware.lava.latency import Cycle, Way, extra_delay, latencies
from neurosim.hardware.lava.learning import Rule, check_rules, learns
from neurosim.hardware.lava.populations import FORMS, KNOWN, READ_OUT, number, steps_of_rest
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.synapses import Flatten, RoundedDelays


@dataclass(frozen=True)
class Mapped:
    """A graph, and for each population the factor from Lava's voltage to the network's membrane, in Lava's layout."""

    graph: description.Graph
    scale: dict[str, np.ndarray]


@dataclass
class Problems:
    """What is found, told at once."""

    found: list[str] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        """Note a problem of a node or an edge."""
        self.found.append(f"{where}: {what}")

    def raise_if_any(self) -> None:
        """Raise an `ExportError` that lists all that was found, if anything was."""
        if self.found:
            listed = "\n".join(f"  - {problem}" for problem in self.found)
            raise ExportError(f"Lava cannot hold this network:\n{listed}")


def map_network(net: Network, rules: Mapping[str, Rule] | None = None) -> Mapped:
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
    problems = Problems()
    for name, node in net.populations().items():
        _check_population(name, node, problems)
    whole = [_check_edge(net, edge, problems) for edge in net.edges]
    lowered = [
        lower(e, net.shape(e.source), net.shape(e.target)) for e, good in zip(net.edges, whole, strict=True) if good
    ]
    latency = find_latency(net, lowered, problems)
    check_connected(net, problems)
    rules = dict(rules or {})
    check_rules(net, rules, problems.add)
    delays = {low.edge.name: extra_delay(latency, way_of(low)) for low in lowered} if latency else {}
    lowered = [
        as_connections(low, net.shape(low.edge.source))
        if isinstance(low.maps, Kernel) and delays.get(low.edge.name)
        else low
        for low in lowered
    ]
    for name in rules:
        if delays.get(name):
            problems.add(
                f"edge {name!r}",
                f"would have to wait {delays[name]} step(s) on Lava, whose synapses that learn have no delay; change "
                "the delay or the paths beside it",
            )
    gains = {
        name: _Gain.of(n, net.shape(name), name, lowered, rules, problems)
        for name, n in net.populations().items()
        if isinstance(n, Neuron) and n.core in FORMS
    }
    problems.raise_if_any()
    populations, currents = [], []
    for name, gain in gains.items():
        population, biases = _population(net, name, gain, lowered, latency[name], problems)
        populations.append(population)
        currents += biases
    problems.raise_if_any()
    sources = {edge.source for edge in net.edges}
    learning: list[description.Learning] = []
    parts: dict[type, list[description.Dense | description.Sparse | description.Conv]] = {}
    for low in lowered:
        gain = gains[low.edge.target]
        if low.edge.name in rules:
            learning.append(learns(low, rules[low.edge.name], float(gain.weight), net.dt))
            continue
        item = _connection(low, gain, delays[low.edge.name])
        parts.setdefault(type(item), []).append(item)
    graph = description.Graph(
        sources=tuple(description.Source(n, lava_shape(net.shape(n))) for n in net.inputs if n in sources),
        populations=tuple(populations),
        dense=tuple(parts.get(description.Dense, ())),  # type: ignore[arg-type]
        conv=tuple(parts.get(description.Conv, ())),  # type: ignore[arg-type]
        bias_currents=tuple(currents),
        sparse=tuple(parts.get(description.Sparse, ())),  # type: ignore[arg-type]
        learning=tuple(learning),
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


def _check_population(name: str, neuron: Population, problems: Problems) -> None:
    where = f"node {name!r}"
    if not isinstance(neuron, Neuron):
        kind = type(neuron).__name__
        problems.add(where, f"is a {kind}, for which Lava has no process; use {KNOWN} and train again")
        return
    if type(neuron) is not Neuron:
        problems.add(
            where, f"is a {type(neuron).__name__}, whose step may differ from its core's; use ns.LIF and the like"
        )
    if neuron.core not in FORMS:
        problems.add(where, f"its core is {neuron.core.name!r}, for which Lava has no process; use {KNOWN}")
        return
    if "reset" in neuron.core.wants and neuron.reset != "value":
        amount = _shown(number(neuron.value("reset_amount"))) if neuron.takes_own_amount else ""
        own = f" with reset_amount={amount}" if amount else ""
        problems.add(where, f'reset={neuron.reset!r}{own}; Lava knows only the reset to a value; use reset="value"')
    for field_name, wrong, why in _LEVELS:
        if field_name in neuron.core.parameters:
            value = number(neuron.value(field_name))
            if np.any(wrong(value, neuron.core)):
                problems.add(where, f"{field_name}={_shown(value)}; {why}")
    form = FORMS[neuron.core]
    for argument, parameter in form.single:
        held = form.arguments(neuron)[argument]
        if np.any(held != held.flat[0]):
            shown = _shown(number(neuron.value(parameter)))
            problems.add(
                where, f"{parameter}={shown}; {form.process} holds one for a population: give all its neurons the same"
            )
    if "t_ref" in neuron.core.parameters and np.any(steps_of_rest(neuron) < 1):
        shown = _shown(number(neuron.value("t_ref")))
        problems.add(where, f"t_ref={shown} s is less than a step; Lava's neuron rests for one at least: use LIF")


_LEVELS = (
    ("v_reset", lambda value, core: value != 0, "Lava's neurons reset to 0; use v_reset=0.0"),
    (
        "v_th",
        lambda value, core: value < 0 if core is not cores.resonate_and_fire_izhikevich else value <= 0,
        "below 0 it would fire on Lava before the data arrive; use a threshold from 0",
    ),
    ("v_low", lambda value, core: value > 0, "above 0 it would fire on Lava before the data arrive; use one up to 0"),
)


def _check_edge(net: Network, edge: Connection, problems: Problems) -> bool:
    """Return whether the maps of an edge can be lowered."""
    where = f"edge {edge.name!r}"
    good = True
    source = net.nodes[edge.source]
    if isinstance(source, Neuron) and source.core in READ_OUT:
        problems.add(
            where, f"sends the membrane of {edge.source!r}; on Lava a membrane is only read out: use LIF there"
        )
    for synapse in edge.synapses:
        if type(synapse) not in (*LINEAR, RoundedDelays):
            why = INSTEAD.get(type(synapse), "Lava has no process for it; use Linear or Conv2d")
            problems.add(where, f"holds {type(synapse).__name__}; {why}")
            good = False
    maps = [type(synapse).__name__ for synapse in edge.synapses if not isinstance(synapse, Flatten)]
    if "RoundedDelays" in maps and len(maps) > 1:
        problems.add(
            where,
            f"holds RoundedDelays beside other maps ({', '.join(maps)}), which come to no single delay for each "
            "synapse; give them edges of their own, or see RoundedDelays.by_delay",
        )
        good = False
    for synapse in edge.synapses:
        for field_name in ("weight", "bias"):
            values = getattr(synapse, field_name, None)
            if isinstance(values, torch.Tensor) and not torch.isfinite(values).all():
                problems.add(
                    where,
                    f"{type(synapse).__name__}.{field_name} holds NaN or infinity; train again or load another state",
                )
    return good


def way_of(lowered: Lowered) -> Way:
    """Return an edge as far as time is concerned."""
    edge = lowered.edge
    return Way(edge.name, edge.source, edge.target, lowered.shortest)


def find_latency(net: Network, lowered: Sequence[Lowered], problems: Problems) -> dict[str, int]:
    """Return the Lava step at which data arrive, node by node; nothing where a cycle is too fast."""
    try:
        return latencies(net.inputs, list(net.populations()), [way_of(low) for low in lowered])
    except Cycle as cycle:
        path = " -> ".join([cycle.ways[0].source, *(way.target for way in cycle.ways)])
        steps, needed = sum(way.delay for way in cycle.ways), len(cycle.ways)
        problems.add(
            f"cycle {path}",
            f"its delays are {steps} step(s) in all, but its {needed} connections take {needed} steps on Lava; give "
            f"its edges delays of at least {needed} steps ({needed * net.dt:g} s) in all",
        )
        return {}


def check_connected(net: Network, problems: Problems) -> None:
    """Note it where a network falls into parts."""
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
        cls,
        neuron: Neuron,
        shape: tuple[int, ...],
        name: str,
        lowered: Sequence[Lowered],
        rules: Mapping[str, Rule],
        problems: Problems,
    ) -> _Gain:
        one, form = np.ones(()), FORMS[neuron.core]
        gain = form.gain(neuron)
        convs = [low.maps for low in lowered if low.edge.target == name and isinstance(low.maps, Kernel)]
        learns_here = any(low.edge.target == name and low.edge.name in rules for low in lowered)
        shared = gain.ndim == 0 or (
            not learns_here and all(_per_channel(np.broadcast_to(gain, shape), k) is not None for k in convs)
        )
        if shared:
            return cls(gain if gain.ndim == 0 else np.broadcast_to(gain, shape), one)
        if not np.all(gain > 0):
            problems.add(
                f"node {name!r}",
                f"r={_shown(number(neuron.value('r')))} differs within a channel and is not positive everywhere; a "
                "shared kernel cannot hold that: use a positive r",
            )
        if not form.scalable:
            problems.add(
                f"node {name!r}",
                f"the gain of its current differs within a channel ({_shown(gain)}); a shared kernel cannot hold that, "
                f"nor can {form.process} have another scale in each neuron: use one r and one tau_mem",
            )
        return cls(one, np.broadcast_to(gain, shape))


def _per_channel(values: np.ndarray, kernel: Kernel) -> np.ndarray | None:
    """Return one value for each channel if they are the same all over it."""
    channels = values.reshape(kernel.weight.shape[0], -1)
    return channels[:, 0] if np.all(channels == channels[:, :1]) else None


def _population(
    net: Network, name: str, gain: _Gain, lowered: Sequence[Lowered], latency: int, problems: Problems
) -> tuple[description.Population, list[description.BiasCurrent]]:
    neuron, shape = net.neurons()[name], net.shape(name)
    form = FORMS[neuron.core]

    def on_lava(value: np.ndarray) -> np.ndarray:
        value = np.asarray(value)
        return (
            value if value.ndim == 0 else np.ascontiguousarray(lava_layout(np.broadcast_to(value, shape), len(shape)))
        )

    given = form.arguments(neuron)
    arguments = {key: on_lava(v / gain.scale if key in form.levels else v) for key, v in given.items()}
    arguments |= {key: np.asarray(arguments[key].flat[0]) for key, _ in form.single}
    currents = []
    if form.own_bias and np.any(number(neuron.value("bias"))):
        # Process and core add it to a sum that is 0 before; from the start it would be sent before the data arrive.
        own = on_lava(np.broadcast_to(number(neuron.value("bias")) / gain.scale, shape))
        currents.append(description.BiasCurrent(name, own.reshape(-1), once=True))
    total = sum((low.bias for low in lowered if low.edge.target == name and low.bias is not None), np.zeros(shape))
    bias = on_lava(gain.weight * total)
    drive = on_lava(form.drive(neuron) / gain.scale + np.zeros(shape)) if form.drive else np.zeros(())
    at_once = bias if form.bias else drive
    start = _start(at_once, arguments, latency) if at_once.any() else None
    if start is not None:
        arguments |= {"bias_mant": at_once, "v": start}
    elif form.drive and drive.any():
        problems.add(
            f"node {name!r}",
            f"v_leak={_shown(number(neuron.value('v_leak')))} would fire, or is forgotten, before the data arrive; use "
            "v_leak=0.0 or a longer tau_mem",
        )
    if bias.any() and not (form.bias and start is not None):
        currents.append(description.BiasCurrent(name, bias.reshape(-1)))
    return description.Population(name, lava_shape(shape), latency, form.process, arguments), currents


def _start(bias: np.ndarray, arguments: dict[str, np.ndarray], latency: int) -> np.ndarray | None:
    low, high = arguments.get("vth_lo", np.asarray(-np.inf)), arguments.get("vth_hi", arguments.get("vth"))
    assert high is not None
    return initial_voltage(bias, arguments["dv"], high, latency, low)


def initial_voltage(
    bias: np.ndarray, dv: np.ndarray, vth: np.ndarray, steps: int, low: np.ndarray | float = -np.inf
) -> np.ndarray | None:
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
    low : numpy.ndarray or float
        Threshold below which a ternary neuron fires.

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
            if np.any(v > vth) or np.any(v < low):
                return None
    return start if np.all(np.abs(v) <= 1e-12 * np.abs(bias)) else None


def _connection(lowered: Lowered, gain: _Gain, delay: int) -> description.Dense | description.Sparse | description.Conv:
    edge, maps = lowered.edge, lowered.maps
    ends = (edge.name, edge.source, edge.target)
    if isinstance(maps, Kernel):
        return _conv(ends, maps, gain)
    factor = gain.weight if gain.weight.ndim == 0 else gain.weight.reshape(-1)
    late = np.asarray(delay)
    if lowered.delays is not None:
        late = late + lowered.delays - (lowered.shortest - edge.delay_steps)
    if isinstance(maps, np.ndarray):
        rows = factor if factor.ndim == 0 else factor[:, None]
        late = np.where(maps != 0, late, 0) if late.ndim else late
        return description.Dense(*ends, rows * maps, late)
    listed = maps.tocoo()
    after, before = listed.row.astype(np.int64), listed.col.astype(np.int64)
    weight = (factor if factor.ndim == 0 else factor[after]) * listed.data
    return description.Sparse(*ends, tuple(int(n) for n in listed.shape), after, before, weight, late)


def _conv(ends: tuple[str, str, str], kernel: Kernel, gain: _Gain) -> description.Conv:
    factor = gain.weight
    if factor.ndim:
        per_channel = _per_channel(factor, kernel)
        assert per_channel is not None  # else the gain went into the threshold
        factor = per_channel.reshape(-1, 1, 1, 1)
    return conv_on_lava(ends, kernel, factor * kernel.weight)


def conv_on_lava(ends: tuple[str, str, str], kernel: Kernel, weight: np.ndarray) -> description.Conv:
    """Return a convolution with these weights [out, in, kh, kw] in Lava's layout, flipped: torch correlates."""
    stride, padding, dilation = ((width, height) for height, width in (kernel.stride, kernel.padding, kernel.dilation))
    flipped = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1))
    return description.Conv(*ends, flipped, stride, padding, dilation, kernel.groups)


def _shown(value: np.ndarray) -> str:
    if value.ndim == 0:
        return f"{float(value):g}"
    return f"{float(value.min()):g} to {float(value.max()):g}"
