"""Operation counts of a run, and their energy and time on chips."""

from __future__ import annotations

from neurosim.energy.counting import count_operations
from neurosim.energy.operations import NodeOperations, Operations, SynapseOperations
from neurosim.energy.report import DEFAULT_TARGETS, EnergyColumn, EnergyReport, energy
from neurosim.energy.times import DEFAULT_CHIPS, LatencyColumn, LatencyReport, chip_latency
from neurosim.energy.traffic import Traffic, count_traffic

__all__ = [
    "DEFAULT_CHIPS",
    "DEFAULT_TARGETS",
    "EnergyColumn",
    "EnergyReport",
    "LatencyColumn",
    "LatencyReport",
    "NodeOperations",
    "Operations",
    "SynapseOperations",
    "Traffic",
    "chip_latency",
    "count_operations",
    "count_traffic",
    "energy",
]
