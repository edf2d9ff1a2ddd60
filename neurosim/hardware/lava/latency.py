"""When data arrive: on Lava every connection takes one step, in the network none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Hop:
    """The times of an edge; `delay` in steps of the network."""

    name: str
    source: str
    target: str
    delay: int


class Cycle(Exception):
    """A cycle of connections whose delays are too short for Lava."""

    def __init__(self, hops: Sequence[Hop]) -> None:
        super().__init__(hops)
        self.hops = tuple(hops)


def latencies(inputs: Sequence[str], populations: Sequence[str], hops: Sequence[Hop]) -> dict[str, int]:
    """Return for each node the Lava step that corresponds to the network's step 0.

    A spike of `source` at the network's step t acts in `target` at step ``t + delay``. Lava's connection takes at
    least one step, so ``latency[source] + 1 <= latency[target] + delay``; the rest is the connection's delay on Lava.

    Returns
    -------
    dict of str to int
        The smallest such latencies: 0 for inputs, at least 1 for populations.

    Raises
    ------
    Cycle
        If a cycle has fewer steps of delay than connections.
    """
    latency = {**dict.fromkeys(inputs, 0), **dict.fromkeys(populations, 1)}
    reached_by: dict[str, Hop] = {}
    late: list[Hop] = []
    for _ in range(len(latency) + 1):
        late = []
        for hop in hops:
            needed = latency[hop.source] + 1 - hop.delay
            if needed > latency[hop.target]:
                latency[hop.target], reached_by[hop.target] = needed, hop
                late.append(hop)
        if not late:
            return latency
    raise Cycle(_cycle(late[-1].target, reached_by))


def extra_delay(latency: dict[str, int], hop: Hop) -> int:
    """Return how many steps more than one a connection must take on Lava."""
    return latency[hop.target] + hop.delay - latency[hop.source] - 1


def _cycle(node: str, reached_by: dict[str, Hop]) -> list[Hop]:
    for _ in reached_by:  # back far enough to be on the cycle and not only behind it
        node = reached_by[node].source
    hops = [reached_by[node]]
    while hops[-1].source != node:
        hops.append(reached_by[hops[-1].source])
    return hops[::-1]
