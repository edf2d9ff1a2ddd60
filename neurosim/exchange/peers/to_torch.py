"""Parts that all exporters to torch share: a network as a sequence of layers, and synapses as layers of torch."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from neurosim import cores
from neurosim.exchange.peers.errors import ConversionError
from neurosim.exchange.peers.steps import Number, doubled, tidy
from neurosim.network.folding import fold
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.network.portability import several_ports, sources, start_values, values_per_trial
from neurosim.quantities import value_range
from neurosim.synapses.building import LARGEST_MATRIX
from neurosim.synapses.lowering import (
    Convolution,
    Dense,
    Lowered,
    Opaque,
    Pooling,
    Reshape,
    Scaling,
    SparseRows,
    Weighted,
)


@dataclasses.dataclass(frozen=True, eq=False)
class RowSynapse:
    """A synapse in a sequence: the name of its class, what it computes, and the shapes of its input and current."""

    kind: str
    value: Lowered
    shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @property
    def matrix(self) -> Dense | None:
        """The synapse as a matrix between two rows of neurons, if it is one."""
        value = self.value
        if len(self.shape) != 1 or len(self.out_shape) != 1:
            return None
        if isinstance(value, Scaling):
            value = value.rows(self.shape)
        if isinstance(value, SparseRows) and value.delay is None and value.n_in * value.n_out <= LARGEST_MATRIX:
            return Dense(value.matrix(), value.bias)
        return value if isinstance(value, Dense) and value.delay is None else None


@dataclasses.dataclass(frozen=True, eq=False)
class RowStage:
    """A population in a sequence.

    Attributes
    ----------
    name : str
    synapses : tuple of RowSynapse
        From the population before.
    neuron : Neuron
    loop : RowSynapse or None
        Synapses of the population onto itself, one step late.
    dtype : torch.dtype
        Of the synapses' numbers.
    """

    name: str
    synapses: tuple[RowSynapse, ...]
    neuron: Neuron
    loop: RowSynapse | None
    dtype: torch.dtype

    @property
    def where(self) -> str:
        """Name in messages."""
        return f"node {self.name!r}"


def stages(net: Network, library: str) -> list[RowStage]:
    """Return a network as a sequence of populations; normalisation is folded into weights.

    Raises
    ------
    ConversionError
        When it is none: several inputs or paths, delays, or loops over several populations.
    """
    if any(synapse.folds for edge in net.edges for synapse in edge.synapses):
        net = fold(net)
    for where, what in (*sources(net), *several_ports(net), *values_per_trial(net), *start_values(net)):
        raise ConversionError(f"{where}: {what}.")
    before, row = net.inputs[0], []
    if len(net.inputs) > 1:
        raise ConversionError(f"{library} takes a sequence of layers; this network has the inputs {list(net.inputs)}.")
    for name, node in net.populations().items():
        into = [edge for edge in net.edges if edge.target == name]
        loops = [edge for edge in into if edge.source == name]
        outer = [edge for edge in into if edge.source != name]
        late = [edge for edge in outer if edge.delay_steps] + [edge for edge in loops if edge.delay_steps != 1]
        if late:
            raise ConversionError(
                f"edge {late[0].name!r}: a delay of {late[0].delay:g} s; {library} has no delays. Leave it out."
            )
        if len(outer) != 1 or outer[0].source != before or len(loops) > 1 or any(len(e.synapses) > 1 for e in loops):
            raise ConversionError(
                f"node {name!r}: {library} takes a sequence of layers, each with at most one loop of one synapse; the "
                f"inputs of this one are {[edge.source for edge in into]}."
            )
        if not isinstance(node, Neuron) or type(node) is not Neuron:
            raise ConversionError(f"node {name!r}: a {type(node).__name__} has no equivalent in {library}.")
        numbers = [p.dtype for synapse in outer[0].synapses for p in synapse.parameters()]
        dtype = numbers[0] if numbers else torch.get_default_dtype()
        loop = _described(loops[0], net.shape(name), dtype)[0] if loops else None
        synapses = _described(outer[0], net.shape(before), dtype)
        row.append(RowStage(name, tuple(synapses), node, loop, dtype))
        before = name
    return row


def _described(edge: Connection, shape: tuple[int, ...], dtype: torch.dtype) -> list[RowSynapse]:
    described = []
    for synapse in edge.synapses:
        value, out_shape = synapse.lowered(shape), synapse.output_shape(shape)
        if not isinstance(value, Opaque):
            value = value.to(dtype)
        described.append(RowSynapse(type(synapse).__name__, value, shape, out_shape))
        shape = out_shape
    return described


def gain_of(neuron: Population) -> Number:
    """Return the factor of a current in the membrane of a LIF, CubaLIF, LI or IF."""
    assert isinstance(neuron, Neuron)
    r = neuron.value("r")
    if neuron.core in (cores.integrate_and_fire, cores.integrator):
        return tidy(r)
    return tidy((1.0 - doubled(neuron.decay("tau_mem"))) * doubled(r))


def torch_layers(stage: RowStage, gain: Number) -> list[nn.Module]:
    """Return the layers of torch before a population, the last weights and biases times `gain`.

    Raises
    ------
    ConversionError
        For synapses that torch has no layer for, and a gain that no weights can take.
    """
    synapses = [s for s in stage.synapses if not (isinstance(s.value, Scaling) and s.value.is_identity)]
    for synapse in synapses:
        if isinstance(synapse.value, Opaque):
            raise _no_layer(synapse, stage.where)
    if isinstance(gain, Tensor) or gain != 1.0:
        weighted = [k for k, s in enumerate(synapses) if _weights(s) is not None]
        if not weighted or (weighted[-1] != len(synapses) - 1 and isinstance(gain, Tensor)):
            raise ConversionError(
                f"{stage.where}: no weights right before it can take its gain of {value_range(gain)}."
            )
        synapses[weighted[-1]] = scaled(synapses[weighted[-1]], gain, stage.where)
    return [torch_layer(synapse, stage.where) for synapse in synapses]


def scaled(synapse: RowSynapse, gain: Number, where: str) -> RowSynapse:
    """Return a synapse with its weights and bias times `gain`, computed in double precision and rounded once."""
    weights = _weights(synapse)
    if weights is None:
        raise _no_layer(synapse, where)
    factors = weights.row_factors(torch.as_tensor(gain, dtype=torch.float64), synapse.out_shape)
    if factors is None:
        raise ConversionError(f"{where}: a gain that differs within a channel, which a shared kernel cannot take.")
    return dataclasses.replace(synapse, value=weights.times(factors))


def torch_layer(synapse: RowSynapse, where: str) -> nn.Module:
    """Return a synapse as a layer of torch."""
    value, weights = synapse.value, _weights(synapse)
    if weights is not None:
        return _filled(weights)
    if isinstance(value, Pooling):
        (height, width), (down, right) = value.kernel, value.stride
        if value.kind == "max":
            return nn.MaxPool2d((height, width), (down, right))
        divisor = 1 if value.kind == "sum" else None
        return nn.AvgPool2d((height, width), (down, right), divisor_override=divisor)
    if isinstance(value, Reshape):
        flat = nn.Flatten()
        return flat if len(value.shape) == 1 else nn.Sequential(flat, nn.Unflatten(1, value.shape))
    raise _no_layer(synapse, where)


def _weights(synapse: RowSynapse) -> Dense | Convolution | None:
    return synapse.value if isinstance(synapse.value, Convolution) else synapse.matrix


def _filled(value: Weighted) -> nn.Module:
    bias = value.bias is not None
    if isinstance(value, Convolution):
        kind = nn.Conv1d if len(value.kernel) == 1 else nn.Conv2d
        shape = dict(stride=value.stride, padding=value.padding, dilation=value.dilation)
        layer: nn.Module = kind(value.c_in, value.c_out, value.kernel, groups=value.groups, bias=bias, **shape)  # type: ignore[arg-type]
    else:
        n_out, n_in = value.weight.shape
        layer = nn.Linear(n_in, n_out, bias=bias)
    layer.to(value.weight.dtype)
    with torch.no_grad():
        layer.get_parameter("weight").copy_(value.weight)
        if value.bias is not None:
            layer.get_parameter("bias").copy_(value.bias)
    return layer


def _no_layer(synapse: RowSynapse, where: str) -> ConversionError:
    why = f": it {synapse.value.reason}" if isinstance(synapse.value, Opaque) else ""
    return ConversionError(
        f"{where}: {synapse.kind} has no layer in torch{why}; use Linear, Conv, pooling, or a linear synapse of your "
        "own between rows of neurons."
    )
