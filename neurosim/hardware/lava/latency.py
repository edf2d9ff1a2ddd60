"""When data arrive: on Lava every connection takes one step, in the network none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """A connection as far as time is concerned; `delay` in steps of the network."""

    name: str
    source: str
    target: str
    delay: int


class Cycle(Exception):
    """A cycle of connections whose delays are too short for Lava."""

    def __init__(self, ways: Sequence[Way]) -> None:
        super().__init__(ways)
        self.ways = tuple(ways)


def latencies(inputs: Sequence[str], populations: Sequence[str], ways: Sequence[Way]) -> dict[str, int]:
    """Return for each node the Lava step that corresponds to the network's step 0.

    A spike of `source` at the network's step t acts in `target` at step ``t + delay``. Lava's connection takes at
    least one step, so ``latency[source] + 1 <= latency[target] + delay``; what is left over is the connection's delay
    on Lava. The smallest such latencies are returned: 0 for inputs, at least 1 for populations.

    Raises
    ------
    Cycle
        If around a cycle there are fewer steps of delay than connections.
    """
    latency = {**dict.fromkeys(inputs, 0), **dict.fromkeys(populations, 1)}
    reached_by: dict[str, Way] = {}
    late: list[Way] = []
    for _ in range(len(latency) + 1):
        late = []
        for way in ways:
            needed = latency[way.source] + 1 - way.delay
            if needed > latency[way.target]:
                latency[way.target], reached_by[way.target] = needed, way
                late.append(way)
        if not late:
            return latency
    raise Cycle(_cycle(late[-1].target, reached_by))


def extra_delay(latency: dict[str, int], way: Way) -> int:
    """Return how many steps more than one a connection must take on Lava."""
    return latency[way.target] + way.delay - latency[way.source] - 1


def _cycle(node: str, reached_by: dict[str, Way]) -> list[Way]:
    for _ in reached_by:  # walk back far enough to be on the cycle and not only behind it
        node = reached_by[node].source
    ways = [reached_by[node]]
    while ways[-1].source != node:
        ways.append(reached_by[ways[-1].source])
    return ways[::-1]
