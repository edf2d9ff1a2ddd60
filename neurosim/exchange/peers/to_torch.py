"""What the ways out share: a network as a row of layers, and synapses as layers of torch."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from neurosim import cores
from neurosim.exchange.peers.conversion import ConversionError, Number, doubled, tidy
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.synapses import (
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    SumPool2d,
    Synapse,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """A population in a row: its name, what leads to it, its neurons, and a loop one step late."""

    name: str
    synapses: tuple[Synapse, ...]
    neuron: Neuron
    loop: Synapse | None

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"node {self.name!r}"


def stages(net: Network, library: str) -> list[Stage]:
    """Return a network as a row of populations.

    Raises
    ------
    ConversionError
        When it is none: several inputs or ways, delays, or loops over more than one population.
    """
    before, found = net.inputs[0], []
    if len(net.inputs) > 1:
        raise ConversionError(f"{library} takes a row of layers; this network has the inputs {list(net.inputs)}.")
    for name, node in net.populations().items():
        coming = [edge for edge in net.edges if edge.target == name]
        loops = [edge for edge in coming if edge.source == name]
        outer = [edge for edge in coming if edge.source != name]
        late = [edge for edge in outer if edge.delay_steps] + [edge for edge in loops if edge.delay_steps != 1]
        if late:
            raise ConversionError(f"edge {late[0].name!r}: a delay of {late[0].delay:g} s, which {library} has not.")
        if len(outer) != 1 or outer[0].source != before or len(loops) > 1 or any(len(e.synapses) > 1 for e in loops):
            raise ConversionError(
                f"node {name!r}: {library} takes a row of layers, each with at most one loop of one map; this one "
                f"hears from {[edge.source for edge in coming]}."
            )
        if not isinstance(node, Neuron) or type(node) is not Neuron:
            raise ConversionError(f"node {name!r}: a {type(node).__name__} has no equivalent in {library}.")
        found.append(Stage(name, outer[0].synapses, node, loops[0].synapses[0] if loops else None))
        before = name
    return found


def gain_of(neuron: Population) -> Number:
    """Return the factor of a current in the membrane of a LIF, CubaLIF, LI or IF."""
    assert isinstance(neuron, Neuron)
    r = neuron.value("r")
    if neuron.core in (cores.integrate_and_fire, cores.integrator):
        return tidy(r)
    return tidy((1.0 - doubled(neuron.decay("tau_mem"))) * doubled(r))


def torch_layers(stage: Stage, gain: Number) -> list[nn.Module]:
    """Return the layers of torch before a population, the last weights and biases times `gain`.

    Raises
    ------
    ConversionError
        For synapses that torch has no layer for, and a gain that no weights can take.
    """
    synapses = [synapse for synapse in stage.synapses if not isinstance(synapse, Identity)]
    made = [torch_layer(synapse, stage.where) for synapse in synapses]
    if not isinstance(gain, Tensor) and gain == 1.0:
        return made
    weighted = [layer for layer in made if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d))]
    if not weighted or (weighted[-1] is not made[-1] and isinstance(gain, Tensor)):
        raise ConversionError(f"{stage.where}: no weights right before can take the gain of {_shown(gain)}.")
    if any(isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) for layer in made[made.index(weighted[-1]) :]):
        raise ConversionError(f"{stage.where}: fold the batch normalisation behind the weights into them first.")
    scale(weighted[-1], gain, stage.where)
    return made


def scale(layer: Any, gain: Number, where: str) -> None:
    """Multiply weights and bias, worked out in double precision and rounded once."""
    each = torch.as_tensor(gain, dtype=torch.float64)
    if each.dim() and not isinstance(layer, nn.Linear):
        raise ConversionError(f"{where}: a gain of its own for each neuron, which a shared kernel cannot take.")
    with torch.no_grad():
        column = each.reshape(-1, 1) if each.dim() else each
        layer.weight.copy_(layer.weight.double() * column)
        if layer.bias is not None:
            layer.bias.copy_(layer.bias.double() * each)


def torch_layer(synapse: Synapse, where: str) -> Any:
    """Return the layer of torch that a synapse is."""
    if isinstance(synapse, Linear):
        made: Any = nn.Linear(synapse.n_in, synapse.n_out, bias=synapse.bias is not None)
    elif isinstance(synapse, (Conv1d, Conv2d)):
        kind: Any = nn.Conv1d if isinstance(synapse, Conv1d) else nn.Conv2d
        shape = {name: getattr(synapse, name) for name in ("stride", "padding", "dilation", "groups")}
        made = kind(synapse.c_in, synapse.c_out, synapse.kernel, bias=synapse.bias is not None, **shape)
    elif isinstance(synapse, AvgPool2d):
        return nn.AvgPool2d(*_pairs(synapse))
    elif isinstance(synapse, SumPool2d):
        return nn.AvgPool2d(*_pairs(synapse), divisor_override=1)
    elif isinstance(synapse, MaxPool2d):
        return nn.MaxPool2d(synapse.kernel, synapse.stride)
    elif isinstance(synapse, Flatten):
        return nn.Flatten()
    elif isinstance(synapse, BatchNorm):
        raise ConversionError(f"{where}: batch normalisation; neurosim.network.fold puts it into weights.")
    else:
        raise ConversionError(f"{where}: {type(synapse).__name__} has no layer in torch; use Linear, Conv or pooling.")
    made.to(synapse.weight.dtype)
    with torch.no_grad():
        made.weight.copy_(synapse.weight)
        if synapse.bias is not None:
            made.bias.copy_(synapse.bias)
    return made


def _pairs(pool: AvgPool2d | SumPool2d) -> tuple[tuple[int, int], tuple[int, int]]:
    (height, width), (down, right) = pool.kernel, pool.stride
    return (height, width), (down, right)


def _shown(value: Number) -> str:
    return f"{value:g}" if not isinstance(value, Tensor) else f"{value.min().item():g} to {value.max().item():g}"
