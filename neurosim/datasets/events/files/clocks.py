"""Clocks of few bits that wrap."""

from __future__ import annotations

import numpy as np


class Unwrapped:
    """A clock of 32 bits that counts on where it wraps: where it falls by more than half of its range."""

    def __init__(self) -> None:
        self._last, self._shift = 0, 0

    def __call__(self, stored: np.ndarray) -> np.ndarray:
        """Return the next times as int64."""
        t = stored.astype(np.int64)
        if len(t):
            last, self._last = self._last, int(t[-1])
            wraps = np.flatnonzero(np.diff(t, prepend=last) < -(2**31))
            if len(wraps):
                t += 2**32 * np.searchsorted(wraps, np.arange(len(t)), side="right")
            t += self._shift
            self._shift += 2**32 * len(wraps)
        return t
