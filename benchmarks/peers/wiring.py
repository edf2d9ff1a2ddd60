"""Matrices and starts that any program with NumPy draws again, bit for bit: a counter-based generator and integers.

The bits of `numpy.random.Philox` are fixed; those of NumPy's distributions may change between releases and are not
used. Only NumPy is imported, so that the scripts of other simulators can read this file.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

WORD = 1 << 32


def pairwise(n_pre: int, n_post: int, p: float, seed: int) -> tuple[Array, Array]:
    """Return source and target, int64, of a matrix in which each pair is connected with probability `p`.

    Autapses are possible, multapses are not. Pairs are sorted by source, then target.
    """
    words = np.random.Philox(key=seed).random_raw((n_pre * n_post + 1) // 2)
    words = words.astype("<u8").view("<u4")[: n_pre * n_post].reshape(n_pre, n_post)
    pre, post = np.nonzero(words < np.uint32(round(p * WORD)))
    return pre, post


def uniform(n: int, low: float, high: float, seed: int) -> Array:
    """Return `n` numbers in [low, high)."""
    words = np.random.Philox(key=seed).random_raw(n)
    return low + (high - low) * ((words >> np.uint64(11)) * 2.0**-53)


def fingerprint(first: Array, second: Array) -> str:
    """Return a hash of pairs: sources and targets of a matrix, steps and neurons of a raster."""
    return hashlib.sha256(np.stack([first, second]).astype("<i4").tobytes()).hexdigest()[:16]


def normal(n: int, mean: float, std: float, seed: int) -> Array:
    """Return `n` numbers of a normal distribution, by the method of Box and Muller."""
    first, second = uniform(2 * n, 0.0, 1.0, seed).reshape(2, n)
    return mean + std * np.sqrt(-2.0 * np.log1p(-first)) * np.cos(2.0 * np.pi * second)
