"""The choice, piece by piece of a run, between one thread and several.

Threads of one circuit wait for each other after each window. On a busy machine a thread that has to wait for its turn
holds up the others, so that one thread alone is faster. The results are the same, so the faster one is taken.
"""

from __future__ import annotations

_PIECE, _TRIAL = 20e-3, 2e-3  # wall time of a piece, and of one by which the other choice is tried, s
_LEAST = 20  # steps of a piece
_SOON, _RARELY = 8, 128  # pieces from a trial to the next


class Pace:
    """Wall time of a step with one thread and with several, as measured.

    Attributes
    ----------
    seconds : dict of bool to float
        Of a step, with several threads (True) and with one (False); 0 before the first measurement.
    """

    def __init__(self) -> None:
        self.seconds = {True: 0.0, False: 0.0}
        self._pieces, self._patience = 0, _SOON

    @property
    def best(self) -> bool:
        """Whether several threads are faster."""
        return self.seconds[True] <= self.seconds[False]

    def next(self) -> tuple[bool, int]:
        """Return whether the next piece is run by several threads, and how many steps it has."""
        for threads in (True, False):
            if not self.seconds[threads]:
                return threads, _LEAST
        self._pieces += 1
        best = self.best
        if self._pieces < self._patience:
            return best, self._steps(best, _PIECE)
        self._pieces = 0
        self._patience = min(2 * self._patience, _RARELY)
        return not best, self._steps(not best, _TRIAL)

    def took(self, threads: bool, steps: int, seconds: float) -> None:
        """Note the wall time of a piece."""
        best = self.best
        known = all(self.seconds.values())
        self.seconds[threads] = seconds / steps
        if known and self.best is not best:
            self._patience = _SOON

    def _steps(self, threads: bool, seconds: float) -> int:
        return max(int(seconds / self.seconds[threads]), _LEAST)
