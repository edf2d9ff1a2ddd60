"""The integer network of a trained one, for chosen scales."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neurosim.hardware.loihi.neurons import loihi_neurons, split_bias
from neurosim.hardware.loihi.weights import sign_mode, weight_range
from neurosim.hardware.quantise.grid import BiasGrid, IntegerFormat, WeightGrid, chip_bias
from neurosim.hardware.quantise.real import RealEdge, RealNetwork, RealPopulation
from neurosim.network.graph import Edge, Input
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Synapse
from neurosim.synapses.building import synapses_of
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
    grid = WeightGrid(scale.scale * 2.0**-exponent, held.bits, sign_mode(edge.weight))
    chain = _chain(edge, grid(edge.weight))
    shift: list[Synapse] = [Shift(exponent)] if exponent else []
    return [*chain, *shift], len(chain) - 1, grid


def _chain(edge: RealEdge, weight: Tensor) -> list[Synapse]:
    """Return the synapses of an edge with these weights, the weights last."""
    connectivity = replace(edge.connectivity, weight=weight.float(), bias=None)
    chain: list[Synapse] = []
    shape = edge.shape
    for value in (*edge.before, connectivity):
        for synapse in synapses_of(value, shape, dt=edge.dt):
            chain.append(synapse.requires_grad_(False))
            shape = synapse.output_shape(shape)
    return chain


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
            _train(nodes[name], "bias", population.bias, BiasGrid(scales[name].unit, held.bias_exponent))
    edges = []
    for edge in real.edges:
        chain, place, grid = synapses(edge, scales[edge.target], held)
        if trained and (isinstance(edge.connectivity, Convolution) or edge.connectivity.delay is None):
            unrounded = _chain(edge, edge.weight)[place].get_parameter("weight").detach()
            _train(chain[place], "weight", unrounded, grid)  # in the order of the synapse's own weights
        edges.append(Edge(edge.source, edge.target, chain, edge.delay, edge.name))
    return Network(nodes, edges, output=real.output)


def _train(module: nn.Module, name: str, value: Tensor, grid: nn.Module) -> None:
    """Make `value` a parameter of `module` that `grid` rounds at each use."""
    delattr(module, name)
    module.register_parameter(name, nn.Parameter(value.float().clone()))
    parametrize.register_parametrization(module, name, grid, unsafe=True)


def fixed(net: Network) -> Network:
    """Return a copy of a network that was trained on a grid, with its integers fixed and nothing to train."""
    copied = copy.deepcopy(net)
    for module in list(copied.modules()):
        if not parametrize.is_parametrized(module):
            continue
        values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}  # type: ignore[union-attr]
        # Torch's own removal takes the property off the class, which the copy shares with the network given.
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        for name, value in values.items():
            if name == "bias":
                module.register_buffer(name, value)
            else:
                module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return copied
