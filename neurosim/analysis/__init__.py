"""Analysis of recorded spikes on integer steps, and mean-field theory to compare with."""

from __future__ import annotations

from neurosim.analysis.correlation import (
    CorrelationHistogram,
    PairCorrelations,
    auto_correlation,
    cross_correlation,
    pairwise_correlation,
)
from neurosim.analysis.counts import (
    fano_factor,
    firing_rates,
    population_counts,
    population_rate,
    synchrony,
    trace_synchrony,
)
from neurosim.analysis.interspike import (
    IntervalHistogram,
    Intervals,
    interval_cv,
    interval_histogram,
    intervals,
    local_variation,
)
from neurosim.analysis.mean_field import siegert_rate
from neurosim.analysis.spectrum import Spectrum, power_spectrum
from neurosim.analysis.summary import Statistics, population_statistics

__all__ = [
    "CorrelationHistogram",
    "IntervalHistogram",
    "Intervals",
    "PairCorrelations",
    "Spectrum",
    "Statistics",
    "auto_correlation",
    "cross_correlation",
    "fano_factor",
    "firing_rates",
    "interval_cv",
    "interval_histogram",
    "intervals",
    "local_variation",
    "pairwise_correlation",
    "population_counts",
    "population_rate",
    "population_statistics",
    "power_spectrum",
    "siegert_rate",
    "synchrony",
    "trace_synchrony",
]
