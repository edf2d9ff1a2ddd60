"""The fall to one thread while other programs use the processors.

The threads of a parallel region wait for each other at its end. On a busy machine one of them has to wait for its turn
at a processor, which takes milliseconds where the work takes microseconds, so that one thread alone is faster. The
results have the same bits, so the faster way is taken.

The wall time of a region with several threads is compared with that of one thread, which is measured now and then.
What several threads lose is summed over all regions, less what they gain; after a loss of `_LOSS` one thread runs for
`_REST` times as long as was lost. Then several threads are tried again: on a machine that stays busy the trials take
a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Hashable
from time import perf_counter

_LOSS = 4e-3  # s that several threads lose before one takes over
_CREDIT = 16e-3  # s of their gain that are counted at most, so that one late thread on a quiet machine changes nothing
_REST, _LONGEST = 10.0, 2.0  # how long one thread runs: for each second lost, and at most, s
_FIRST, _EVERY = (3, 6), 256  # calls of a region that one thread runs, to measure its wall time
_REGIONS = 256  # kept of one owner
_MEAN = 8  # last measurements whose mean counts

enabled = True  # for tests of the threads themselves


class Region:
    """Parallel work that is called again and again.

    Attributes
    ----------
    calls : int
    alone : float
        Wall time with one thread, s.
    measured : int
        Number of measurements of `alone`.
    """

    __slots__ = ("alone", "calls", "measured")

    def __init__(self) -> None:
        self.calls, self.alone, self.measured = 0, 0.0, 0

    def measure(self, seconds: float) -> None:
        """Note the wall time of one thread."""
        self.measured += 1
        if self.measured <= len(_FIRST):  # the first ones may load memory, or wait for a processor
            self.alone = seconds if self.measured == 1 else min(self.alone, seconds)
        else:
            self.alone += (seconds - self.alone) / min(self.measured, _MEAN)


class Crowding:
    """What several threads lose against one, in this process.

    Attributes
    ----------
    loss : float
        Wall time lost less that gained, s.
    until : float
        Time until which one thread runs, s, of `time.perf_counter`.
    """

    def __init__(self) -> None:
        self.loss, self.until = 0.0, 0.0

    def several(self, region: Region, now: float) -> bool:
        """Return whether several threads run this call of a region."""
        if not enabled:
            return True
        region.calls = calls = region.calls + 1
        return self.until <= now and calls % _EVERY != 0 and calls not in _FIRST

    def took(self, region: Region, several: bool, workers: int, start: float) -> None:
        """Note that a call, which has begun at `start`, has ended."""
        now = perf_counter()
        seconds = now - start
        if not several:
            region.measure(seconds)
        elif region.measured:
            # Several threads are at most so many times as fast.
            lost = max(seconds - region.alone, (1 - workers) * seconds)
            self.loss = max(self.loss + lost, -_CREDIT)
            if self.loss > _LOSS:
                self.until, self.loss = now + min(_REST * self.loss, _LONGEST), 0.0


crowding = Crowding()


def region_of(regions: dict[Hashable, Region], key: Hashable) -> Region:
    """Return the region of `key`; a dictionary that is full is emptied."""
    region = regions.get(key)
    if region is None:
        if len(regions) >= _REGIONS:
            regions.clear()
        region = regions[key] = Region()
    return region
