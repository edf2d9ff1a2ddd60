"""What the engine of circuits would do with a network, without drawing its synapses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from neurosim.circuit.engine import is_circuit, obstacle, parts_of
from neurosim.circuit.rule_checks import checked_rules
from neurosim.circuit.rules import Rule
from neurosim.circuit.wiring import Wiring, laid_out, takes_bits
from neurosim.compiler.llvm.threads import number_of_threads
from neurosim.kernels.drawing.plan import NARROW, Plan, plan_tables
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.quantities import bytes_text, quantity
from neurosim.synapses.delayed_sparse import DelayedSparse
from neurosim.synapses.drawn import Drawn
from neurosim.synapses.sparse import Sparse


@dataclasses.dataclass(frozen=True)
class EdgeExplanation:
    """How the engine runs an edge.

    Attributes
    ----------
    name : str
    format : str
        Of the rows of synapses: ``"bits"`` (1 bit a pair), ``"bits and repeats"``, ``"constant"`` (2 or 4 bytes a
        synapse), ``"packed"`` (4), ``"wide"`` (8), ``"real"`` (a weight in floating point each), ``"one to one"``;
        ``"in the loop"`` for Poisson trains that are drawn there, ``"outside the loop"`` for currents that are computed
        for many steps at once.
    synapses : int
        Expected number.
    nbytes : int
        Expected bytes of the rows; of rows that several edges share, its part.
    delays : tuple of float
        Shortest and longest delay, s.
    rules : str
        By which the weights, amplitudes or synapses change; empty if they do not.
    """

    name: str
    format: str
    synapses: int
    nbytes: int
    delays: tuple[float, float]
    rules: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table with `_HEADER`."""
        low, high = self.delays
        delays = quantity(low, "s") if low == high else f"{quantity(low, 's')} to {quantity(high, 's')}"
        size = bytes_text(self.nbytes) if self.nbytes else ""
        return self.name, self.format, f"{self.synapses:,}" if self.synapses else "", size, delays, self.rules


_HEADER = "edge", "rows", "synapses", "memory", "delays", "plastic"


@dataclasses.dataclass(frozen=True)
class CircuitExplanation:
    """Whether and how the engine of circuits runs a network; as text some lines and a table.

    Attributes
    ----------
    chosen : bool
        Whether `neurosim.simulate` takes the engine by itself.
    reason : str
        Why the engine cannot run the network, or why it is not taken by itself; empty if it is.
    edges : tuple of EdgeExplanation
        Empty if the engine cannot run the network.
    window : int
        Steps that the threads of one trial run without waiting for each other: the shortest delay among populations.
    dt : float
        Length of a step, s.
    threads : int
        Threads that may be used.
    neurons : tuple of dict of str to int
        Neurons of each population in each part of one trial, a part for each thread.
    batch : int
        Trials, which are shared out among the threads if there are several.
    device : {"cpu", "cuda"}
        Where it runs; on CUDA all trials are in one launch.
    """

    chosen: bool
    reason: str
    edges: tuple[EdgeExplanation, ...] = ()
    window: int = 0
    dt: float = 0.0
    threads: int = 1
    neurons: tuple[dict[str, int], ...] = ()
    batch: int = 1
    device: str = "cpu"

    @property
    def applies(self) -> bool:
        """Whether the engine can run the network."""
        return bool(self.neurons)

    @property
    def nbytes(self) -> int:
        """Expected bytes of all rows."""
        return sum(edge.nbytes for edge in self.edges)

    @property
    def summary(self) -> str:
        """One line."""
        if not self.applies:
            return f"simulate runs it layer by layer; not by the engine of circuits: {self.reason}"
        if not self.chosen:
            return f'simulate runs it layer by layer ({self.reason}); engine="circuit" runs it event by event'
        return f"simulate runs it by the engine of circuits, {bytes_text(self.nbytes)} of rows of synapses"

    def __str__(self) -> str:
        if not self.applies:
            return self.summary
        rows = [_HEADER, *(edge.cells for edge in self.edges)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self.summary, self._time, self._share, *lines])

    @property
    def _time(self) -> str:
        steps = "1 step" if self.window == 1 else f"{self.window} steps"
        return f"window of the shortest delay: {steps}, {quantity(self.window * self.dt, 's')}"

    @property
    def _share(self) -> str:
        if self.device == "cuda":
            return f"on CUDA, trials at once: {self.batch}"
        if self.batch > 1:
            return f"{self.batch} trials, shared out among up to {self.threads} threads"
        if len(self.neurons) == 1:
            return "1 thread"
        parts = ("; ".join(f"{name} {number:,}" for name, number in part.items() if number) for part in self.neurons)
        return f"{len(self.neurons)} threads if they are faster than one, with the neurons: " + " | ".join(parts)


def explained(
    net: Network, record: Sequence[str], batch: int, plasticity: Mapping[str, Rule | Sequence[Rule]] | None = None
) -> CircuitExplanation:
    """Return whether and how the engine of circuits runs a network.

    Parameters
    ----------
    net : Network
    record : sequence of str
        What is recorded.
    batch : int
        Trials.
    plasticity : mapping of str to rule or rules, optional
        As in `neurosim.simulate`.
    """
    rules = checked_rules(net, plasticity)
    reason = obstacle(net, record, net.like().device, rules)
    if reason is not None:
        return CircuitExplanation(False, reason)
    chosen = bool(rules) or is_circuit(net)
    layout = laid_out(net, net.like().dtype, parts_of(net, batch), rules)
    bounds = layout.division.bounds
    neurons = tuple(
        {name: ends[p + 1] - ends[p] for name, ends in bounds.items()} for p in range(layout.division.parts)
    )
    return CircuitExplanation(
        chosen,
        "" if chosen else "no sparse synapses among the populations",
        tuple(_edges(layout)),
        layout.window,
        net.dt,
        number_of_threads(),
        neurons,
        batch,
        net.like().device.type,
    )


def _edges(layout: Wiring) -> list[EdgeExplanation]:
    net, found = layout.net, dict[str, tuple[str, float, float]]()
    for edge in layout.listed:
        found[edge.name] = _listed(layout, edge)
    for each in layout.projections.values():
        for table in plan_tables([projection for _, projection in each]):
            kind, size = _expected(table)
            for part in table.parts:
                edge = next(edge for edge, projection in each if projection is part.projection)
                synapses = part.projection.drawn.drawing.pairs.expected
                found[edge.name] = kind, synapses, size * synapses / table.synapses if table.synapses else 0.0
    outside = {edge.name for edge in layout.outside}
    for edge in net.edges:
        if edge.name not in found:
            found[edge.name] = "outside the loop" if edge.name in outside else "in the loop", 0.0, 0.0
    dt = net.dt
    return [
        EdgeExplanation(
            edge.name,
            found[edge.name][0],
            round(found[edge.name][1]),
            round(found[edge.name][2]),
            (edge.min_delay * dt, edge.reach * dt),
            ", ".join(repr(rule) for rule in layout.plasticity.get(edge.name, ()) if rule is not None),
        )
        for edge in net.edges
    ]


def _expected(table: Plan) -> tuple[str, float]:
    """Return the format of a table once it is drawn, and its expected bytes."""
    if not takes_bits(table, table.synapses):
        return table.kind, table.nbytes
    width = table.slots[1] - table.slots[0]
    pairs = table.n_in * width
    repeats = table.synapses - pairs * -math.expm1(-table.synapses / pairs)  # of pairs that are drawn alike
    size = table.n_in * -(-width // 64) * 8
    return "bits and repeats", size + repeats * (2 if width <= NARROW else 4) + (table.n_in + 1) * 8


def _listed(layout: Wiring, edge: Connection) -> tuple[str, float, float]:
    """Return format, synapses and bytes of an edge whose weights are real numbers."""
    synapse: Any = edge.synapses[0]
    each = 4 + layout.real.itemsize
    n_in = math.prod(layout.net.shape(edge.source))
    if isinstance(synapse, Drawn):
        delays = edge.reach - edge.min_delay + 1
        synapses = synapse.drawing.pairs.expected
    elif isinstance(synapse, (Sparse, DelayedSparse)):
        delay: Tensor | None = getattr(synapse, "delay", None)
        delays = 1 if delay is None else len(delay.unique())
        synapses = synapse.weight.numel()
    else:
        return "one to one", n_in, n_in * each + (n_in + 1) * 8
    return "real", synapses, synapses * each + (n_in * delays + 1) * 8
