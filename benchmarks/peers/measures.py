"""Statistics of a raster, the same for every simulator. Only NumPy is imported."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
MIN_SPIKES = 3  # of a neuron whose intervals count
FANO_BIN_S = 3e-3


def measures(step: Array, neuron: Array, n: int, steps: int, dt: float) -> dict[str, float]:
    """Return statistics of `steps` steps of `n` neurons.

    `rate` in Hz and `sd_rates`, the standard deviation of the neurons' rates; `cv`, the coefficient of variation of the
    intervals, averaged over neurons with at least 3 spikes; `fano`, variance over mean of the population's number of
    spikes in bins of 3 ms; `spikes`. NaN where there are too few spikes. `step` counts from 0.
    """
    seconds = steps * dt
    rates = np.bincount(neuron, minlength=n) / seconds
    width = max(round(FANO_BIN_S / dt), 1)
    counts = np.bincount(step // width, minlength=-(-steps // width))[: steps // width]
    mean = counts.mean() if len(counts) else 0.0
    return {
        "rate": float(rates.mean()),
        "sd_rates": float(rates.std()),
        "cv": cv(step, neuron, n),
        "fano": float(counts.var() / mean) if mean else float("nan"),
        "spikes": len(step),
    }


def cv(step: Array, neuron: Array, n: int) -> float:
    """Return the mean coefficient of variation of the intervals."""
    each = cvs(step, neuron, n)
    return float(each.mean()) if len(each) else float("nan")


def cvs(step: Array, neuron: Array, n: int) -> Array:
    """Return the coefficient of variation of the intervals of each neuron with at least 3 spikes."""
    order = np.lexsort((step, neuron))
    neuron = neuron[order]
    interval = np.diff(step[order].astype(np.float64))
    own = neuron[1:] == neuron[:-1]
    number = np.bincount(neuron[1:][own], minlength=n)
    enough = number >= MIN_SPIKES - 1
    total = np.bincount(neuron[1:][own], interval[own], minlength=n)[enough]
    squares = np.bincount(neuron[1:][own], interval[own] ** 2, minlength=n)[enough]
    mean = total / number[enough]
    return np.sqrt(np.maximum(squares / number[enough] - mean**2, 0.0)) / mean
