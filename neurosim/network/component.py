"""The parts of a network that run one after the other: a population, or the populations of a cycle."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from neurosim.network.graph import Connection


@dataclasses.dataclass(frozen=True, eq=False)
class Component:
    """One node, or the nodes of a cycle, which depend on each other and run together.

    Attributes
    ----------
    nodes : tuple of str
        In order of computation within a step.
    outer : tuple of Connection
        Edges into it from other components.
    inner : tuple of Connection
        Edges among its nodes.
    last_read : tuple of str
        Nodes whose output no later component reads.
    """

    nodes: tuple[str, ...]
    outer: tuple[Connection, ...]
    inner: tuple[Connection, ...]
    last_read: tuple[str, ...]

    @property
    def is_cycle(self) -> bool:
        """Whether its nodes depend on their own earlier outputs."""
        return len(self.inner) > 0  # torch.compile cannot negate a tuple


def components(groups: Sequence[tuple[str, ...]], edges: Iterable[Connection]) -> list[Component]:
    """Return the components of the nodes in `groups`, which are in order of computation."""
    incoming = [[edge for edge in edges if edge.target in group] for group in groups]
    last_reader: dict[str, int] = {}
    for number, group in enumerate(groups):
        last_reader.update(dict.fromkeys(group, number))
    for number, reads in enumerate(incoming):
        for edge in reads:
            last_reader[edge.source] = max(last_reader[edge.source], number)
    return [
        Component(
            group,
            tuple(edge for edge in incoming[number] if edge.source not in group),
            tuple(edge for edge in incoming[number] if edge.source in group),
            tuple(name for name, last in last_reader.items() if last == number),
        )
        for number, group in enumerate(groups)
    ]
