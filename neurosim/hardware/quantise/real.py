"""A network in real numbers, read as the chip's neuron needs it: decays, gains, thresholds, biases, weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim import cores
from neurosim.errors import ExportError
from neurosim.language import Surrogate
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population
from neurosim.synapses import AvgPool2d, Conv1d, Conv2d, Flatten, Linear, RoundedDelays, Sparse, SumPool2d, Synapse

Weighted = Linear | Conv1d | Conv2d | Sparse | RoundedDelays
_WEIGHTED = (Linear, Conv1d, Conv2d, Sparse, RoundedDelays)
_SPIKING = (cores.integrate_and_fire, cores.lif, cores.cubalif)
_READOUT = (cores.leaky_integrator,)


@dataclass(frozen=True)
class RealPopulation:
    """A population in the chip's terms, not yet rounded but for its decays.

    Attributes
    ----------
    shape : tuple of int
    du, dv : int or Tensor
        Decays as `neurosim.hardware.loihi.loihi` takes them.
    v_th : float or Tensor or None
        In units of the membrane; None for a readout.
    bias : Tensor or None
        What is added to the membrane at each step, in its units; broadcasts against `shape`.
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
    """An edge whose weights hold all gains, so that what they add up to goes onto the membrane as it is.

    Attributes
    ----------
    source, target, name : str
    before : tuple of Synapse
        `Flatten` and `SumPool2d` before the weights.
    synapse : Synapse
        The map that the weights belong to; its own weights are without the gains.
    weight : Tensor
        In units of the membrane per spike.
    delay : float
        Of the edge, s.
    """

    source: str
    target: str
    name: str
    before: tuple[Synapse, ...]
    synapse: Weighted
    weight: Tensor
    delay: float


@dataclass(frozen=True)
class RealNetwork:
    """All of a network in the chip's terms."""

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
    problems: list[str] = []
    gains = {name: _gain(name, node, problems) for name, node in net.populations().items()}
    edges: list[RealEdge] = []
    biases: dict[str, Tensor] = {}
    for edge in net.edges:
        weighted = _weighted(edge, problems)
        gain = gains[edge.target]
        if weighted is None or gain is None:
            continue
        before, synapse, factor = weighted
        shape = net.shape(edge.target)
        weight = _with_gain(edge, synapse, gain * factor, shape, problems)
        edges.append(RealEdge(edge.source, edge.target, edge.name, before, synapse, weight, edge.delay))
        given: Tensor | None = getattr(synapse, "bias", None)
        if given is not None:
            bias = given.detach().double()
            bias = bias.reshape(-1, *[1] * (len(shape) - 1)) * gain
            biases[edge.target] = biases[edge.target] + bias if edge.target in biases else bias
    populations = {
        name: _population(name, node, net.shape(name), biases.get(name), problems)
        for name, node in net.populations().items()
        if isinstance(node, Neuron) and gains[name] is not None
    }
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ExportError(f"Loihi cannot hold this network:\n{listed}")
    inputs = {name: net.shape(name) for name in net.inputs}
    return RealNetwork(inputs, populations, tuple(edges), net.output)


def _gain(name: str, node: Population, problems: list[str]) -> Tensor | None:
    """Return what one unit of current adds to the membrane, or say why the chip has no such neuron."""
    where = f"node {name!r}"
    if not isinstance(node, Neuron) or node.core not in (*_SPIKING, *_READOUT):
        problems.append(f"{where}: its model is {node.kind!r}; the chip holds IF, LIF, CubaLIF, and LI as a readout")
        return None
    if node.is_spiking and node.reset != "value":
        problems.append(f'{where}: reset={node.reset!r}; the chip resets to 0; train with reset="value"')
    if node.is_spiking and torch.as_tensor(node.value("v_reset")).any():
        problems.append(f"{where}: v_reset={node.value('v_reset')}; the chip resets to 0; train with v_reset=0.0")
    gain = _number(node.value("r"))
    return gain if node.core is cores.integrate_and_fire else (1.0 - _number(node.decay("tau_mem"))) * gain


def _population(
    name: str, node: Neuron, shape: tuple[int, ...], bias: Tensor | None, problems: list[str]
) -> RealPopulation:
    leaks = node.core is not cores.integrate_and_fire
    dv = _register(1.0 - _number(node.decay("tau_mem"))) if leaks else 0
    du: int | Tensor = 4095
    if node.core is cores.cubalif:
        du = _register(1.0 - _number(node.decay("tau_syn"))) - 1
        if bias is not None and bias.any():
            problems.append(
                f"node {name!r}: a bias of its synapses passes through the synaptic current, which the bias of the "
                "chip does not; train without bias, or use LIF"
            )
    v_th: float | Tensor | None = None
    if node.is_spiking:
        v_th = node.value("v_th")
        if (torch.as_tensor(v_th) < 0).any():
            problems.append(f"node {name!r}: v_th={v_th}; the chip holds thresholds from 0")
        v_th = v_th.detach() if isinstance(v_th, Tensor) else v_th
    return RealPopulation(shape, du, dv, v_th, bias, node.spike, node.dt)


def _register(share: Tensor) -> int | Tensor:
    """Return the register, out of 4096, of what decays in a step."""
    steps = torch.round(4096 * share)
    return int(steps) if steps.dim() == 0 else steps.long()


def _number(value: float | Tensor) -> Tensor:
    return torch.as_tensor(value).detach().double()


def _weighted(edge: Connection, problems: list[str]) -> tuple[tuple[Synapse, ...], Weighted, float] | None:
    """Return what stands before the weights, the map with the weights, and the factor of means turned into sums."""
    where = f"edge {edge.name!r}"
    *before, last = edge.synapses
    kept: list[Synapse] = []
    factor = 1.0
    for synapse in before:
        if isinstance(synapse, AvgPool2d):
            (height, width), (down, right) = synapse.kernel, synapse.stride
            kept.append(SumPool2d((height, width), stride=(down, right)))
            factor /= math.prod(synapse.kernel)
        elif isinstance(synapse, (Flatten, SumPool2d)):
            kept.append(synapse)
        else:
            kind = type(synapse).__name__
            problems.append(f"{where}: holds {kind}; before the weights stand Flatten, SumPool2d, AvgPool2d")
            return None
    if not isinstance(last, _WEIGHTED):
        allowed = ", ".join(kind.__name__ for kind in _WEIGHTED)
        problems.append(f"{where}: ends with {type(last).__name__}; the chip holds {allowed}")
        return None
    if not torch.isfinite(last.weight).all():
        problems.append(f"{where}: weights hold NaN or infinity; train again")
        return None
    return tuple(kept), last, factor


def _with_gain(
    edge: Connection, synapse: Weighted, gain: Tensor, shape: tuple[int, ...], problems: list[str]
) -> Tensor:
    weight = synapse.weight.detach().double()
    if gain.dim() == 0:
        return weight * gain
    gain = gain.expand(shape)
    if isinstance(synapse, Sparse):
        return weight * gain[synapse.connections[0]]
    if isinstance(synapse, (Conv1d, Conv2d)):
        first = gain.flatten(1)[:, :1]
        if not torch.equal(gain.flatten(1), first.expand(shape[0], gain[0].numel())):
            problems.append(
                f"edge {edge.name!r}: the neurons after it differ in r or tau_mem within a channel, which shared "
                "weights cannot hold; give each channel one value"
            )
        gain = first.flatten()
    return weight * gain.reshape(-1, *[1] * (weight.dim() - 1))
