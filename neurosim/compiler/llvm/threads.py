"""Threads that wait for a share of a kernel's work.

Handing work over takes two locks; an executor's queue, future and conditions are felt in layers whose kernels take
less than a millisecond.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Hashable, Sequence
from time import perf_counter

import torch

from neurosim.compiler.llvm import openmp
from neurosim.compiler.llvm.crowding import Region, crowding, region_of

Part = Callable[[], None]

_regions: dict[Hashable, Region] = {}
forced: int | None = None  # number of threads that every kernel uses, however small its work; for tests


class _Worker:
    """One thread with one part of the work at a time."""

    def __init__(self) -> None:
        self._part: Part | None = None
        self._error: BaseException | None = None
        self._ready, self._done = threading.Lock(), threading.Lock()
        self._ready.acquire()
        self._done.acquire()
        threading.Thread(target=self._serve, name="neurosim", daemon=True).start()

    def start(self, part: Part) -> None:
        """Begin with `part`."""
        self._part = part
        self._ready.release()

    def wait(self) -> None:
        """Wait for the end of the part, and raise what it raised."""
        self._done.acquire()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _serve(self) -> None:
        while True:
            self._ready.acquire()
            self._run()
            self._done.release()

    def _run(self) -> None:
        part, self._part = self._part, None  # nothing of the work is held while the thread waits for the next
        assert part is not None  # `start` sets it
        try:
            part()
        except BaseException as error:
            self._error = error


_idle: list[_Worker] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # threads do not come along into a forked child


def at_once(parts: Sequence[Part]) -> None:
    """Run all `parts` at the same time, the first in this thread, and return when all are done.

    A part holds what it works on: if the caller is interrupted while it waits, the others still run to their end.
    Their threads are then not used again.
    """
    torchs_own = openmp.team()
    if torchs_own is not None:
        torchs_own.run(parts)
        return
    together(parts)


def together(parts: Sequence[Part]) -> None:
    """Run all `parts`, which wait for each other, each in a thread of its own, the first in this one."""
    busy = []
    for part in parts[1:]:
        worker = _worker()
        worker.start(part)
        busy.append(worker)
    parts[0]()
    for worker in busy:
        worker.wait()
    _idle.extend(busy)


def number_of_threads() -> int:
    """Return how many threads kernels use at most: torch's number, or the one that is forced."""
    return torch.get_num_threads() if forced is None else forced


def threads_for(work: int, least: int) -> int:
    """Return how many threads have `least` pieces of `work` each, at most `number_of_threads`."""
    return min(torch.get_num_threads(), work // least) if forced is None else forced


def spread(part: Callable[[int, int], None], total: int, grain: int = 1, multiple: int = 1) -> None:
    """Divide `total` pieces of work among threads.

    Parameters
    ----------
    part : callable
        Does the pieces from its first argument up to before its second; holds references to its data.
    total : int
        Number of pieces.
    grain : int
        Pieces of a thread at least: fewer take less time than to start the thread.
    multiple : int
        Every thread but the last has a multiple of so many pieces.
    """
    workers, share = shares(total, grain, multiple)
    if workers <= 1:
        if total:
            part(0, total)
        return
    start = perf_counter()
    region = region_of(_regions, (getattr(part, "__code__", None), total, grain))
    several = in_several(region, start)
    if several:
        at_once([functools.partial(part, first, min(first + share, total)) for first in range(0, total, share)])
    else:
        part(0, total)
    crowding.took(region, several, workers, start)


def in_several(region: Region, now: float) -> bool:
    """Return whether several threads run this call of a region: not while other programs use the processors."""
    return forced is not None or crowding.several(region, now)


def shares(total: int, grain: int, multiple: int) -> tuple[int, int]:
    """Return how many threads to use for `total` pieces, and how many pieces each does; see `spread`."""
    threads, least = (torch.get_num_threads(), grain) if forced is None else (forced, 1)
    workers = min(threads, max(total // least, 1), -(-total // multiple))
    if workers <= 1:
        return workers, total
    share = -(-total // workers)
    share += -share % multiple
    return -(-total // share), share


def _worker() -> _Worker:
    try:
        return _idle.pop()
    except IndexError:
        return _Worker()
