"""Spectra against the flat spectrum of Poisson trains and the variance of the rate."""

from __future__ import annotations

import pytest

from neurosim.analysis import population_rate, power_spectrum
from neurosim.errors import InputError
from tests.analysis.trains import multiple_interaction, poisson


def test_the_spectrum_of_poisson_trains_is_flat() -> None:
    events = poisson(25.0, 50, 400_000, 1e-4, seed=1, B=2)
    found = power_spectrum(events, 1e-3, 0.5)
    assert found.power.shape == (251, 2)
    assert found.frequency[-1] == pytest.approx(500.0)
    assert found.power[2:-1].mean() == pytest.approx(2 * 25.0 / 50, rel=0.02)
    low, high = found.power[2:50].mean(), found.power[200:-1].mean()
    assert low == pytest.approx(high, rel=0.05)


def test_correlated_trains_have_the_power_of_their_sum() -> None:
    # The sum of N trains of correlation c has 1 + (N - 1) c times the power of independent ones.
    events = multiple_interaction(20.0, 0.2, 50, 400_000, 1e-4, seed=2)
    found = power_spectrum(events, 1e-3, 0.5)
    assert found.power[2:-1].mean() == pytest.approx(2 * 20.0 / 50 * (1 + 49 * 0.2), rel=0.05)


def test_the_integral_is_the_variance_of_the_rate() -> None:
    events = poisson(40.0, 20, 20_000, 1e-3, seed=3)
    found = power_spectrum(events, 2e-3, 1.0)
    variance = population_rate(events, 2e-3).var()
    assert found.power.sum() * (found.frequency[1] - found.frequency[0]) == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("segment", [3e-3, 2e-3, 1.002])
def test_a_segment_that_does_not_fit_is_refused(segment: float) -> None:
    with pytest.raises(InputError, match="segment must be a multiple of bin"):
        power_spectrum(poisson(40.0, 2, 1000, 1e-3, seed=4), 2e-3, segment)
