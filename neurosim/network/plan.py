"""What the drawn synapses of a network will take, before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from neurosim.kernels.drawing import memory
from neurosim.kernels.drawing.plan import Plan, Projection, plan_tables
from neurosim.network.graph import Connection
from neurosim.quantities import bytes_text, quantity
from neurosim.synapses.drawn import Drawn
from neurosim.synapses.forecast import HEADER, ProjectionPlan


class NetworkPlan(NamedTuple):
    """What the drawn synapses of a network will take; as text a table.

    Attributes
    ----------
    projections : tuple of ProjectionPlan
    nbytes : int
        Expected bytes of memory: at most the sum, since projections of one population share tables.
    available : int or None
        Bytes of memory that are free, if known.
    """

    projections: tuple[ProjectionPlan, ...]
    nbytes: int
    available: int | None

    @property
    def synapses(self) -> int:
        """Expected number of synapses."""
        return sum(each.synapses for each in self.projections)

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


_FAR = 2.0**15


def plan_of(edges: Sequence[Connection]) -> NetworkPlan:
    """Return what the drawn synapses of these edges will take."""
    drawn = [(edge, synapse) for edge in edges for synapse in edge.synapses if isinstance(synapse, Drawn)]
    found = tuple(synapse.plan(edge.name, edge.delay_steps) for edge, synapse in drawn)
    return NetworkPlan(found, sum(table.nbytes for table in _tables(drawn)), memory.available())


def _tables(drawn: Sequence[tuple[Connection, Drawn]]) -> Iterator[Plan]:
    """Yield the tables of all populations, for slots one port behind the other."""
    units: dict[tuple[str, str], float] = {}
    for edge, synapse in drawn:
        port = edge.port, edge.target
        units[port] = min(units.get(port, synapse.unit), synapse.unit)
    sizes = {(edge.port, edge.target): synapse.drawing.pairs.n_out for edge, synapse in drawn}
    first, offsets = 0, {}
    for port in sorted(sizes):
        offsets[port], first = first, first + sizes[port]
    by_source: dict[str, list[Projection]] = {}
    for edge, synapse in drawn:
        port = edge.port, edge.target
        is_far = synapse.unit > _FAR * units[port]  # then the port has an accumulator for each edge
        projection = Projection(synapse, offsets[port], edge.delay_steps, synapse.unit if is_far else units[port])
        by_source.setdefault(edge.source, []).append(projection)
    for projections in by_source.values():
        yield from plan_tables(projections)
