"""A trained network in Xylo's terms, in floating point: dashes, gains, thresholds, weights, steps of the chip."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim import cores
from neurosim.errors import InputError
from neurosim.files.problems import Problems
from neurosim.hardware.quantise.real import RealEdge, number, read_edges
from neurosim.hardware.xylo.configuration import DASH
from neurosim.language import Surrogate
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.network.portability import refuse_unportable
from neurosim.quantities import value_range
from neurosim.units import check_dt, time_constant


@dataclass(frozen=True, eq=False)
class XyloPopulation:
    """A population in the chip's terms, nothing rounded.

    Attributes
    ----------
    shape : tuple of int
    dash_mem, dash_syn : Tensor
        The dash at which the chip decays as the population does, a real number.
    v_th : Tensor
        In units of the membrane.
    spike : Surrogate
    dt : float
    latency : int
        Steps by which the chip is behind the network.
    """

    shape: tuple[int, ...]
    dash_mem: Tensor
    dash_syn: Tensor
    v_th: Tensor
    spike: Surrogate
    dt: float
    latency: int


@dataclass(frozen=True, eq=False)
class RealXylo:
    """A whole network in the chip's terms."""

    inputs: Mapping[str, tuple[int, ...]]
    populations: Mapping[str, XyloPopulation]
    edges: tuple[RealEdge, ...]
    output: str

    def group(self, edge: RealEdge) -> str:
        """Return which weights of the chip an edge is of: those that share a shift."""
        return "in" if edge.source in self.inputs else "out" if edge.target == self.output else "rec"


def read(net: Network) -> RealXylo:
    """Read a network in the chip's terms.

    Raises
    ------
    ExportError
        With all that the chip cannot hold: node or edge, what it is, what to change.
    """
    problems = Problems("Xylo cannot hold this network")
    refuse_unportable(net, problems)
    gains = {name: _gain(name, node, problems) for name, node in net.populations().items()}
    edges, biases = read_edges(net, gains, problems)
    for name, bias in biases.items():
        if bias.any():
            problems.add(
                f"node {name!r}",
                "a bias of its synapses passes through the synaptic current, which the bias of the chip does not; "
                "train without bias",
            )
    latencies = _latencies(net, problems)
    populations = {
        name: _population(node, net.shape(name), latencies.get(name, 0))
        for name, node in net.populations().items()
        if isinstance(node, Neuron) and gains[name] is not None
    }
    problems.raise_if_any()
    return RealXylo({name: net.shape(name) for name in net.inputs}, populations, tuple(edges), net.output)


def _gain(name: str, node: Population, problems: Problems) -> Tensor | None:
    """Return what one unit of synaptic current adds to the membrane; None, and a problem, for another neuron."""
    where = f"node {name!r}"
    if not isinstance(node, Neuron) or node.core is not cores.cubalif:
        problems.add(where, f"its model is {node.kind!r}; each neuron of the chip has a synaptic current: use CubaLIF")
        return None
    if node.reset != "subtract" or node.takes_own_amount:
        amount = " with a reset_amount" if node.takes_own_amount else ""
        problems.add(
            where, f'reset={node.reset!r}{amount}; the chip subtracts its threshold; train with reset="subtract"'
        )
    if (torch.as_tensor(node.value("v_th")) <= 0).any():
        problems.add(where, f"v_th={value_range(node.value('v_th'))}; the chip holds thresholds above 0")
    return (1.0 - number(node.decay("tau_mem"))) * number(node.value("r"))


def _population(node: Neuron, shape: tuple[int, ...], latency: int) -> XyloPopulation:
    mem, syn = (-torch.log2(1.0 - number(node.decay(name))) for name in ("tau_mem", "tau_syn"))
    return XyloPopulation(shape, mem, syn, number(node.value("v_th")), node.spike, node.dt, latency)


def _latencies(net: Network, problems: Problems) -> dict[str, int]:
    """Return how many steps the chip is behind the network in each population.

    On the chip a spike of a population takes one step, in the network the delay of the edge.
    """
    late = dict.fromkeys(net.inputs, 0)
    open_ = list(net.edges)
    while True:
        known = [edge for edge in open_ if edge.source in late or edge.target in late]
        if not known:
            break
        for edge in known:
            extra = (edge.source not in net.inputs) - edge.delay_steps
            if edge.source not in late:
                late[edge.source] = late[edge.target] - extra
            expected = late[edge.source] + extra
            if late.setdefault(edge.target, expected) != expected:
                off = late[edge.target] - expected
                more = f"{off} steps more" if off > 0 else f"{-off} steps less"
                problems.add(
                    f"edge {edge.name!r}",
                    f"has a delay of {edge.delay_steps} steps; with the step of each connection on the chip its spikes "
                    f"would meet those of other paths {more} late: train with delays of {net.dt:g} s on all edges "
                    "between populations, which the chip has",
                )
            open_.remove(edge)
    for name, steps in late.items():
        if steps < 0:
            problems.add(f"node {name!r}", "its input has a delay, which the chip has not; train without it")
    return late


def dash_time_constant(dash: int, dt: float) -> float:
    """Return the time constant, s, of which the chip has the exact decay with a dash.

    Parameters
    ----------
    dash : int
        1 ... 15.
    dt : float
        Length of a step, s.

    Raises
    ------
    InputError
        For a wrong dash.
    UnitError
        For a wrong step.

    Examples
    --------
    >>> from neurosim.hardware.xylo import dash_time_constant
    >>> [round(dash_time_constant(dash, 1e-3) * 1e3, 2) for dash in (1, 2, 3, 4)]
    [1.44, 3.48, 7.49, 15.49]
    """
    if isinstance(dash, bool) or not isinstance(dash, numbers.Integral) or not 1 <= dash <= DASH[1]:
        raise InputError(f"dash must be an integer from 1 to {DASH[1]}; got {dash!r}.")
    return float(time_constant(1.0 - 2.0 ** -int(dash), check_dt("dash_time_constant", dt)))
