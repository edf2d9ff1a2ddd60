"""Statistics of a raster against values computed by hand and against the Poisson law."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.peers.measures import cvs, measures


def test_a_regular_neuron_has_no_variation_and_a_silent_one_counts_for_the_rate_alone() -> None:
    step = np.arange(0, 1000, 10)
    found = measures(step, np.zeros_like(step), 2, 1000, 1e-3)
    assert found["rate"] == 50.0 and found["sd_rates"] == 50.0 and found["spikes"] == 100
    assert found["cv"] == 0.0


def test_intervals_of_two_lengths() -> None:
    # intervals 10 and 30: mean 20, standard deviation 10; the order of the spikes does not matter
    step, neuron = np.array([40, 0, 10, 7]), np.array([0, 0, 0, 1])
    assert cvs(step, neuron, 2).tolist() == [0.5]


def test_poisson_spikes_have_a_variation_and_a_fano_factor_of_one() -> None:
    rng = np.random.default_rng(1)
    step, neuron = np.nonzero(rng.random((50_000, 40)) < 0.01)
    found = measures(step, neuron, 40, 50_000, 1e-3)
    assert found["cv"] == pytest.approx(math.sqrt(0.99), abs=0.02)
    assert found["fano"] == pytest.approx(0.99, abs=0.05)
    assert found["rate"] == pytest.approx(10.0, abs=0.2)


def test_without_spikes_nothing_is_invented() -> None:
    found = measures(np.zeros(0, int), np.zeros(0, int), 3, 100, 1e-3)
    assert found["rate"] == 0.0 and math.isnan(found["cv"]) and math.isnan(found["fano"])
