"""Interspike intervals: their list, histogram, coefficient of variation and local variation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosim.analysis.grid import Array, EventList, Grid, on_grid, steps_in
from neurosim.errors import InputError


class Intervals(NamedTuple):
    """Times between successive spikes of one neuron in one sample.

    Attributes
    ----------
    steps : array [n] of int64
        In steps.
    cell : array [n] of int64
        ``sample * N + neuron``, ascending; intervals of a cell are in order of time.
    dt : float
        Length of a step, s.
    """

    steps: Array
    cell: Array
    dt: float

    @property
    def seconds(self) -> Array:
        """Intervals in s, float64."""
        return self.steps * self.dt


class IntervalHistogram(NamedTuple):
    """How many intervals are how long.

    Attributes
    ----------
    start : array [n] of float64
        Where each bin begins, s.
    counts : array [n] of int64
        Intervals in ``start <= interval < start + bin``.
    longer : int
        Intervals beyond the last bin.
    """

    start: Array
    counts: Array
    longer: int


def intervals(events: EventList) -> Intervals:
    """Return the interspike intervals of all neurons.

    Parameters
    ----------
    events : Events
        On a grid.

    Returns
    -------
    Intervals

    Raises
    ------
    InputError
        When the events lie at real times, or the recording has no steps or no samples.

    Examples
    --------
    >>> from neurosim import Events
    >>> intervals(Events(step=[0, 3, 4, 9], neuron=[1, 0, 1, 1], T=10, dt=1e-3, shape=2)).steps
    array([4, 5])
    """
    grid = on_grid("intervals", events)
    return intervals_between(grid, *grid.by_cell())


def intervals_between(grid: Grid, step: Array, cell: Array) -> Intervals:
    """Return the intervals of spikes that are sorted by cell."""
    same = cell[1:] == cell[:-1]
    return Intervals(np.diff(step)[same], cell[1:][same], grid.dt)


def interval_cv(events: EventList, least: int = 3) -> Array:
    """Return the coefficient of variation of each neuron's intervals: standard deviation over mean.

    It is 0 for a regular train, 1 for a Poisson train and ``1 / sqrt(k)`` for a gamma process of order k.

    Parameters
    ----------
    events : Events
        On a grid.
    least : int
        Spikes that a neuron must have, at least 3; others get NaN.

    Returns
    -------
    array [B, *shape] of float64
        The variance is that of the intervals themselves (divided by their number), as in Elephant.

    Raises
    ------
    InputError
        When `least` is below 3, or the events lie at real times.

    Examples
    --------
    >>> from neurosim import Events
    >>> interval_cv(Events(step=[0, 2, 8, 9], neuron=[0, 0, 0, 1], T=10, dt=1e-3, shape=2))
    array([[0.5, nan]])
    """
    least = _checked_least("interval_cv", least)
    grid = on_grid("interval_cv", events)
    return grid.per_cell(cv_of(intervals_between(grid, *grid.by_cell()), grid.cells, least))


def cv_of(found: Intervals, cells: int, least: int) -> Array:
    """Return the coefficient of variation of each cell with `least` spikes, NaN for others."""
    number = np.bincount(found.cell, minlength=cells)
    enough = number >= least - 1
    mean = np.divide(np.bincount(found.cell, found.steps, cells), number, where=enough, out=np.full(cells, np.nan))
    # Two passes: the difference of two sums of squares would not be 0 for a regular train.
    squares = np.bincount(found.cell, (found.steps - mean[found.cell]) ** 2, cells)
    spread = np.sqrt(np.divide(squares, number, where=enough, out=np.full(cells, np.nan)))
    return np.divide(spread, mean, where=mean > 0, out=np.full(cells, np.nan))


def local_variation(events: EventList, least: int = 3) -> Array:
    r"""Return the local variation of each neuron's intervals, which slow changes of the rate hardly affect.

    .. math:: L_v = \frac{3}{n - 1} \sum_{i=1}^{n-1} \left(\frac{I_i - I_{i+1}}{I_i + I_{i+1}}\right)^2

    for n intervals. It is 0 for a regular train, 1 for a Poisson train and :math:`3 / (2 k + 1)` for a gamma process of
    order k.

    Parameters
    ----------
    events : Events
        On a grid.
    least : int
        Spikes that a neuron must have, at least 3; others get NaN.

    Returns
    -------
    array [B, *shape] of float64

    Raises
    ------
    InputError
        When `least` is below 3, or the events lie at real times.

    References
    ----------
    Shinomoto, Shima and Tanji, "Differences in spiking patterns among cortical neurons", Neural Computation 15, 2003,
    doi:10.1162/089976603322518759.

    Examples
    --------
    >>> from neurosim import Events
    >>> local_variation(Events(step=[0, 2, 8, 9], neuron=[0, 0, 0, 1], T=10, dt=1e-3, shape=2))
    array([[0.75,  nan]])
    """
    least = _checked_least("local_variation", least)
    grid = on_grid("local_variation", events)
    found = intervals_between(grid, *grid.by_cell())
    same = found.cell[1:] == found.cell[:-1]
    one, two, cell = found.steps[:-1][same], found.steps[1:][same], found.cell[1:][same]
    # Two spikes in one step, twice: both intervals are 0, and equal.
    ratio = np.divide(one - two, one + two, where=one + two > 0, out=np.zeros(len(one)))
    pairs = np.bincount(cell, minlength=grid.cells)
    summed = 3.0 * np.bincount(cell, ratio**2, grid.cells)
    return grid.per_cell(np.divide(summed, pairs, where=pairs >= least - 2, out=np.full(grid.cells, np.nan)))


def interval_histogram(events: EventList, bin: float, longest: float) -> IntervalHistogram:
    """Return how many interspike intervals of the population are how long.

    Parameters
    ----------
    events : Events
        On a grid.
    bin : float
        Width, s; a multiple of dt.
    longest : float
        Where the bins end, s; a multiple of `bin`. Longer intervals are counted in `longer`, so none is lost.

    Returns
    -------
    IntervalHistogram

    Raises
    ------
    UnitError
        When the width is not a multiple of dt.
    InputError
        When `longest` is not a multiple of the width, or the events lie at real times.

    Examples
    --------
    >>> from neurosim import Events
    >>> events = Events(step=[0, 1, 4, 9], neuron=[0, 0, 0, 0], T=10, dt=1e-3, shape=1)
    >>> interval_histogram(events, bin=2e-3, longest=4e-3)
    IntervalHistogram(start=array([0.   , 0.002]), counts=array([1, 1]), longer=1)
    """
    grid = on_grid("interval_histogram", events)
    width = steps_in("interval_histogram", "bin", bin, grid)
    end = steps_in("interval_histogram", "longest", longest, grid)
    if end % width:
        raise InputError(f"interval_histogram: longest must be a multiple of bin = {bin:g} s; got {longest!r} s.")
    found = intervals_between(grid, *grid.by_cell()).steps
    counts = np.bincount(found[found < end] // width, minlength=end // width)
    return IntervalHistogram(np.arange(end // width) * width * grid.dt, counts, int((found >= end).sum()))


def _checked_least(owner: str, least: int) -> int:
    if isinstance(least, bool) or not isinstance(least, (int, np.integer)) or least < 3:
        raise InputError(f"{owner}: least must be an integer from 3, for two intervals; got {least!r}.")
    return int(least)
