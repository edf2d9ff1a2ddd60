"""Bins lie on the grid: no spike is lost or counted twice, and a width between two steps is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurosim import Events
from neurosim.analysis import (
    auto_correlation,
    cross_correlation,
    fano_factor,
    firing_rates,
    interval_histogram,
    intervals,
    pairwise_correlation,
    population_counts,
    population_rate,
    power_spectrum,
    synchrony,
)
from neurosim.errors import InputError, UnitError
from tests.analysis.trains import poisson


# With times in floating point, 3 * 0.0001 lies below the boundary of bin 3.
@pytest.mark.parametrize("dt", [1e-4, 3e-4, 1e-3, 1 / 300, 7.3e-4])
def test_r9_every_bin_width_conserves_the_spikes(dt: float) -> None:
    T = 997
    events = poisson(0.2 / dt, 7, T, dt, seed=1, B=2)
    for k in range(1, T + 1):
        counts = population_counts(events, k * dt)
        assert len(counts) == -(-T // k)
        assert counts.sum() == len(events)
        lengths = np.minimum(k, T - k * np.arange(len(counts)))[:, None] * dt
        assert (population_rate(events, k * dt) * lengths * 7).sum() == pytest.approx(len(events))


@pytest.mark.parametrize("width", [1, 2, 3, 7, 50])
def test_r9_the_interval_histogram_conserves_the_intervals(width: int) -> None:
    events = poisson(40.0, 5, 4000, 1e-4, seed=2)
    found = interval_histogram(events, width * 1e-4, 20 * width * 1e-4)
    assert found.counts.sum() + found.longer == len(intervals(events).steps) > 50
    in_steps = intervals(events).steps
    by_hand = [((in_steps >= k * width) & (in_steps < (k + 1) * width)).sum() for k in range(20)]
    assert found.counts.tolist() == by_hand


def test_counts_are_those_of_each_bin() -> None:
    events = poisson(100.0, 3, 100, 1e-3, seed=3, B=2)
    grid = events.to_grid().numpy().sum(axis=2)
    assert population_counts(events, 7e-3).tolist() == [grid[k : k + 7].sum(axis=0).tolist() for k in range(0, 100, 7)]


BINNED = [
    lambda events, bin: population_counts(events, bin),
    lambda events, bin: population_rate(events, bin),
    lambda events, bin: fano_factor(events, bin),
    lambda events, bin: synchrony(events, bin),
    lambda events, bin: pairwise_correlation(events, bin),
    lambda events, bin: power_spectrum(events, bin, 10e-3),
    lambda events, bin: interval_histogram(events, bin, 10e-3),
    lambda events, bin: auto_correlation(events, bin, 10e-3),
    lambda events, bin: cross_correlation(events, events, bin, 10e-3),
]


@pytest.mark.parametrize("analyse", BINNED)
def test_a_width_between_two_steps_is_refused_with_its_neighbours(analyse) -> None:
    events = poisson(50.0, 3, 2000, 1e-4, seed=4)
    with pytest.raises(UnitError, match=r"bin must be .* steps of 0\.0001 s; .* nearest are 0\.0002 s and 0\.0003 s\."):
        analyse(events, 2.5e-4)
    for wrong in (0.4e-4, 0.0, -1e-3, float("nan"), True, None):
        with pytest.raises(UnitError, match=r"bin must be (a number|an integer number of steps|at least one step)"):
            analyse(events, wrong)


@pytest.mark.parametrize("analyse", [firing_rates, intervals, lambda events: population_counts(events, 1e-3)])
def test_events_at_real_times_and_empty_recordings_are_refused(analyse) -> None:
    with pytest.raises(InputError, match=r"real times; use binned\(dt, T\) first"):
        analyse(Events(time=[0.1], neuron=[0], duration=1.0, shape=1))
    with pytest.raises(InputError, match="0 steps and 1 samples"):
        analyse(Events(step=[], neuron=[], T=0, dt=1e-3, shape=1))
    with pytest.raises(InputError, match="5 steps and 0 samples"):
        analyse(Events(step=[], neuron=[], T=5, B=0, dt=1e-3, shape=1))


def test_tensors_are_analysed_like_arrays() -> None:
    events = poisson(50.0, 3, 500, 1e-3, seed=5)
    columns = {name: torch.from_numpy(getattr(events, name)) for name in ("step", "batch", "neuron")}
    as_tensors = Events(**columns, T=500, dt=1e-3, shape=3)
    assert population_counts(as_tensors, 5e-3).tolist() == population_counts(events, 5e-3).tolist()
    assert firing_rates(as_tensors).tolist() == firing_rates(events).tolist()


def test_the_order_by_cell_does_not_depend_on_the_size_of_the_numbers() -> None:
    short = Events(step=[3, 5, 9, 9], neuron=[1, 0, 1, 0], T=10, dt=1e-3, shape=2)
    long = Events(step=[3, 5, 9, 9], neuron=[1, 0, 1, 0], T=2**62, dt=1e-3, shape=2)
    assert intervals(short).steps.tolist() == intervals(long).steps.tolist() == [4, 6]
