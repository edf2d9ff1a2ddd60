"""Correlations against independent trains, a process of known correlation, and shifted copies."""

from __future__ import annotations

import numpy as np
import pytest

from neurosim import Events
from neurosim.analysis import auto_correlation, cross_correlation, pairwise_correlation
from neurosim.analysis.correlation import _pairs
from neurosim.errors import InputError
from tests.analysis.trains import gamma, multiple_interaction, poisson, renewal

DT = 1e-4


@pytest.mark.parametrize("size", [0, 1, 2, 3, 10, 47])
def test_all_pairs_once(size: int) -> None:
    first, second = _pairs(size, 10**6, np.random.default_rng(0))
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [
        (i, j) for i in range(size) for j in range(i + 1, size)
    ]


def test_pairs_of_many_neurons_are_distinct_and_in_range() -> None:
    first, second = _pairs(3_000_000, 5000, np.random.default_rng(1))
    assert len({*zip(first.tolist(), second.tolist(), strict=True)}) == 5000
    assert (first >= 0).all() and (first < second).all() and (second < 3_000_000).all()
    assert first.mean() == pytest.approx(1e6, rel=0.05) and second.mean() == pytest.approx(2e6, rel=0.05)


def test_coefficients_are_those_of_numpy() -> None:
    events = poisson(60.0, 6, 997, 1e-3, seed=2, B=2)
    found = pairwise_correlation(events, 7e-3)
    grid = events.to_grid().numpy()[: 142 * 7].reshape(142, 7, 2, 6).sum(axis=1)
    both = [np.corrcoef(grid[:, b].T)[np.triu_indices(6, 1)] for b in (0, 1)]
    assert found.coefficient == pytest.approx(np.concatenate(both))
    assert found.sample.tolist() == [0] * 15 + [1] * 15


@pytest.mark.parametrize("correlation", [0.05, 0.3])
def test_a_process_of_known_correlation(correlation: float) -> None:
    events = multiple_interaction(20.0, correlation, 40, 400_000, DT, seed=3)
    assert pairwise_correlation(events, 5e-3).coefficient.mean() == pytest.approx(correlation, rel=0.05)
    independent = pairwise_correlation(poisson(20.0, 40, 400_000, DT, seed=4), 5e-3)
    assert independent.coefficient.mean() == pytest.approx(0.0, abs=4 * (1 / 8000 / 780) ** 0.5)


def test_the_seed_chooses_the_pairs() -> None:
    events = poisson(30.0, 100, 10_000, DT, seed=5)
    one, same, other = (pairwise_correlation(events, 5e-3, pairs=50, seed=seed) for seed in (1, 1, 2))
    assert one.first.tolist() == same.first.tolist() != other.first.tolist()
    assert len(one.first) == 50


def test_silent_neurons_are_left_out() -> None:
    events = Events(step=[0, 3, 5], neuron=[1, 1, 4], T=10, dt=1e-3, shape=6)
    found = pairwise_correlation(events, 1e-3)
    assert (found.first.tolist(), found.second.tolist()) == ([1], [4])
    assert len(pairwise_correlation(Events(step=[], neuron=[], T=10, dt=1e-3, shape=6), 1e-3).first) == 0


@pytest.mark.parametrize("wrong", [{"pairs": 0}, {"pairs": 2.0}, {"seed": -1}, {"seed": True}])
def test_wrong_numbers_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match="must be an integer from"):
        pairwise_correlation(poisson(30.0, 4, 100, 1e-3, seed=6), 1e-3, **wrong)


def test_auto_correlation_of_a_poisson_train_is_its_rate() -> None:
    found = auto_correlation(poisson(40.0, 100, 100_000, DT, seed=7), 1e-3, 50e-3)
    # A step holds one spike at most, so nine of ten steps of the first bin can hold the partner.
    assert found.rate[0] == pytest.approx(40.0 * 0.9, abs=3)
    assert found.rate[1:] == pytest.approx(np.full(50, 40.0), abs=3)
    assert found.rate[1:].mean() == pytest.approx(40.0, abs=0.4)


def test_auto_correlation_of_a_gamma_process_is_its_renewal_density() -> None:
    # Order 2, mean interval m: r (1 - exp(-4 t / m)) with r = 1 / m.
    mean = 250.0
    found = auto_correlation(gamma(2, mean, 200, 200_000, DT, seed=8), 1e-3, 60e-3)
    expected = 1 / (mean * DT) * (1 - np.exp(-4 * found.lag / (mean * DT)))
    assert found.rate[2:] == pytest.approx(expected[2:], abs=1.5)


@pytest.mark.parametrize("k", [1, 3])
def test_auto_correlation_by_counting(k: int) -> None:
    events = poisson(80.0, 3, 300, 1e-3, seed=9, B=2)
    found = auto_correlation(events, k * 1e-3, 12e-3)
    pairs = np.zeros(12 // k + 1, dtype=int)
    for b in range(2):
        for n in range(3):
            at = events.step[(events.batch == b) & (events.neuron == n)] // k
            for i in range(len(at)):
                for j in range(len(at)):
                    if i != j and 0 <= at[j] - at[i] < len(pairs):
                        pairs[at[j] - at[i]] += 1
    assert found.pairs.tolist() == pairs.tolist()


def test_a_regular_train_is_found_at_multiples_of_its_interval() -> None:
    events = renewal(np.full((5, 300), 20), 3000, 1e-3)
    found = auto_correlation(events, 1e-3, 45e-3)
    assert np.flatnonzero(found.pairs).tolist() == [20, 40]
    assert found.rate[20] == pytest.approx(1000.0)  # a spike surely, in a bin of 1 ms


def test_cross_correlation_finds_a_delay_and_its_direction() -> None:
    one = poisson(20.0, 30, 50_000, DT, seed=10)
    kept = one.step < 50_000 - 25
    later = Events(step=one.step[kept] + 25, neuron=one.neuron[kept], T=50_000, dt=DT, shape=30)
    found = cross_correlation(one, later, 5e-4, 10e-3)
    assert found.lag[found.pairs.argmax()] == pytest.approx(2.5e-3)
    assert cross_correlation(later, one, 5e-4, 10e-3).pairs.tolist() == found.pairs[::-1].tolist()


def test_cross_correlation_of_independent_trains_is_the_rate_of_the_other() -> None:
    one, other = poisson(20.0, 50, 100_000, DT, seed=11), poisson(35.0, 80, 100_000, DT, seed=12)
    found = cross_correlation(one, other, 1e-3, 20e-3)
    assert found.rate == pytest.approx(np.full(41, 35.0), abs=1.5)


def test_cross_correlation_by_its_definition() -> None:
    one, other = poisson(60.0, 3, 100, 1e-3, seed=13, B=2), poisson(60.0, 4, 100, 1e-3, seed=14, B=2)
    found = cross_correlation(one, other, 2e-3, 8e-3)
    x, y = (events.to_grid().numpy().sum(axis=2).reshape(50, 2, 2).sum(axis=1) for events in (one, other))
    for lag, pairs, rate in zip(range(-4, 5), found.pairs, found.rate, strict=True):
        valid = [t for t in range(50) if 0 <= t + lag < 50]
        assert pairs == sum((x[t] * y[t + lag]).sum() for t in valid)
        assert rate == pytest.approx(pairs / (sum(x[t].sum() for t in valid) * 4 * 2e-3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peer
def test_elephant_gives_the_same_histogram() -> None:
    neo, pq = pytest.importorskip("neo"), pytest.importorskip("quantities")
    conversion, correlation = (pytest.importorskip(f"elephant.{n}") for n in ("conversion", "spike_train_correlation"))
    one, other = poisson(60.0, 1, 1000, 1e-3, seed=15), poisson(60.0, 1, 1000, 1e-3, seed=16)
    trains = [neo.SpikeTrain((e.step + 0.5) * pq.ms, t_stop=1000 * pq.ms) for e in (one, other)]
    binned = [conversion.BinnedSpikeTrain(t, bin_size=1 * pq.ms, n_bins=1000) for t in trains]
    theirs = correlation.cross_correlation_histogram(*binned, window=[-20, 20])[0]
    assert cross_correlation(one, other, 1e-3, 20e-3).pairs.tolist() == theirs.magnitude.ravel().astype(int).tolist()
    both = conversion.BinnedSpikeTrain(trains, bin_size=5 * pq.ms, n_bins=200)
    together = Events(
        step=np.r_[one.step, other.step], neuron=np.r_[one.neuron, other.neuron + 1], T=1000, dt=1e-3, shape=2
    )
    theirs = correlation.correlation_coefficient(both)[0, 1]
    assert pairwise_correlation(together, 5e-3).coefficient[0] == pytest.approx(theirs)


def test_grids_that_differ_and_windows_that_do_not_fit_are_refused() -> None:
    events = poisson(50.0, 3, 100, 1e-3, seed=17)
    with pytest.raises(InputError, match="must lie on one grid; got T=100"):
        cross_correlation(events, poisson(50.0, 3, 99, 1e-3, seed=17), 1e-3, 5e-3)
    for analyse in (lambda w: auto_correlation(events, 2e-3, w), lambda w: cross_correlation(events, events, 2e-3, w)):
        with pytest.raises(InputError, match=r"window must be a multiple of bin = 0\.002 s below 0\.1 s"):
            analyse(5e-3)
        with pytest.raises(InputError, match="window must be a multiple of bin"):
            analyse(0.1)
