"""A network of integers as data: steps, weights and accumulators, for programs without floating point."""

from __future__ import annotations

from neurosim.hardware.integers.comparison import Comparison
from neurosim.hardware.integers.description import (
    Accumulator,
    IntegerNetwork,
    IntegerPopulation,
    computes_in_integers,
    integer_network,
)
from neurosim.hardware.integers.projection import Projection
from neurosim.hardware.integers.traces import Traces, simulated, spikes_of, traces_of

__all__ = [
    "Accumulator",
    "Comparison",
    "IntegerNetwork",
    "IntegerPopulation",
    "Projection",
    "Traces",
    "computes_in_integers",
    "integer_network",
    "simulated",
    "spikes_of",
    "traces_of",
]
