"""Rates, Fano factor and synchrony against Poisson, regular and common trains."""

from __future__ import annotations

import numpy as np
import pytest

from neurosim import Events
from neurosim.analysis import fano_factor, firing_rates, synchrony, trace_synchrony
from neurosim.errors import InputError, ShapeError
from tests.analysis.trains import multiple_interaction, poisson, renewal

DT = 1e-4


def test_rates_of_each_neuron_and_sample() -> None:
    events = Events(step=[0, 1, 1], neuron=[0, 3, 3], batch=[0, 1, 1], T=100, B=2, dt=1e-3, shape=(2, 2))
    assert firing_rates(events).tolist() == [[[10, 0], [0, 0]], [[0, 0], [0, 20]]]


@pytest.mark.parametrize("bin", [1e-3, 3e-3, 20e-3])
def test_fano_factor_of_poisson_trains(bin: float) -> None:
    # A step holds one spike at most: the variance is 1 - rate dt of the mean.
    found = fano_factor(poisson(30.0, 100, 100_000, DT, seed=1, B=2), bin)
    bins = round(10 / bin)
    assert found == pytest.approx(np.full(2, 1 - 30.0 * DT), abs=5 * (2 / bins) ** 0.5)


def test_fano_factor_of_regular_and_of_common_trains() -> None:
    regular = renewal(np.c_[np.arange(20), np.full((20, 199), 50)], 10_000, DT)
    assert fano_factor(regular, 5e-3).tolist() == [0.0]
    one = poisson(30.0, 1, 100_000, DT, seed=2)
    common = Events(step=np.repeat(one.step, 50), neuron=np.tile(np.arange(50), len(one)), T=100_000, dt=DT, shape=50)
    assert fano_factor(common, 3e-3)[0] == pytest.approx(50 * fano_factor(one, 3e-3)[0])


def test_fano_factor_of_correlated_trains() -> None:
    # Var / mean of the sum of N trains of pairwise correlation c: 1 + (N - 1) c.
    events = multiple_interaction(20.0, 0.1, 50, 400_000, DT, seed=3)
    assert fano_factor(events, 5e-3)[0] == pytest.approx(1 + 49 * 0.1, rel=0.1)


def test_synchrony_of_independent_common_and_correlated_trains() -> None:
    assert synchrony(poisson(30.0, 100, 100_000, DT, seed=4), 3e-3)[0] == pytest.approx(0.1, rel=0.05)
    one = poisson(30.0, 1, 10_000, DT, seed=5)
    common = Events(step=np.repeat(one.step, 5), neuron=np.tile(np.arange(5), len(one)), T=10_000, dt=DT, shape=5)
    assert synchrony(common, 3e-3) == pytest.approx(1.0)
    events = multiple_interaction(20.0, 0.1, 50, 400_000, DT, seed=6)
    assert synchrony(events, 5e-3)[0] == pytest.approx(((1 + 49 * 0.1) / 50) ** 0.5, rel=0.05)


@pytest.mark.parametrize("k", [1, 7, 50])
def test_synchrony_by_its_definition(k: int) -> None:
    events = poisson(60.0, 6, 1000, 1e-3, seed=7, B=3)
    bins = 1000 // k
    grid = events.to_grid().double().numpy()[: bins * k].reshape(bins, k, 3, 6).sum(axis=1)
    assert synchrony(events, k * 1e-3) == pytest.approx(trace_synchrony(grid))
    assert fano_factor(events, k * 1e-3) == pytest.approx(grid.sum(2).var(axis=0) / grid.sum(2).mean(axis=0))


def test_samples_without_spikes_have_no_value() -> None:
    events = Events(step=[0, 1, 2], neuron=[0, 0, 0], batch=[1, 1, 1], T=10, B=2, dt=1e-3, shape=2)
    assert np.isnan(fano_factor(events, 2e-3)).tolist() == [True, False]
    assert np.isnan(synchrony(events, 2e-3)).tolist() == [True, False]


def test_one_complete_bin_is_refused() -> None:
    events = poisson(50.0, 3, 19, 1e-3, seed=8)
    for analyse in (fano_factor, synchrony):
        with pytest.raises(InputError, match=r"1 complete bins of 0\.01 s; it needs 2"):
            analyse(events, 10e-3)


def test_traces_of_the_wrong_shape_or_value_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"must be \[T, B, \*shape\]; got \[4, 2\]"):
        trace_synchrony(np.zeros((4, 2)))
    for wrong in (np.zeros((1, 1, 2)), np.full((3, 1, 2), np.nan)):
        with pytest.raises(InputError, match="two steps or more and finite"):
            trace_synchrony(wrong)
    assert np.isnan(trace_synchrony(np.zeros((3, 1, 2)))).all()
