"""Words of a projection: Philox4x32-10 at the counter (index / 4, row, purpose, stream) under its seed."""

from __future__ import annotations

import numpy as np

from neurosim.kernels.common.philox import philox
from neurosim.kernels.drawing.arguments import Key

_MASK = 0xFFFFFFFF


def row_words(key: Key, purpose: int, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the words 0 ... count - 1 of each row, one row behind the other.

    Parameters
    ----------
    key : Key
    purpose : int
    rows, counts : ndarray [R] of int64
        Rows, in ``0 ... 2^32 - 1``, and how many words each has.

    Returns
    -------
    ndarray [sum of counts] of int64
        Each in ``0 ... 2^32 - 1``.
    """
    blocks = -(-counts // 4)
    number = np.arange(blocks.sum()) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    words = np.stack(
        philox(
            (number, np.repeat(rows, blocks), purpose, key.stream),
            (key.seed & _MASK, key.seed >> 32),
        ),
        axis=-1,
    ).ravel()
    if not (counts % 4).any():
        return words
    place = np.arange(len(words)) - 4 * np.repeat(np.cumsum(blocks) - blocks, 4 * blocks)
    return words[place < np.repeat(counts, 4 * blocks)]
