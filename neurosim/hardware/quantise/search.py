"""The scale of each population, chosen on data: its integer spikes differ least from those in floating point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim.hardware.loihi.weights import sign_mode, weight_range
from neurosim.hardware.quantise.grid import IntegerFormat
from neurosim.hardware.quantise.integer import HIGHEST_THRESHOLD, PopulationScale, neurons, scale_of, synapses
from neurosim.hardware.quantise.real import RealEdge, RealNetwork, RealPopulation
from neurosim.hardware.quantise.replay import difference, replayed

# Candidate scales, in parts of the one at which the largest weight just fits. Below it small weights have fewer values;
# above it the largest weights are clipped, or a weight exponent is used, which leaves thresholds more digits.
_PARTS = tuple(2.0 ** (k / 4) for k in range(-3, 8))
_CLIPS = (1.0, 1.5)


@dataclass(frozen=True)
class Choice:
    """The scale chosen for a population.

    Attributes
    ----------
    scale : PopulationScale
    mismatch : float
        Of spikes: of the neuron-steps with a spike in either network, the share with a spike in only one. Of a
        readout: the root mean square of the difference of the membranes over that of the membrane.
    tried : int
        Number of candidate scales.
    """

    scale: PopulationScale
    mismatch: float
    tried: int


def search(
    real: RealNetwork, name: str, recorded: Mapping[str, Tensor], held: IntegerFormat, given: float | None = None
) -> Choice:
    """Choose the scale of the population `name`.

    Each candidate runs in integers on the spikes that reached the population in floating point, loops included.

    Parameters
    ----------
    real : RealNetwork
    name : str
        A population.
    recorded : mapping of str to Tensor [T, B, ...]
        Outputs of all nodes, inputs included, in floating point.
    held : IntegerFormat
    given : float, optional
        The scale, where it is not searched.
    """
    population, edges = real.populations[name], real.into(name)
    candidates = [scale_of(population, edges, given, held)] if given else list(_candidates(population, edges, held))
    mismatches = [(mismatch(population, edges, scale, recorded, name, held), k) for k, scale in enumerate(candidates)]
    least, best = min(mismatches)
    return Choice(candidates[best], least, len(candidates))


def _candidates(population: RealPopulation, edges: list[RealEdge], held: IntegerFormat) -> Iterator[PopulationScale]:
    fits = [_largest_fitting(edge, held.bits) for edge in edges if edge.weight.any()]
    v_th = 0.0 if population.v_th is None else float(torch.as_tensor(population.v_th).max())
    highest = HIGHEST_THRESHOLD / v_th if v_th > 0 else float("inf")
    seen: set[tuple[float, tuple[int, ...]]] = set()
    for base in dict.fromkeys(fits or [1.0]):
        for part in _PARTS:
            scale = min(base * part, highest)
            for clip in _CLIPS:
                candidate = scale_of(population, edges, scale, held, clip)
                key = (scale, tuple(candidate.exponents.values()))
                if key not in seen:
                    seen.add(key)
                    yield candidate


def _largest_fitting(edge: RealEdge, bits: int) -> float:
    """Return the largest scale at which no weight of the edge exceeds the range."""
    low, high = weight_range(bits, sign_mode(edge.weight))
    return max(abs(low), high) / float(edge.weight.abs().max())


def mismatch(
    population: RealPopulation,
    edges: list[RealEdge],
    scale: PopulationScale,
    recorded: Mapping[str, Tensor],
    name: str,
    held: IntegerFormat,
) -> float:
    """Return the difference of a population in integers from that in floating point, as in `Choice`."""
    chains = [(edge, synapses(edge, scale, held)[0]) for edge in edges]
    (z,) = replayed(neurons(population, scale, held), chains, recorded)
    return difference(z, recorded[name].double(), spikes=population.v_th is not None)
