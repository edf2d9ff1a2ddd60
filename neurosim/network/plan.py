"""What the drawn synapses of a network will take, before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from neurosim.kernels.drawing import memory
from neurosim.network.graph import Connection
from neurosim.quantities import bytes_text, quantity
from neurosim.synapses.drawn import Drawn
from neurosim.synapses.forecast import HEADER, ProjectionPlan


class NetworkPlan(NamedTuple):
    """What the drawn synapses of a network will take; as text a table.

    Attributes
    ----------
    projections : tuple of ProjectionPlan
    available : int or None
        Bytes of memory that are free, if known.
    """

    projections: tuple[ProjectionPlan, ...]
    available: int | None

    @property
    def synapses(self) -> int:
        """Expected number of synapses."""
        return sum(each.synapses for each in self.projections)

    @property
    def nbytes(self) -> int:
        """Expected bytes of memory."""
        return sum(each.nbytes for each in self.projections)

    @property
    def seconds(self) -> float:
        """Estimated time of one core to draw them."""
        return sum(each.seconds for each in self.projections)

    def check(self) -> None:
        """Raise `InputError` if the synapses do not fit in memory."""
        memory.check(self.nbytes, f"{self.synapses:,} synapses in {len(self.projections)} projections")

    def __str__(self) -> str:
        total = ("in all", f"{self.synapses:,}", "", bytes_text(self.nbytes), quantity(self.seconds, "s", 2), "", "")
        rows = [HEADER, *(each.cells for each in self.projections), total]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        known = "" if self.available is None else f"\n{bytes_text(self.available)} of memory are free"
        return "\n".join(lines) + known


def plan_of(edges: Sequence[Connection]) -> NetworkPlan:
    """Return what the drawn synapses of these edges will take."""
    drawn = [(edge, synapse) for edge in edges for synapse in edge.synapses if isinstance(synapse, Drawn)]
    found = tuple(synapse.plan(edge.name, edge.delay_steps) for edge, synapse in drawn)
    return NetworkPlan(found, memory.available())
