"""Placement: put a network on the cores of a chip, and see what binds and what does not fit."""

from neurosim.hardware.placement.circuit import Circuit, Layer
from neurosim.hardware.placement.links import Full, Link, Listed
from neurosim.hardware.placement.placement import Misfit, Part, Placed, Placement
from neurosim.hardware.placement.placing import place

__all__ = ["Circuit", "Full", "Layer", "Link", "Listed", "Misfit", "Part", "Placed", "Placement", "place"]
