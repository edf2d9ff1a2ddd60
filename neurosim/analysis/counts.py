"""Counts of spikes: rates, population counts, their Fano factor, synchrony."""

from __future__ import annotations

import math

import numpy as np

from neurosim.analysis.grid import Array, EventList, Grid, complete_bins, complete_counts, on_grid, steps_in
from neurosim.errors import InputError, ShapeError


def firing_rates(events: EventList) -> Array:
    """Return the rate of each neuron over the recording, Hz.

    Parameters
    ----------
    events : Events
        On a grid.

    Returns
    -------
    array [B, *shape] of float64

    Raises
    ------
    InputError
        When the events lie at real times, or the recording has no steps or no samples.

    Examples
    --------
    >>> from neurosim import Events
    >>> firing_rates(Events(step=[0, 50, 70], neuron=[0, 0, 1], T=100, dt=1e-3, shape=2))
    array([[20., 10.]])
    """
    grid = on_grid("firing_rates", events)
    return grid.per_cell(np.bincount(grid.cell, minlength=grid.cells) / grid.duration)


def population_counts(events: EventList, bin: float) -> Array:
    """Return the number of spikes of the population in each bin.

    No spike is lost: the last bin may be shorter than the others.

    Parameters
    ----------
    events : Events
        On a grid.
    bin : float
        Width, s; a multiple of dt.

    Returns
    -------
    array [bins, B] of int64

    Raises
    ------
    UnitError
        When the width is not a multiple of dt.
    InputError
        When the events lie at real times.

    Examples
    --------
    >>> from neurosim import Events
    >>> events = Events(step=[0, 2, 3, 4], neuron=[0, 0, 1, 0], T=5, dt=1e-3, shape=2)
    >>> population_counts(events, 2e-3).tolist()
    [[1], [2], [1]]
    >>> population_counts(events, 2.5e-3)
    Traceback (most recent call last):
    neurosim.errors.UnitError: population_counts: bin must be an integer number of steps of 0.001 s; got 0.0025 s.
    The nearest are 0.002 s and 0.003 s.
    """
    grid = on_grid("population_counts", events)
    width = steps_in("population_counts", "bin", bin, grid)
    return complete_counts(grid, width, -(-grid.T // width))


def population_rate(events: EventList, bin: float) -> Array:
    """Return the mean rate of a neuron of the population in each bin, Hz.

    Parameters
    ----------
    events : Events
        On a grid.
    bin : float
        Width, s; a multiple of dt. The last bin may be shorter; its rate is that of its own length.

    Returns
    -------
    array [bins, B] of float64
        Bin k begins at ``k bin``.

    Raises
    ------
    UnitError
        When the width is not a multiple of dt.
    InputError
        When the events lie at real times.

    Examples
    --------
    >>> from neurosim import Events
    >>> population_rate(Events(step=[0, 2, 3, 4], neuron=[0, 0, 1, 0], T=5, dt=1e-3, shape=2), 2e-3).tolist()
    [[250.0], [500.0], [500.0]]
    """
    grid = on_grid("population_rate", events)
    width = steps_in("population_rate", "bin", bin, grid)
    counts = complete_counts(grid, width, -(-grid.T // width))
    lengths = np.minimum(width, grid.T - width * np.arange(len(counts)))
    return counts / (grid.N * grid.dt * lengths[:, None])


def fano_factor(events: EventList, bin: float) -> Array:
    """Return the Fano factor of the population count: variance over mean, over the complete bins.

    It is 1 for independent Poisson neurons, whatever their number, and grows with their number when they are
    correlated.

    Parameters
    ----------
    events : Events
        On a grid.
    bin : float
        Width, s; a multiple of dt.

    Returns
    -------
    array [B] of float64
        NaN for a sample without spikes. The variance is that of the bins themselves (divided by their number).

    Raises
    ------
    UnitError
        When the width is not a multiple of dt.
    InputError
        When it leaves fewer than two complete bins, or the events lie at real times.

    Examples
    --------
    >>> from neurosim import Events
    >>> events = Events(step=[0, 0, 2, 2], neuron=[0, 1, 0, 1], T=4, dt=1e-3, shape=2)
    >>> fano_factor(events, 1e-3), fano_factor(events, 2e-3)
    (array([1.]), array([0.]))
    """
    grid = on_grid("fano_factor", events)
    return count_fano(complete_counts(grid, *complete_bins("fano_factor", bin, grid)))


def count_fano(counts: Array) -> Array:
    """Return variance over mean of each column; NaN where the mean is 0."""
    mean = counts.mean(axis=0)
    return np.divide(counts.var(axis=0), mean, out=np.full(mean.shape, np.nan), where=mean > 0)


def synchrony(events: EventList, bin: float) -> Array:
    r"""Return the synchrony index of the binned spikes, from 0 to 1.

    .. math:: \chi = \sqrt{\frac{\operatorname{Var}_t\left[\frac{1}{N} \sum_i c_i(t)\right]}
              {\frac{1}{N} \sum_i \operatorname{Var}_t\left[c_i(t)\right]}}

    with the count :math:`c_i(t)` of neuron i in bin t. It is 1 if all neurons fire the same, and about
    :math:`1 / \sqrt{N}` if they are independent.

    Parameters
    ----------
    events : Events
        On a grid.
    bin : float
        Width, s; a multiple of dt. Complete bins alone are used.

    Returns
    -------
    array [B] of float64
        NaN for a sample whose counts do not vary.

    Raises
    ------
    UnitError
        When the width is not a multiple of dt.
    InputError
        When it leaves fewer than two complete bins, or the events lie at real times.

    References
    ----------
    Golomb and Rinzel, "Clustering in globally coupled inhibitory neurons", Physica D 72, 1994,
    doi:10.1016/0167-2789(94)90214-3.

    Examples
    --------
    >>> from neurosim import Events
    >>> together = Events(step=[0, 0, 3, 3], neuron=[0, 1, 0, 1], T=4, dt=1e-3, shape=2)
    >>> synchrony(together, 1e-3)
    array([1.])
    """
    grid = on_grid("synchrony", events)
    width, bins = complete_bins("synchrony", bin, grid)
    return count_synchrony(grid, *grid.by_cell(), width, bins)


def count_synchrony(grid: Grid, step: Array, cell: Array, width: int, bins: int) -> Array:
    """Return the synchrony index of spikes that are sorted by cell."""
    inside = step < bins * width
    place, cell = step[inside] // width, cell[inside]
    is_first = np.ones(len(cell), dtype=bool)
    np.not_equal(cell[1:], cell[:-1], out=is_first[1:])
    is_first[1:] |= place[1:] != place[:-1]
    first = np.flatnonzero(is_first)
    squares = np.diff(first, append=len(cell)) ** 2
    # Sums over bins of integers; a product with the number of bins may exceed 64 bits, so Python multiplies.
    of_cells = np.bincount(cell, minlength=grid.cells).reshape(grid.B, grid.N)
    summed = np.bincount(cell[first] // grid.N, squares, minlength=grid.B)
    counts = complete_counts(grid, width, bins)
    found = np.full(grid.B, np.nan)
    for b in range(grid.B):
        single = bins * int(summed[b]) - int((of_cells[b] ** 2).sum())
        joint = bins * int((counts[:, b] ** 2).sum()) - int(counts[:, b].sum()) ** 2
        if single:
            found[b] = math.sqrt(joint / (grid.N * single))
    return found


def trace_synchrony(trace: Array) -> Array:
    """Return the synchrony index of a recorded variable, such as membranes, from 0 to 1; see `synchrony`.

    Parameters
    ----------
    trace : array-like [T, B, *shape]
        Of a recording.

    Returns
    -------
    array [B] of float64
        NaN for a sample whose values do not vary.

    Raises
    ------
    ShapeError
        When the trace has fewer than three axes.
    InputError
        When it has fewer than two steps, or holds a value that is not finite.

    Examples
    --------
    >>> trace_synchrony([[[0.0, 0.0]], [[1.0, 1.0]]]), trace_synchrony([[[0.0, 1.0]], [[1.0, 0.0]]])
    (array([1.]), array([0.]))
    """
    values = np.asarray(trace, dtype=np.float64)
    if values.ndim < 3:
        raise ShapeError(f"trace_synchrony: the trace must be [T, B, *shape]; got {list(values.shape)}.")
    if len(values) < 2 or not np.isfinite(values).all():
        raise InputError("trace_synchrony: the trace needs two steps or more and finite values alone.")
    flat = values.reshape(*values.shape[:2], -1)
    single = flat.var(axis=0).mean(axis=-1)
    joint = flat.mean(axis=-1).var(axis=0)
    return np.sqrt(np.divide(joint, single, out=np.full(single.shape, np.nan), where=single > 0))
