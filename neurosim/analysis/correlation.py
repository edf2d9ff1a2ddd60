"""Correlations of spikes: coefficients of pairs of neurons, auto- and cross-correlation histograms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosim.analysis.grid import Array, EventList, Grid, complete_bins, complete_counts, on_grid, steps_in
from neurosim.errors import InputError


class PairCorrelations(NamedTuple):
    """Correlation coefficients of pairs of neurons.

    Attributes
    ----------
    sample, first, second : array [n] of int64
        Sample, and the two neurons, ``first < second``.
    coefficient : array [n] of float64
        Pearson's, of the counts in bins.
    """

    sample: Array
    first: Array
    second: Array
    coefficient: Array


class CorrelationHistogram(NamedTuple):
    """Spikes at a distance in time from other spikes.

    Attributes
    ----------
    lag : array [n] of float64
        Distance in s, a multiple of the bin.
    pairs : array [n] of int64
        Pairs of spikes at this distance.
    rate : array [n] of float64
        Rate of a neuron at this distance from a spike, Hz: the rate of the neuron itself if it is independent.
    """

    lag: Array
    pairs: Array
    rate: Array


def pairwise_correlation(events: EventList, bin: float, pairs: int = 1000, seed: int = 0) -> PairCorrelations:
    """Return the correlation coefficient of the counts of sampled pairs of neurons.

    The pairs are distinct, drawn uniformly from the neurons of a sample whose counts vary; neurons without a spike
    have no coefficient and are left out.

    Parameters
    ----------
    events : Events
        On a grid.
    bin : float
        Width, s; a multiple of dt. Complete bins alone are used.
    pairs : int
        Pairs in each sample; all of them if there are no more.
    seed : int
        Of the draw of the pairs, from 0.

    Returns
    -------
    PairCorrelations

    Raises
    ------
    UnitError
        When the width is not a multiple of dt.
    InputError
        When it leaves fewer than two complete bins, `pairs` is below 1, or the events lie at real times.

    Examples
    --------
    >>> from neurosim import Events
    >>> events = Events(step=[0, 0, 1, 2, 2], neuron=[0, 1, 2, 0, 1], T=4, dt=1e-3, shape=3)
    >>> found = pairwise_correlation(events, 1e-3)
    >>> found.first.tolist(), found.second.tolist(), found.coefficient.round(3).tolist()
    ([0, 0, 1], [1, 2, 2], [1.0, -0.577, -0.577])
    """
    if isinstance(pairs, bool) or not isinstance(pairs, (int, np.integer)) or pairs < 1:
        raise InputError(f"pairwise_correlation: pairs must be an integer from 1; got {pairs!r}.")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"pairwise_correlation: seed must be an integer from 0; got {seed!r}.")
    grid = on_grid("pairwise_correlation", events)
    width, bins = complete_bins("pairwise_correlation", bin, grid)
    random = np.random.default_rng(seed)
    each = [_sample_pairs(grid, b, width, bins, int(pairs), random) for b in range(grid.B)]
    return PairCorrelations(*(np.concatenate(column) for column in zip(*each, strict=True)))


def _sample_pairs(
    grid: Grid, sample: int, width: int, bins: int, most: int, random: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    from scipy.sparse import csr_array

    mine = (grid.cell // grid.N == sample) & (grid.step < bins * width)
    neuron, place = grid.cell[mine] - sample * grid.N, grid.step[mine] // width
    # The constructor adds up duplicates: an entry is the count of a neuron in a bin.
    counts = csr_array((np.ones(len(neuron), dtype=np.int64), (neuron, place)), shape=(grid.N, bins))
    counts.sum_duplicates()
    summed = counts.sum(axis=1)
    spread = bins * (counts * counts).sum(axis=1) - summed**2
    varies = np.flatnonzero(spread > 0)
    first, second = (varies[side] for side in _pairs(len(varies), most, random))
    together = (counts[first] * counts[second]).sum(axis=1)
    joint = bins * together - summed[first] * summed[second]
    coefficient = joint / np.sqrt(spread[first].astype(np.float64) * spread[second])
    return np.full(len(first), sample), first, second, coefficient


def _pairs(size: int, most: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Return up to `most` distinct pairs ``first < second`` below `size`, sorted by the second."""
    total = size * (size - 1) // 2
    code = np.arange(total) if total <= most else np.sort(random.choice(total, most, replace=False, shuffle=False))
    second = ((1 + np.sqrt(1 + 8 * code.astype(np.float64))) / 2).astype(np.int64)
    second -= second * (second - 1) // 2 > code  # where the root was rounded up
    second += second * (second + 1) // 2 <= code
    first = code - second * (second - 1) // 2
    order = np.lexsort((second, first))
    return first[order], second[order]


def auto_correlation(events: EventList, bin: float, window: float) -> CorrelationHistogram:
    """Return the rate of a neuron after its own spikes, over all neurons.

    For a Poisson process it is the rate of the process at every lag; after a refractory period it is 0; a regular
    train has a peak at each multiple of its interval.

    Parameters
    ----------
    events : Events
        On a grid.
    bin : float
        Width, s; a multiple of dt. The lag of two spikes is the distance of their bins; a spike is no pair with itself.
    window : float
        Longest lag, s; a multiple of `bin` below the duration.

    Returns
    -------
    CorrelationHistogram
        Of lags from 0; those below 0 are the same. A pair in one bin counts twice: each is beside the other.

    Raises
    ------
    UnitError
        When a width is not a multiple of dt.
    InputError
        When the window does not fit the bins, or the events lie at real times.

    Examples
    --------
    >>> from neurosim import Events
    >>> found = auto_correlation(Events(step=[0, 4, 8], neuron=[0, 0, 0], T=12, dt=1e-3, shape=1), 2e-3, 8e-3)
    >>> found.pairs.tolist()
    [0, 0, 2, 0, 1]
    """
    grid = on_grid("auto_correlation", events)
    width, bins, lags = _lags("auto_correlation", bin, window, grid)
    step, cell = grid.by_cell()
    inside = step < bins * width
    place, cell = step[inside] // width, cell[inside]
    pairs = np.zeros(lags + 1, dtype=np.int64)
    begin = np.arange(len(place))
    for order in range(1, len(place)):  # pairs of a spike with the next one of its neuron, the one after it, ...
        begin = begin[begin < len(place) - order]
        distance = place[begin + order] - place[begin]
        near = (cell[begin + order] == cell[begin]) & (distance <= lags)
        begin, distance = begin[near], distance[near]
        if not len(begin):
            break
        pairs += np.bincount(distance, minlength=lags + 1)
    pairs[0] *= 2
    return _histogram(grid, np.arange(lags + 1), pairs, complete_counts(grid, width, bins).sum(axis=1), width, 1)


def cross_correlation(events: EventList, other: EventList, bin: float, window: float) -> CorrelationHistogram:
    """Return the rate of a neuron of another population around the spikes of one.

    It is the mean rate of the other population at every lag if the two are independent. With the same events twice it
    is that of the population with itself, each spike with itself at lag 0.

    Parameters
    ----------
    events, other : Events
        On one grid, of the same samples.
    bin : float
        Width, s; a multiple of dt. The lag of two spikes is the distance of their bins.
    window : float
        Longest lag, s; a multiple of `bin` below the duration.

    Returns
    -------
    CorrelationHistogram
        Of lags from ``-window`` to ``window``; above 0 `other` fires later.

    Raises
    ------
    UnitError
        When a width is not a multiple of dt.
    InputError
        When the window does not fit the bins, or the grids differ.

    Examples
    --------
    >>> from neurosim import Events
    >>> grid = dict(T=10, dt=1e-3, shape=1)
    >>> one, two = Events(step=[2, 6], neuron=[0, 0], **grid), Events(step=[3, 7], neuron=[0, 0], **grid)
    >>> cross_correlation(one, two, 1e-3, 2e-3).pairs.tolist()
    [0, 0, 0, 2, 0]
    """
    grid, target = on_grid("cross_correlation", events), on_grid("cross_correlation", other)
    if (grid.T, grid.B, grid.dt) != (target.T, target.B, target.dt):
        raise InputError(
            f"cross_correlation: both must lie on one grid; got T={grid.T}, B={grid.B}, dt={grid.dt:g} s and "
            f"T={target.T}, B={target.B}, dt={target.dt:g} s."
        )
    width, bins, lags = _lags("cross_correlation", bin, window, grid)
    x, y = complete_counts(grid, width, bins), complete_counts(target, width, bins)
    around = range(-lags, lags + 1)
    pairs = np.array([(x[max(0, -k) : bins - max(0, k)] * y[max(0, k) : bins + min(0, k)]).sum() for k in around])
    return _histogram(grid, np.array(around), pairs, x.sum(axis=1), width, target.N)


def _lags(owner: str, bin: float, window: float, grid: Grid) -> tuple[int, int, int]:
    width, bins = complete_bins(owner, bin, grid)
    steps = steps_in(owner, "window", window, grid)
    if steps % width or steps // width >= bins:
        raise InputError(
            f"{owner}: window must be a multiple of bin = {bin:g} s below {bins * width * grid.dt:g} s, "
            f"the complete bins of the recording; got {window!r} s."
        )
    return width, bins, steps // width


def _histogram(grid: Grid, lags: Array, pairs: Array, spikes: Array, width: int, size: int) -> CorrelationHistogram:
    """Divide by the spikes whose partner at this lag lies inside the recording."""
    before = np.concatenate(([0], np.cumsum(spikes)))
    bins = len(spikes)
    partners = np.where(lags >= 0, before[bins - np.abs(lags)], before[bins] - before[np.abs(lags)])
    rate = np.divide(pairs, partners, where=partners > 0, out=np.full(len(lags), np.nan)) / (size * width * grid.dt)
    return CorrelationHistogram(lags * width * grid.dt, pairs, rate)
