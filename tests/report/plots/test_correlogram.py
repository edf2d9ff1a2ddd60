"""The correlation histogram as a picture."""

from __future__ import annotations

import pytest

from neurosim.analysis import auto_correlation, cross_correlation
from neurosim.errors import InputError
from neurosim.report import correlogram
from tests.report.plots.test_populations import axes_of, circuit


def test_it_draws_the_rate_at_each_lag_and_the_mean() -> None:
    run = circuit({"E": 20, "I": 15})
    (axes,) = axes_of(correlogram(run, "E", "I", bin=2e-3, window=10e-3))
    heights, edges, _ = axes.patches[1].get_data()
    found = cross_correlation(run.spikes["E"], run.spikes["I"], 2e-3, 10e-3)
    assert heights.tolist() == found.rate.tolist()
    assert edges == pytest.approx([-11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11])
    assert axes.lines[0].get_ydata()[0] == run.spikes["I"].rate()
    assert axes.get_xlabel() == "lag (ms); bins of 2 ms"


def test_of_one_population_it_is_symmetric() -> None:
    run = circuit({"E": 20})
    (axes,) = axes_of(correlogram(run, "E", bin=1e-3, window=5e-3))
    heights, _, _ = axes.patches[1].get_data()
    found = auto_correlation(run.spikes["E"], 1e-3, 5e-3)
    assert heights[5:].tolist() == found.rate.tolist() and heights[::-1].tolist() == heights.tolist()


def test_a_population_that_was_not_recorded_is_refused() -> None:
    with pytest.raises(InputError, match="no spikes of 'I' were recorded"):
        correlogram(circuit({"E": 4}), "E", "I", bin=1e-3, window=5e-3)
