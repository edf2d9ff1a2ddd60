"""Building the integer network of a network in real numbers, once its scales are chosen."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neurosim.hardware.loihi.neurons import loihi, split_bias
from neurosim.hardware.loihi.weights import SignMode, sign_mode, weight_range
from neurosim.hardware.quantise.grid import BiasGrid, WeightGrid, held_bias
from neurosim.hardware.quantise.real import RealEdge, RealNetwork, RealPopulation
from neurosim.network.graph import Edge, Input
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Conv1d, Conv2d, Linear, RoundedDelays, Sparse, Synapse
from neurosim.synapses.shift import Shift

HIGHEST_THRESHOLD = 131071
MOST_EXPONENT = 7


@dataclass(frozen=True)
class Scale:
    """How a population and the edges into it are scaled.

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
        """Voltage of the chip that a membrane of 1 is."""
        return 64.0 * self.scale


def modes(edge: RealEdge) -> SignMode:
    """Return the sign mode in which the weights of an edge are kept."""
    return sign_mode(edge.weight)


def scale_of(population: RealPopulation, edges: list[RealEdge], scale: float, bits: int, clip: float = 1.0) -> Scale:
    """Return `scale` with the smallest exponents that leave weights at most `clip` times the range."""
    exponents = {}
    for edge in edges:
        low, high = weight_range(bits, modes(edge))
        most = max(abs(low), high) * clip
        size = float(edge.weight.abs().max()) * scale if edge.weight.numel() else 0.0
        exponents[edge.name] = min(max(math.ceil(math.log2(size / most)) if size > most else 0, 0), MOST_EXPONENT)
    return Scale(scale, exponents)


def neurons(population: RealPopulation, scale: Scale) -> Neuron:
    """Return the population in whole numbers."""
    v_th: Any = None
    if population.v_th is not None:
        v_th = torch.round(torch.as_tensor(population.v_th).double() * scale.scale).clamp(max=HIGHEST_THRESHOLD)
        v_th = int(v_th) if v_th.dim() == 0 else v_th
    bias: Any = 0.0 if population.bias is None else held_bias(population.bias * scale.unit)
    mantissa, exponent = split_bias(bias)
    return loihi(
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


def synapses(edge: RealEdge, scale: Scale, bits: int) -> tuple[list[Synapse], WeightGrid]:
    """Return the maps of the edge with whole weights, and the grid that they are on."""
    exponent = scale.exponents[edge.name]
    grid = WeightGrid(scale.scale * 2.0**-exponent, bits, modes(edge))
    made = _like(edge.synapse, grid(edge.weight))
    shift: list[Synapse] = [Shift(exponent)] if exponent else []
    return [*(copy.deepcopy(s) for s in edge.before), made, *shift], grid


def _like(synapse: Synapse, weight: Tensor) -> Synapse:
    """Return a map such as `synapse` with these weights and no bias."""
    if isinstance(synapse, RoundedDelays):
        return RoundedDelays(weight.float(), synapse.delay, max_delay=synapse.max_delay, dt=synapse.dt)
    made: Synapse
    if isinstance(synapse, Linear):
        made = Linear(synapse.n_in, synapse.n_out)
    elif isinstance(synapse, Sparse):
        made = Sparse(synapse.n_in, synapse.n_out, synapse.connections, weight.float())
    else:
        assert isinstance(synapse, (Conv1d, Conv2d))
        shape: Any = dict(stride=synapse.stride, padding=synapse.padding, dilation=synapse.dilation)
        made = type(synapse)(synapse.c_in, synapse.c_out, synapse.kernel, groups=synapse.groups, **shape)
    made.weight = nn.Parameter(weight.float(), requires_grad=False)
    return made


def network(real: RealNetwork, scales: Mapping[str, Scale], bits: int, trained: bool = False) -> Network:
    """Return the integer network, in single precision.

    Parameters
    ----------
    real : RealNetwork
    scales : mapping of str to Scale
        By population.
    bits : int
    trained : bool
        Whether weights and biases are kept in real numbers and rounded at each use, so that they can be trained.
    """
    nodes: dict[str, Any] = {name: Input(shape) for name, shape in real.inputs.items()}
    for name, population in real.populations.items():
        nodes[name] = neurons(population, scales[name])
        if trained and population.bias is not None:
            _train(nodes[name], "bias", population.bias, BiasGrid(scales[name].unit))
    edges = []
    for edge in real.edges:
        maps, grid = synapses(edge, scales[edge.target], bits)
        if trained and not isinstance(edge.synapse, RoundedDelays):
            _train(next(s for s in maps if hasattr(s, "weight")), "weight", edge.weight, grid)
        edges.append(Edge(edge.source, edge.target, maps, edge.delay or None, edge.name))
    return Network(nodes, edges, output=real.output)


def _train(module: nn.Module, name: str, value: Tensor, grid: nn.Module) -> None:
    """Let `module` hold `value` as a parameter that is rounded by `grid` where it is used."""
    delattr(module, name)
    module.register_parameter(name, nn.Parameter(value.float().clone()))
    parametrize.register_parametrization(module, name, grid, unsafe=True)


def fixed(net: Network) -> Network:
    """Return a copy of a network that was trained on a grid: its whole numbers as they are, nothing left to train."""
    made = copy.deepcopy(net)
    for module in list(made.modules()):
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
    return made
