"""From a trained network in real numbers to one in whole numbers, for Loihi; and training in whole numbers."""

from __future__ import annotations

from neurosim.hardware.quantise.quantise import Quantised, fixed, quantise
from neurosim.hardware.quantise.search import Choice
from neurosim.hardware.quantise.whole import Scale

__all__ = ["Choice", "Quantised", "Scale", "fixed", "quantise"]
