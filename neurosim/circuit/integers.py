"""Which input of a circuit is added up in integers: sums that 32 bits hold, whatever fires in a step."""

from __future__ import annotations

import weakref
from collections.abc import Container, Sequence

import numpy as np

from neurosim.circuit.sources import MOST_SPIKES, Poisson, SpikeTrain
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.population import Population, has_hooks
from neurosim.synapses.drawn import Drawn

_LIMIT = 2.0**31
_in_degrees: weakref.WeakKeyDictionary[Drawn, int] = weakref.WeakKeyDictionary()  # largest, of listed synapses


def common_unit(net: Network, edges: Sequence[Connection], plastic: Container[str]) -> float:
    """Return the unit in which the integers of all edges into a port are added; 0 where they are not added together.

    Beside plastic edges, which the layered strategies do not run, integers may be added first.
    """
    drawn = [edge for edge in edges if edge.name not in plastic]
    unit = min((unit_of(net, edge) for edge in drawn), default=0.0)
    return unit if unit and sum(_largest(net, edge) for edge in drawn) < _LIMIT * unit else 0.0


def unit_of(net: Network, edge: Connection) -> float:
    """Return the unit of the weights of an edge whose spikes are delivered as integers; 0 for any other."""
    synapse = edge.synapses[0]
    if len(edge.synapses) > 1 or type(synapse) is not Drawn or not synapse.is_plain or has_hooks(synapse):
        return 0.0
    unit = synapse.unit
    return unit if _most_spikes(net, edge) and _largest(net, edge) < _LIMIT * unit else 0.0


def _largest(net: Network, edge: Connection) -> float:
    """Return a bound of what the synapses of an edge add to one neuron in one step."""
    (synapse,) = edge.synapses
    assert isinstance(synapse, Drawn)
    drawing = synapse.drawing
    weight = max(abs(drawing.weight.first), abs(drawing.weight.last)) * drawing.unit
    return weight * _most_spikes(net, edge) * _most_inputs(synapse)


def _most_spikes(net: Network, edge: Connection) -> int:
    """Return a bound of the spikes of a neuron in a step; 0 for a node that sends no spikes, or without a bound."""
    source = net.nodes[edge.source]
    if isinstance(source, Population):
        return 1
    if isinstance(source, SpikeTrain):
        return source.most_in_a_step(net.dt)
    return MOST_SPIKES if isinstance(source, Poisson) else 0


def _most_inputs(synapse: Drawn) -> float:
    """Return a bound of the synapses of one postsynaptic neuron."""
    drawing, pairs = synapse.drawing, synapse.drawing.pairs
    if pairs.kind == "one":
        return 1.0
    if pairs.kind == "in":
        return float(pairs.number)
    if pairs.listed is not None:  # one neuron may have most of them
        if synapse not in _in_degrees:
            _in_degrees[synapse] = int(np.bincount(pairs.listed(drawing.key).post, minlength=1).max())
        return float(_in_degrees[synapse])
    # Targets are uniform: twice the mean and 100 more has a probability below 1e-18.
    number = 2.0 * pairs.expected / pairs.n_out + 100.0
    return min(number, float(pairs.n_in)) if pairs.is_distinct else number
