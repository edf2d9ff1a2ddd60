"""Distributions of real numbers on a grid, as limits of 32-bit words."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from neurosim.kernels.common.philox import WORD
from neurosim.kernels.drawing.arguments import Levels

_NONE = np.empty(0, np.uint32)


def grid_unit(largest: float, bits: int) -> float:
    """Return the least power of two of which `largest` takes at most ``2^(bits - 1)``; 1 if `largest` is 0."""
    if not largest:
        return 1.0
    part, exponent = math.frexp(largest)  # largest = part * 2^exponent, part in [0.5, 1)
    return 2.0 ** (exponent - (part == 0.5) - (bits - 1))


def constant(level: int) -> Levels:
    """Return the distribution of one integer."""
    return Levels(level, _NONE)


def on_grid(below: Callable[[np.ndarray], np.ndarray], low: float, high: float, unit: float) -> Levels:
    """Return the distribution of a number that is rounded to the nearest multiple of `unit`, halves upwards.

    Parameters
    ----------
    below : callable
        Takes numbers, float64, to the probabilities that a number drawn is below each.
    low, high : float
        Where nothing below and nothing above is drawn.
    unit : float
    """
    first, last = math.floor(low / unit + 0.5), math.floor(high / unit + 0.5)
    return limited(below((np.arange(first, last, dtype=np.float64) + 0.5) * unit), first)


def binomial(trials: int, probability: float) -> Levels:
    """Return the binomial distribution.

    Sums and products alone, in double precision, so that the limits have the same bits on every machine.
    """
    if probability >= 1:
        return constant(trials)
    mode = min(int((trials + 1) * probability), trials)
    reach = int(12 * math.sqrt(trials * probability * (1 - probability)) + 60)
    low, high = max(mode - reach, 0), min(mode + reach, trials)
    odds = probability / (1 - probability)
    up, down = np.arange(mode, high, dtype=np.float64), np.arange(mode, low, -1, dtype=np.float64)
    above = np.cumprod((trials - up) / (up + 1) * odds)
    under = np.cumprod(down / (trials - down + 1) / odds)
    weights = np.concatenate((under[::-1], [1.0], above))
    sums = np.cumsum(weights)
    return limited(sums[:-1] / sums[-1], low)


def limited(cumulative: np.ndarray, first: int) -> Levels:
    """Return the distribution of integers from `first` on with these cumulative probabilities, without the last, 1."""
    limits = np.rint(np.clip(cumulative, 0.0, 1.0) * WORD)
    limits = np.maximum.accumulate(limits) if len(limits) else limits
    begin, end = np.searchsorted(limits, 0, side="right"), np.searchsorted(limits, WORD, side="left")
    return Levels(first + int(begin), limits[begin:end].astype(np.uint32))
