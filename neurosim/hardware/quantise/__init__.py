"""From a trained network in real numbers to one in whole numbers, for Loihi; and training in whole numbers."""

from __future__ import annotations

from neurosim.hardware.quantise.network import Quantised, quantise
from neurosim.hardware.quantise.search import Choice
from neurosim.hardware.quantise.sweep import BitsReport, BitsResult, accuracy_against_bits
from neurosim.hardware.quantise.whole import Scale, fixed

__all__ = [
    "BitsReport",
    "BitsResult",
    "Choice",
    "Quantised",
    "Scale",
    "accuracy_against_bits",
    "fixed",
    "quantise",
]
