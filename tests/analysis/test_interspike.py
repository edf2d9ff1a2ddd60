"""Intervals against regular trains and renewal processes whose variation is known."""

from __future__ import annotations

import numpy as np
import pytest

from neurosim import Events
from neurosim.analysis import interval_cv, interval_histogram, intervals, local_variation
from neurosim.errors import InputError
from tests.analysis.trains import gamma, poisson, renewal

DT = 1e-4


def test_intervals_stay_inside_a_neuron_and_a_sample() -> None:
    events = Events(step=[1, 2, 5, 7, 9], neuron=[0, 0, 1, 0, 1], batch=[0, 1, 0, 0, 0], T=10, B=2, dt=1e-3, shape=2)
    found = intervals(events)
    assert (found.steps.tolist(), found.cell.tolist()) == ([6, 4], [0, 1])
    assert found.seconds.tolist() == pytest.approx([6e-3, 4e-3])


def test_a_regular_train_has_no_variation() -> None:
    events = renewal(np.array([[37] * 300, [11] * 300]), 3000, DT)
    assert interval_cv(events).tolist() == [[0.0, 0.0]]
    assert local_variation(events).tolist() == [[0.0, 0.0]]


def test_a_poisson_train_has_variation_one() -> None:
    events = poisson(50.0, 200, 200_000, DT, seed=1)
    # On the grid intervals are geometric: CV^2 is 1 - rate dt.
    assert interval_cv(events).mean() == pytest.approx((1 - 50 * DT) ** 0.5, abs=0.01)
    # Of two intervals of sum s the first is uniform in 1 ... s - 1: the local variation is 1 - 2 E[1 / s].
    p, s = 50 * DT, np.arange(2, 20_000)
    expected = 1 - 2 * ((s - 1) * p**2 * (1 - p) ** (s - 2.0) / s).sum()
    assert expected == pytest.approx(0.99, abs=1e-3)
    assert local_variation(events).mean() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("order", [2, 4, 9])
def test_a_gamma_process_has_the_variation_of_its_order(order: int) -> None:
    events = gamma(order, 300.0, 100, 200_000, DT, seed=order)
    assert interval_cv(events).mean() == pytest.approx(order**-0.5, rel=0.01)
    assert local_variation(events).mean() == pytest.approx(3 / (2 * order + 1), rel=0.01)


def test_local_variation_ignores_a_slow_change_of_rate() -> None:
    random = np.random.default_rng(3)
    slow = 400 * np.exp(2 * np.sin(np.arange(2000) * 2 * np.pi / 500))
    events = renewal(np.maximum(random.exponential(slow, size=(40, 2000)), 1).astype(np.int64), 10**9, DT)
    assert local_variation(events).mean() == pytest.approx(1.0, abs=0.02)
    assert interval_cv(events).mean() > 1.5


def test_neurons_with_too_few_spikes_have_no_value() -> None:
    events = Events(step=[0, 1, 2, 4, 8, 9], neuron=[0, 1, 1, 2, 2, 2], T=10, dt=1e-3, shape=4)
    for measure in (interval_cv, local_variation):
        assert np.isnan(measure(events)).tolist() == [[True, True, False, True]]
        assert np.isnan(measure(events, least=4)).all()
        for wrong in (2, True, 3.0):
            with pytest.raises(InputError, match="least must be an integer from 3"):
                measure(events, least=wrong)


def test_spikes_in_one_step_have_an_interval_of_zero() -> None:
    events = Events(step=[5, 5, 5], neuron=[0, 0, 0], T=10, dt=1e-3, shape=1)
    assert intervals(events).steps.tolist() == [0, 0]
    assert local_variation(events).tolist() == [[0.0]]
    assert np.isnan(interval_cv(events)).all()


def test_the_end_of_the_histogram_is_a_multiple_of_its_bin() -> None:
    events = poisson(50.0, 3, 500, 1e-3, seed=5)
    with pytest.raises(InputError, match=r"longest must be a multiple of bin = 0\.002 s; got 0\.005 s"):
        interval_histogram(events, 2e-3, 5e-3)


def test_the_histogram_of_a_poisson_train_is_exponential() -> None:
    events = poisson(100.0, 100, 200_000, DT, seed=6)
    found = interval_histogram(events, 1e-3, 30e-3)
    number = found.counts.sum() + found.longer
    # Geometric: the first bin holds intervals of 1 to 9 steps, the others of 10.
    stays = (1 - 100 * DT) ** np.r_[0, np.arange(9, 300, 10)]
    assert found.counts / number == pytest.approx(-np.diff(stays), abs=5 * (0.1 / number) ** 0.5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the peer
def test_elephant_gives_the_same_numbers() -> None:
    elephant = pytest.importorskip("elephant.statistics")
    events = poisson(40.0, 20, 20_000, DT, seed=7)
    for neuron in range(20):
        gaps = np.diff(events.step[events.neuron == neuron])
        assert interval_cv(events)[0, neuron] == pytest.approx(float(elephant.cv(gaps)))
        assert local_variation(events)[0, neuron] == pytest.approx(float(elephant.lv(gaps)))
