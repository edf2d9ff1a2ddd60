"""A trained network in the chip's terms, in floating point: decays, gains, thresholds, biases, weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neurosim import cores
from neurosim.files.problems import Problems
from neurosim.language import Surrogate
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.network.portability import refuse_unportable
from neurosim.quantities import value_range
from neurosim.synapses.lowering import (
    Convolution,
    Dense,
    Opaque,
    Pooling,
    Reshape,
    Scaling,
    SparseRows,
    Weighted,
)
from neurosim.synapses.synapse import lowered_chain

_SPIKING = (cores.integrate_and_fire, cores.lif, cores.cubalif)
_READOUT = (cores.leaky_integrator,)


@dataclass(frozen=True)
class RealPopulation:
    """A population in the chip's terms; only its decays are rounded.

    Attributes
    ----------
    shape : tuple of int
    du, dv : int or Tensor
        Decays as in `neurosim.hardware.loihi.loihi_neurons`.
    v_th : float or Tensor or None
        In units of the membrane; None for a readout.
    bias : Tensor or None
        Added to the membrane at each step, in its units; broadcasts against `shape`.
    spike : Surrogate
    dt : float
    """

    shape: tuple[int, ...]
    du: int | Tensor
    dv: int | Tensor
    v_th: float | Tensor | None
    bias: Tensor | None
    spike: Surrogate
    dt: float


@dataclass(frozen=True)
class RealEdge:
    """An edge with all gains in its weights: their sum is added to the membrane.

    Attributes
    ----------
    source, target, name : str
    before : tuple of Reshape and Pooling
        Flattening and sums over windows before the weights.
    connectivity : Dense, SparseRows or Convolution
        How the weights connect; its own weights are without the gains.
    weight : Tensor
        In units of the membrane per spike, float64, of the shape of ``connectivity.weight``.
    shape : tuple of int
        Of the source.
    dt, delay : float
        Length of a step, and delay of the edge, s.
    """

    source: str
    target: str
    name: str
    before: tuple[Reshape | Pooling, ...]
    connectivity: Weighted
    weight: Tensor
    shape: tuple[int, ...]
    dt: float
    delay: float


@dataclass(frozen=True)
class RealNetwork:
    """A whole network in the chip's terms."""

    inputs: Mapping[str, tuple[int, ...]]
    populations: Mapping[str, RealPopulation]
    edges: tuple[RealEdge, ...]
    output: str

    def into(self, population: str) -> list[RealEdge]:
        """Return the edges that reach `population`."""
        return [edge for edge in self.edges if edge.target == population]


def read(net: Network) -> RealNetwork:
    """Read a network in the chip's terms.

    Raises
    ------
    ExportError
        With all that the chip cannot hold: node or edge, what it is, what to change.
    """
    problems = Problems("Loihi cannot hold this network")
    refuse_unportable(net, problems)
    gains = {name: _gain(name, node, problems) for name, node in net.populations().items()}
    edges, biases = read_edges(net, gains, problems)
    populations = {
        name: _population(name, node, net.shape(name), biases.get(name), problems)
        for name, node in net.populations().items()
        if isinstance(node, Neuron) and gains[name] is not None
    }
    problems.raise_if_any()
    inputs = {name: net.shape(name) for name in net.inputs}
    return RealNetwork(inputs, populations, tuple(edges), net.output)


def read_edges(
    net: Network, gains: Mapping[str, Tensor | None], problems: Problems
) -> tuple[list[RealEdge], dict[str, Tensor]]:
    """Return the edges with the gain of the neurons after them in their weights, and the biases by population.

    `gains` has what one unit of current adds to the membrane of each population, None for one that is refused.
    """
    edges: list[RealEdge] = []
    biases: dict[str, Tensor] = {}
    for edge in net.edges:
        weighted = _weighted(edge, net.shape(edge.source), problems)
        gain = gains[edge.target]
        if weighted is None or gain is None:
            continue
        before, connectivity, factor = weighted
        source, target = net.shape(edge.source), net.shape(edge.target)
        scaled = _with_gain(edge, connectivity, gain * factor, target, problems)
        if scaled is None:
            continue
        ends = (edge.source, edge.target, edge.name)
        edges.append(RealEdge(*ends, before, connectivity, scaled.weight, source, net.dt, edge.delay))
        if connectivity.bias is not None:
            bias = connectivity.bias.double()
            bias = bias.reshape(-1, *[1] * (len(target) - 1)) * gain
            biases[edge.target] = biases[edge.target] + bias if edge.target in biases else bias
    return edges, biases


def _gain(name: str, node: Population, problems: Problems) -> Tensor | None:
    """Return what one unit of current adds to the membrane; None, and a problem, where the chip has no such neuron."""
    where = f"node {name!r}"
    if not isinstance(node, Neuron) or node.core not in (*_SPIKING, *_READOUT):
        problems.add(where, f"its model is {node.kind!r}; the chip holds IF, LIF, CubaLIF, and LI as a readout")
        return None
    if node.is_spiking and node.reset != "value":
        problems.add(where, f'reset={node.reset!r}; the chip resets to 0; train with reset="value"')
    if node.is_spiking and torch.as_tensor(node.value("v_reset")).any():
        problems.add(
            where, f"v_reset={value_range(node.value('v_reset'))}; the chip resets to 0; train with v_reset=0.0"
        )
    gain = number(node.value("r"))
    return gain if node.core is cores.integrate_and_fire else (1.0 - number(node.decay("tau_mem"))) * gain


def _population(
    name: str, node: Neuron, shape: tuple[int, ...], bias: Tensor | None, problems: Problems
) -> RealPopulation:
    leaks = node.core is not cores.integrate_and_fire
    dv = _register(1.0 - number(node.decay("tau_mem"))) if leaks else 0
    du: int | Tensor = 4095
    if node.core is cores.cubalif:
        du = _register(1.0 - number(node.decay("tau_syn"))) - 1
        if bias is not None and bias.any():
            problems.add(
                f"node {name!r}",
                "a bias of its synapses passes through the synaptic current, which the bias of the chip does not; "
                "train without bias, or use LIF",
            )
    v_th: float | Tensor | None = None
    if node.is_spiking:
        v_th = node.value("v_th")
        if (torch.as_tensor(v_th) < 0).any():
            problems.add(f"node {name!r}", f"v_th={value_range(v_th)}; the chip holds thresholds from 0")
        v_th = v_th.detach() if isinstance(v_th, Tensor) else v_th
    return RealPopulation(shape, du, dv, v_th, bias, node.spike, node.dt)


def _register(share: Tensor) -> int | Tensor:
    """Return the register of a decay per step, in parts of 4096."""
    steps = torch.round(4096 * share)
    return int(steps) if steps.dim() == 0 else steps.long()


def number(value: float | Tensor) -> Tensor:
    """Return a value in double precision, without gradient."""
    return torch.as_tensor(value).detach().double()


def _weighted(
    edge: Connection, shape: tuple[int, ...], problems: Problems
) -> tuple[tuple[Reshape | Pooling, ...], Weighted, float] | None:
    """Return what is before the weights, the weights, and the factor of means that became sums."""
    where = f"edge {edge.name!r}"
    kinds = [type(synapse).__name__ for synapse in edge.synapses]
    values = lowered_chain(edge.synapses, shape)
    if not isinstance(values[-1], (Scaling, Dense, SparseRows, Convolution)):
        why = f", which {values[-1].reason}" if isinstance(values[-1], Opaque) else ""
        problems.add(
            where,
            f"ends with {kinds[-1]}{why}; the chip holds weights: Linear, Sparse, BlockLinear, Conv1d, Conv2d, "
            "RoundedDelays, or a linear synapse of your own",
        )
        return None
    before: list[Reshape | Pooling] = []
    factor = 1.0
    for synapse, kind, value in zip(edge.synapses[:-1], kinds, values, strict=False):
        if isinstance(value, Pooling) and value.kind != "max":
            before.append(value.counted())
            factor *= value.factor
        elif isinstance(value, Reshape):
            before.append(value)
        else:
            why = f", which {value.reason}" if isinstance(value, Opaque) else ""
            problems.add(where, f"holds {kind}{why}; before the weights it can hold Flatten, SumPool2d and AvgPool2d")
            return None
        shape = synapse.output_shape(shape)
    last = values[-1]
    connectivity = last.rows(shape) if isinstance(last, Scaling) else last
    if not torch.isfinite(connectivity.weight).all():
        problems.add(where, "weights hold NaN or infinity; train again")
        return None
    if not isinstance(connectivity, Convolution):
        if connectivity.out_shape is not None:
            problems.add(
                where,
                f"{kinds[-1]} connects to a population of shape {list(connectivity.out_shape)}; use a convolution, or "
                "make the population one row of neurons",
            )
            return None
        if connectivity.delay is not None and connectivity.delay.is_floating_point():
            problems.add(where, f"{kinds[-1]}: its delays are not in whole steps; round them with rounded()")
            return None
    return tuple(before), connectivity, factor


def _with_gain(
    edge: Connection, connectivity: Weighted, gain: Tensor, shape: tuple[int, ...], problems: Problems
) -> Weighted | None:
    """Return the weights times the gain of the neurons after, in double precision."""
    factors = connectivity.row_factors(gain, shape)
    if factors is None:
        problems.add(
            f"edge {edge.name!r}",
            "the neurons after it differ in r or tau_mem within a channel, which shared weights cannot hold; give each "
            "channel one value",
        )
        return None
    return replace(connectivity, weight=connectivity.weight.double(), bias=None).times(factors)
