"""Choosing the scale of each population on data: the one whose spikes differ least from those in real numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurosim.hardware.loihi.weights import weight_range
from neurosim.hardware.quantise.real import RealEdge, RealNetwork, RealPopulation
from neurosim.hardware.quantise.whole import HIGHEST_THRESHOLD, Scale, modes, neurons, scale_of, synapses
from neurosim.network.graph import Edge, Input
from neurosim.network.network import Network

# Scales tried, as parts of the one at which the largest weight just fits: below, small weights share fewer values;
# above, either the largest weights are clipped or a weight exponent is used, which leaves thresholds more digits.
_PARTS = tuple(2.0 ** (k / 4) for k in range(-3, 8))
_CLIPS = (1.0, 1.5)


@dataclass(frozen=True)
class Choice:
    """The scale chosen for a population.

    Attributes
    ----------
    scale : Scale
    mismatch : float
        Of spikes: of the steps in which one of the two spiked, the share in which one alone did. Of a readout: the
        root mean square of the difference of the membranes, as a share of that of the membrane.
    tried : int
        How many scales were looked at.
    """

    scale: Scale
    mismatch: float
    tried: int


def search(
    real: RealNetwork, name: str, recorded: Mapping[str, Tensor], bits: int, given: float | None = None
) -> Choice:
    """Choose the scale of the population `name`.

    Each candidate runs in whole numbers on what reached the population in real numbers, loops included.

    Parameters
    ----------
    real : RealNetwork
    name : str
        A population.
    recorded : mapping of str to Tensor [T, B, ...]
        Outputs of all nodes, inputs included, in real numbers.
    bits : int
        Of the weights.
    given : float, optional
        The scale, where it is not to be looked for.
    """
    population, edges = real.populations[name], real.into(name)
    candidates = [scale_of(population, edges, given, bits)] if given else list(_candidates(population, edges, bits))
    found = [(mismatch(population, edges, scale, recorded, name, bits), k) for k, scale in enumerate(candidates)]
    least, best = min(found)
    return Choice(candidates[best], least, len(candidates))


def _candidates(population: RealPopulation, edges: list[RealEdge], bits: int) -> Iterator[Scale]:
    fits = [_largest_fitting(edge, bits) for edge in edges if edge.weight.any()]
    v_th = 0.0 if population.v_th is None else float(torch.as_tensor(population.v_th).max())
    highest = HIGHEST_THRESHOLD / v_th if v_th > 0 else float("inf")
    seen: set[tuple[float, tuple[int, ...]]] = set()
    for base in dict.fromkeys(fits or [1.0]):
        for part in _PARTS:
            scale = min(base * part, highest)
            for clip in _CLIPS:
                made = scale_of(population, edges, scale, bits, clip)
                key = (scale, tuple(made.exponents.values()))
                if key not in seen:
                    seen.add(key)
                    yield made


def _largest_fitting(edge: RealEdge, bits: int) -> float:
    """Return the scale at which no weight of the edge is beyond the range."""
    low, high = weight_range(bits, modes(edge))
    return max(abs(low), high) / float(edge.weight.abs().max())


def mismatch(
    population: RealPopulation,
    edges: list[RealEdge],
    scale: Scale,
    recorded: Mapping[str, Tensor],
    name: str,
    bits: int,
) -> float:
    """Return how far a population in whole numbers is from that in real numbers, as in `Choice`."""
    nodes: dict[str, Any] = {}
    made, x = [], {}
    for number, edge in enumerate(edges):
        source = f"from{number}"
        x[source] = recorded[edge.source].double()
        nodes[source] = Input(x[source].shape[2:])
        maps, _ = synapses(edge, scale, bits)
        made.append(Edge(source, "neurons", maps, edge.delay or None, edge.name))
    nodes["neurons"] = neurons(population, scale)
    with torch.no_grad():
        z, _ = Network(nodes, made).double()(x)
    wanted = recorded[name].double()
    if population.v_th is None:
        return float((z - wanted).square().mean().sqrt() / wanted.square().mean().sqrt().clamp(min=1e-12))
    apart, either = (z != wanted).sum(), ((z + wanted) > 0).sum()
    return float(apart / either.clamp(min=1))
