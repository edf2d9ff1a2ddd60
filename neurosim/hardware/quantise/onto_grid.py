"""Networks whose weights are rounded to the integers of a chip, at once or at each use."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.utils import parametrize

from neurosim.hardware.quantise.real import RealEdge
from neurosim.network.network import Network
from neurosim.synapses import Synapse
from neurosim.synapses.building import synapses_of


def chain_of(edge: RealEdge, weight: Tensor) -> list[Synapse]:
    """Return the synapses of an edge with these weights, the weights last."""
    connectivity = replace(edge.connectivity, weight=weight.float(), bias=None)
    chain: list[Synapse] = []
    shape = edge.shape
    for value in (*edge.before, connectivity):
        for synapse in synapses_of(value, shape, dt=edge.dt):
            chain.append(synapse.requires_grad_(False))
            shape = synapse.output_shape(shape)
    return chain


def train_on_grid(module: nn.Module, name: str, value: Tensor, grid: nn.Module) -> None:
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
