"""The integer network of a trained one, for chosen scales."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from neurosim.hardware.loihi.neurons import loihi_neurons, split_bias
from neurosim.hardware.loihi.weights import sign_mode, weight_range, weight_step
from neurosim.hardware.quantise.grid import BiasGrid, IntegerFormat, WeightGrid, chip_bias
from neurosim.hardware.quantise.onto_grid import chain_of, train_on_grid
from neurosim.hardware.quantise.real import RealEdge, RealNetwork, RealPopulation
from neurosim.network.graph import Edge, Input
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Synapse
from neurosim.synapses.lowering import Convolution
from neurosim.synapses.shift import Shift

HIGHEST_THRESHOLD = 131071
MOST_EXPONENT = 7


@dataclass(frozen=True)
class PopulationScale:
    """Scale of a population and of the edges into it.

    Attributes
    ----------
    scale : float
        A membrane of 1 becomes ``64 scale``, so a weight of 1 becomes `scale`.
    exponents : mapping of str to int
        Weight exponent of each edge by name: its mantissas are ``weight scale 2^-exponent``.
    """

    scale: float
    exponents: Mapping[str, int]

    @property
    def unit(self) -> float:
        """Voltage of the chip for a membrane of 1."""
        return 64.0 * self.scale


def scale_of(
    population: RealPopulation, edges: list[RealEdge], scale: float, held: IntegerFormat, clip: float = 1.0
) -> PopulationScale:
    """Return `scale` with the smallest exponents for which no weight exceeds `clip` times the range."""
    if not held.weight_exponents:
        return PopulationScale(scale, dict.fromkeys((edge.name for edge in edges), 0))
    exponents = {}
    for edge in edges:
        low, high = weight_range(held.bits, sign_mode(edge.weight))
        most = max(abs(low), high) * clip
        size = float(edge.weight.abs().max()) * scale if edge.weight.numel() else 0.0
        exponents[edge.name] = min(max(math.ceil(math.log2(size / most)) if size > most else 0, 0), MOST_EXPONENT)
    return PopulationScale(scale, exponents)


def neurons(population: RealPopulation, scale: PopulationScale, held: IntegerFormat) -> Neuron:
    """Return the population in integers."""
    v_th: Any = None
    if population.v_th is not None:
        v_th = torch.round(torch.as_tensor(population.v_th).double() * scale.scale).clamp(max=HIGHEST_THRESHOLD)
        v_th = int(v_th) if v_th.dim() == 0 else v_th
    bias: Any = 0.0 if population.bias is None else chip_bias(population.bias * scale.unit, held.bias_exponent)
    mantissa, exponent = split_bias(bias)
    return loihi_neurons(
        dt=population.dt,
        du=population.du,
        dv=population.dv,
        v_th=v_th,
        bias_mant=mantissa if mantissa.dim() else 0,
        bias_exp=exponent if exponent.dim() else 0,
        unit=scale.unit,
        size=population.shape,
        spike=population.spike,
    )


def synapses(edge: RealEdge, scale: PopulationScale, held: IntegerFormat) -> tuple[list[Synapse], int, WeightGrid]:
    """Return the synapses of an edge with integer weights, the place of the weights among them, and their grid."""
    exponent = scale.exponents[edge.name]
    mode = sign_mode(edge.weight)
    low, high = weight_range(held.bits, mode)
    grid = WeightGrid(scale.scale * 2.0**-exponent, low, high, weight_step(held.bits, mode))
    chain = chain_of(edge, grid(edge.weight))
    shift: list[Synapse] = [Shift(exponent)] if exponent else []
    return [*chain, *shift], len(chain) - 1, grid


def network(
    real: RealNetwork, scales: Mapping[str, PopulationScale], held: IntegerFormat, trained: bool = False
) -> Network:
    """Return the integer network, in single precision.

    Parameters
    ----------
    real : RealNetwork
    scales : mapping of str to PopulationScale
        By population.
    held : IntegerFormat
    trained : bool
        Whether weights and biases stay in floating point and are rounded at each use, so that they can be trained.
    """
    nodes: dict[str, Any] = {name: Input(shape) for name, shape in real.inputs.items()}
    for name, population in real.populations.items():
        nodes[name] = neurons(population, scales[name], held)
        if trained and population.bias is not None:
            train_on_grid(nodes[name], "bias", population.bias, BiasGrid(scales[name].unit, held.bias_exponent))
    edges = []
    for edge in real.edges:
        chain, place, grid = synapses(edge, scales[edge.target], held)
        if trained and (isinstance(edge.connectivity, Convolution) or edge.connectivity.delay is None):
            unrounded = chain_of(edge, edge.weight)[place].get_parameter("weight").detach()
            train_on_grid(chain[place], "weight", unrounded, grid)  # in the order of the synapse's own weights
        edges.append(Edge(edge.source, edge.target, chain, edge.delay, edge.name))
    return Network(nodes, edges, output=real.output)
