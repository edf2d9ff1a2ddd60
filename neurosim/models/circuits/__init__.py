"""Canonical circuits of the literature, each a function that returns a network."""

from neurosim.models.circuits.cortical_column import potjans_diesmann
from neurosim.models.circuits.random_balance import brunel
from neurosim.models.circuits.self_sustained import vogels_abbott
from neurosim.models.circuits.synthetic_brain import fly_brain_like
from neurosim.models.circuits.thalamic_noise import izhikevich_2003

__all__ = ["brunel", "fly_brain_like", "izhikevich_2003", "potjans_diesmann", "vogels_abbott"]
