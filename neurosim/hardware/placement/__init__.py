"""Placement of a network on the cores of a chip: which limits bind, and what does not fit."""

from neurosim.hardware.placement.groups import GroupPlacement, place_groups
from neurosim.hardware.placement.links import Full, Link, Listed
from neurosim.hardware.placement.placement import Misfit, Part, Placed, Placement
from neurosim.hardware.placement.placing import place
from neurosim.hardware.placement.workload import NeuronGroup, Workload

__all__ = [
    "Full",
    "GroupPlacement",
    "Link",
    "Listed",
    "Misfit",
    "NeuronGroup",
    "Part",
    "Placed",
    "Placement",
    "Workload",
    "place",
    "place_groups",
]
