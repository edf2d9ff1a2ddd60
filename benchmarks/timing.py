"""Times of several contenders at the same work, taken in turns in one process."""

from __future__ import annotations

import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Mapping


class ImplausibleError(Exception):
    """A measurement that cannot be: the benchmark is wrong, not the machine fast."""


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


def interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int, calls: int = 8) -> dict[str, Times]:
    """Time all contenders in rounds, in another order each round.

    A turn is one call that is not timed, so that each finds the caches as its own last call left them, and `calls`
    that are.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
        run()
    order = list(contenders)
    shuffle = random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            run = contenders[name]
            run()
            for _ in range(calls):
                start = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - start)
    return {name: Times(tuple(sorted(values))) for name, values in seconds.items()}
