"""Times of several contenders for the same work, measured in turns in one process."""

from __future__ import annotations

import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Mapping


class ImplausibleError(Exception):
    """An impossible measurement: the benchmark is wrong."""


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of single calls, sorted."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def quantile(self, q: float) -> float:
        return self.seconds[min(int(q * len(self.seconds)), len(self.seconds) - 1)]

    def as_json(self) -> dict[str, float | int]:
        ends = {"p10_s": self.quantile(0.1), "p90_s": self.quantile(0.9), "fastest_s": self.seconds[0]}
        return {"median_s": self.median, **ends, "calls": len(self.seconds)}


def seconds(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the time of one call."""
    start = clock()
    run()
    return clock() - start


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    calls: int = 8,
    warm_up: int = 2,
    slow: Mapping[str, int] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Times]:
    """Time all contenders in rounds, in a new order each round.

    A turn is one untimed call, so that each contender finds its own data in the caches, and `calls` timed ones. Before
    the first round each is called `warm_up` times. Contenders in `slow` are called that many times in total, once per
    round, every call timed: caches do not matter for calls of seconds. With ``time.process_time`` as the clock, a call
    in one thread is not affected by other load on the machine.
    """
    slow = slow or {}
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for name, run in contenders.items():
        for _ in range(0 if name in slow else warm_up):
            run()
    order = list(contenders)
    shuffle = random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            run = contenders[name]
            if name in slow:
                found[name] += [seconds(run, clock)] if len(found[name]) < slow[name] else []
                continue
            run()
            found[name] += [seconds(run, clock) for _ in range(calls)]
    return {name: Times(tuple(sorted(values))) for name, values in found.items()}
