"""Circuits: sources that make their own input, rules and distributions of synapses, and exact event-driven runs."""

from __future__ import annotations

from neurosim.circuit.sources import Current, Noise, Poisson, SpikeTrain
from neurosim.synapses.connectivity import AllToAll, Bernoulli, FixedInDegree, FixedOutDegree, FixedTotal, OneToOne
from neurosim.synapses.distributions import Constant, LogNormal, Normal, Uniform

__all__ = [
    "AllToAll",
    "Bernoulli",
    "Constant",
    "Current",
    "FixedInDegree",
    "FixedOutDegree",
    "FixedTotal",
    "LogNormal",
    "Noise",
    "Normal",
    "OneToOne",
    "Poisson",
    "SpikeTrain",
    "Uniform",
]
