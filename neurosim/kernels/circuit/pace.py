"""The choice, piece by piece of a run, between one thread and several.

Threads of one circuit wait for each other after each window. On a busy machine a thread that has to wait for its turn
holds up the others, so that one thread alone is faster. The results are the same, so the faster one is taken.
"""

from __future__ import annotations

import collections
import statistics

_PIECE, _TRIAL = 20e-3, 5e-3  # wall time of a piece, and of one by which the other choice is tried, s
_LEAST = 10  # steps of a piece: on a busy machine each may take several threads milliseconds
_DECISIVE = 3.0  # a first piece so many times slower than the other choice needs no second one
_FIRST = 20  # steps of the first pieces
_SAMPLES = 3  # of which the median counts, so that one piece during which something else ran does not decide
_SOON, _RARELY = 4, 128  # pieces from a trial to the next


class Pace:
    """Wall time of a step with one thread and with several, as measured in the last pieces of each."""

    def __init__(self) -> None:
        self._taken = {threads: collections.deque[float](maxlen=_SAMPLES) for threads in (True, False)}
        self._pieces, self._patience = 0, _SOON

    def seconds(self, threads: bool) -> float:
        """Return the wall time of a step, s: the median of the last pieces."""
        return statistics.median(self._taken[threads])

    @property
    def best(self) -> bool:
        """Whether several threads are faster."""
        return self.seconds(True) <= self.seconds(False)

    def next(self) -> tuple[bool, int]:
        """Return whether the next piece is run by several threads, and how many steps it has."""
        for threads in (False, True):
            if len(self._taken[threads]) < _SAMPLES:
                return threads, _FIRST
        self._pieces += 1
        best = self.best
        if self._pieces < self._patience:
            return best, self._steps(best, _PIECE)
        self._pieces = 0
        self._patience = min(2 * self._patience, _RARELY)
        return not best, self._steps(not best, _TRIAL)

    def took(self, threads: bool, steps: int, seconds: float) -> None:
        """Note the wall time of a piece."""
        known = all(len(taken) == _SAMPLES for taken in self._taken.values())
        is_trial = known and threads is not self.best
        self._taken[threads].append(seconds / steps)
        if threads and not known and seconds / steps > _DECISIVE * self.seconds(False):
            self._taken[True].extend([seconds / steps] * _SAMPLES)
        if is_trial and seconds / steps < self.seconds(not threads):
            self._patience = 1  # the next pieces are trials too, until the medians decide
        elif known and self._patience < _SOON:
            self._patience = _SOON

    def _steps(self, threads: bool, seconds: float) -> int:
        return max(int(seconds / self.seconds(threads)), _LEAST)
