"""Populations of a graph that no input can make spike: the sign of a graph read in another unit of time."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor

from neurosim import cores
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.synapses.lowering import Convolution, Dense, Lowered, Opaque, Scaling, SparseRows
from neurosim.synapses.synapse import lowered_chain

MOST_STEPS = 30  # of the largest input to the first spike; more are reported

Range = tuple[Tensor, Tensor]  # lowest and highest values [1, ...]


class UnreachableThreshold(UserWarning):
    """A population of a NIR graph hardly or never reaches its threshold, whatever the input."""


def warn_of_unreachable(net: Network) -> None:
    """Warn of populations that no spikes of 0 and 1 bring to their threshold within `MOST_STEPS` steps."""
    ranges: dict[str, Range] = {}
    found = []
    for name, node in net.nodes.items():
        if name in net.inputs:
            ranges[name] = _unit(net.shape(name))
        elif isinstance(node, Population):
            current = _current(net, name, ranges)
            if node.is_spiking:
                ranges[name] = _unit(net.shape(name))
                if current is not None and isinstance(node, Neuron):
                    found += [f"node {name!r} {what}" for what in _unreachable(node, current[1])]
            elif current is not None and isinstance(node, Neuron) and node.core is cores.relay:
                ranges[name] = current
    if found:
        warnings.warn(
            f"{'; '.join(found)}. If 1 in the graph is a step, pass time_unit=dt; if it is a millisecond, "
            "time_unit=1e-3. Otherwise check r and the weights.",
            UnreachableThreshold,
            stacklevel=3,
        )


def _unit(shape: tuple[int, ...]) -> Range:
    return torch.zeros(1, *shape, dtype=torch.float64), torch.ones(1, *shape, dtype=torch.float64)


def _current(net: Network, name: str, ranges: dict[str, Range]) -> Range | None:
    """Return the range of the current into a population; None where that of a source is not known."""
    low = high = torch.zeros((), dtype=torch.float64)
    for edge in net.edges:
        if edge.target != name:
            continue
        # A population that a cycle reaches later sends spikes, unless it is not one that spikes.
        source = ranges.get(edge.source) or (_unit(net.shape(edge.source)) if _spikes(net, edge.source) else None)
        through = None if source is None else _through(edge, source, net.shape(edge.source))
        if through is None:
            return None
        low, high = low + through[0], high + through[1]
    return low, high


def _spikes(net: Network, name: str) -> bool:
    node = net.nodes[name]
    return isinstance(node, Population) and node.is_spiking


def _through(edge: Connection, values: Range, shape: tuple[int, ...]) -> Range | None:
    low, high = values
    for value in lowered_chain(edge.synapses, shape):
        if isinstance(value, Opaque):
            return None
        low, high = _step(value, low, high)
    return low, high


def _step(value: Lowered, low: Tensor, high: Tensor) -> Range:
    """Return the range of what a synapse makes of values in a range."""
    if not isinstance(value, (Dense, SparseRows, Convolution, Scaling)):
        return value.apply(low), value.apply(high)  # type: ignore[union-attr]  # pools and reshapes are monotonic
    plus = replace(value, weight=value.weight.clamp(min=0))
    minus = replace(value, weight=value.weight.clamp(max=0), bias=None)
    return plus.apply(low) + minus.apply(high), plus.apply(high) + minus.apply(low)


def _unreachable(node: Neuron, high: Tensor) -> list[str]:
    """Return what to report of a population whose largest current is `high`."""
    v_th = torch.as_tensor(node.value("v_th")).detach().double()
    if node.core is cores.integrate_and_fire:
        gain = torch.as_tensor(node.value("r")).detach().double()
        drive = (gain * high).clamp(min=1e-300)
        steps = float((v_th / drive).min())
        if steps > MOST_STEPS:
            shown = "never reaches" if steps > 1e12 else f"needs {steps:,.0f} steps to reach"
            return [f"{shown} its threshold even if all its inputs spike at each step"]
    elif node.core in (cores.lif, cores.cubalif, cores.cubalif_resting):
        level = torch.as_tensor(node.value("r")).detach().double() * high
        if node.core is not cores.lif:
            level = level / (1.0 - torch.as_tensor(node.decay("tau_syn")).double())
        if node.core is cores.cubalif_resting:
            level = level + torch.as_tensor(node.value("v_leak")).detach().double()
        if bool((level <= v_th).all()):
            most = (level - v_th).argmax()
            return [
                f"never reaches its threshold: its membrane stays below {float(level.reshape(-1)[most]):.3g} even if "
                "all its inputs spike at each step"
            ]
    return []
