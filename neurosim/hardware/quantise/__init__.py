"""From a trained network to one in integers, for Loihi; and training in integers."""

from __future__ import annotations

from neurosim.hardware.quantise.integer import PopulationScale
from neurosim.hardware.quantise.network import Quantised, quantise
from neurosim.hardware.quantise.onto_grid import fixed
from neurosim.hardware.quantise.search import Choice
from neurosim.hardware.quantise.sweep import BitsReport, BitsResult, accuracy_against_bits

__all__ = [
    "BitsReport",
    "BitsResult",
    "Choice",
    "PopulationScale",
    "Quantised",
    "accuracy_against_bits",
    "fixed",
    "quantise",
]
