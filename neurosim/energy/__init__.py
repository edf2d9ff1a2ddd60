"""Operation counts of a run and their energy on chips."""

from __future__ import annotations

from neurosim.energy.counting import count_operations
from neurosim.energy.operations import NodeOperations, Operations, SynapseOperations
from neurosim.energy.report import DEFAULT_TARGETS, EnergyColumn, EnergyReport, energy

__all__ = [
    "DEFAULT_TARGETS",
    "EnergyColumn",
    "EnergyReport",
    "NodeOperations",
    "Operations",
    "SynapseOperations",
    "count_operations",
    "energy",
]
