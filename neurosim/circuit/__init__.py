"""Circuits: sources that make their own input, rules and distributions of synapses, and exact event-driven runs."""

from __future__ import annotations

from neurosim.circuit.sources import Current, Noise, Poisson, SpikeTrain
from neurosim.synapses.connectivity import AllToAll, Bernoulli, FixedInDegree, FixedOutDegree, FixedTotal, OneToOne
from neurosim.synapses.distance import ByDistance, ExponentialProfile, GaussianProfile
from neurosim.synapses.distributions import Constant, LogNormal, Normal, Uniform
from neurosim.synapses.listed import FromSciPy, FromTable

__all__ = [
    "AllToAll",
    "Bernoulli",
    "ByDistance",
    "Constant",
    "Current",
    "ExponentialProfile",
    "FixedInDegree",
    "FixedOutDegree",
    "FixedTotal",
    "FromSciPy",
    "FromTable",
    "GaussianProfile",
    "LogNormal",
    "Noise",
    "Normal",
    "OneToOne",
    "Poisson",
    "SpikeTrain",
    "Uniform",
]
