"""Reports of a run: plots, and one HTML file with everything."""

from __future__ import annotations

from neurosim.report.html import Section, write_report
from neurosim.report.plots.bits import bits_curve
from neurosim.report.plots.chip import chip_map
from neurosim.report.plots.correlogram import correlogram
from neurosim.report.plots.distribution import distributions
from neurosim.report.plots.energy import energy_figure
from neurosim.report.plots.exit import exit_curve
from neurosim.report.plots.learning import learning_curve
from neurosim.report.plots.populations import population_raster
from neurosim.report.plots.raster import raster
from neurosim.report.plots.rate import rates
from neurosim.report.plots.runs import compare_curves
from neurosim.report.plots.style import save_figure
from neurosim.report.plots.trace import traces

__all__ = [
    "Section",
    "bits_curve",
    "chip_map",
    "compare_curves",
    "correlogram",
    "distributions",
    "energy_figure",
    "exit_curve",
    "learning_curve",
    "population_raster",
    "raster",
    "rates",
    "save_figure",
    "traces",
    "write_report",
]
