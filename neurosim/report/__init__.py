"""Seeing a run: operations and energy, raster and other plots, one HTML file for it all."""

from __future__ import annotations

from neurosim.report.bits_plot import bits_curve
from neurosim.report.chip_plot import chip_map
from neurosim.report.counting import count_operations
from neurosim.report.energy_report import DEFAULT_TARGETS, EnergyColumn, EnergyReport, energy
from neurosim.report.exit_plot import exit_curve
from neurosim.report.html import Section, write_report
from neurosim.report.learning_plot import learning_curve
from neurosim.report.operations import NodeOperations, Operations, SynapseOperations
from neurosim.report.raster_plot import raster
from neurosim.report.rate_plot import rates
from neurosim.report.style import save_figure
from neurosim.report.trace_plot import traces

__all__ = [
    "DEFAULT_TARGETS",
    "EnergyColumn",
    "EnergyReport",
    "NodeOperations",
    "Operations",
    "Section",
    "SynapseOperations",
    "bits_curve",
    "chip_map",
    "count_operations",
    "energy",
    "exit_curve",
    "learning_curve",
    "raster",
    "rates",
    "save_figure",
    "traces",
    "write_report",
]
