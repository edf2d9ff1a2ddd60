"""What the synapses of a projection will take, before anything is drawn."""

from __future__ import annotations

from typing import NamedTuple

from neurosim.kernels.drawing.arguments import Drawing
from neurosim.kernels.drawing.plan import Plan, TableKind
from neurosim.quantities import bytes_text, quantity, significant

HEADER = "projection", "synapses", "format", "memory", "time", "weight error", "delays"
# Seconds of one core for a synapse, measured on an AMD EPYC of 2.6 GHz.
_PAIR, _LEVEL = 3e-9, 8e-9


class ProjectionPlan(NamedTuple):
    """What a projection will take.

    Attributes
    ----------
    name : str
        Of the edge.
    synapses : int
        Expected number.
    format : {"bits", "constant", "packed", "wide"}
        Of the rows of a simulation; see `neurosim.kernels.drawing.plan.RowTable`.
    nbytes : int
        Expected bytes of memory of these rows.
    seconds : float
        Estimated time of one core to draw them.
    weight_error : float
        Largest error of a weight on its grid, relative to the mean size of the weights.
    delays : tuple of float
        Shortest and longest delay that may be drawn, with that of the edge, s.
    """

    name: str
    synapses: int
    format: TableKind
    nbytes: int
    seconds: float
    weight_error: float
    delays: tuple[float, float]

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table with `HEADER`."""
        low, high = self.delays
        delays = quantity(low, "s") if low == high else f"{quantity(low, 's')} to {quantity(high, 's')}"
        return (
            self.name,
            f"{self.synapses:,}",
            self.format,
            bytes_text(self.nbytes),
            quantity(self.seconds, "s", 2),
            f"{significant(100 * self.weight_error, 2)} %",
            delays,
        )


def forecast(name: str, table: Plan, weight_error: float, dt: float) -> ProjectionPlan:
    """Return what the table of one projection will take."""
    (part,) = table.parts
    drawing = part.projection.drawn.drawing
    low, high = part.delays
    seconds = table.synapses * _cost(drawing)
    synapses = round(table.synapses)
    return ProjectionPlan(name, synapses, table.kind, table.nbytes, seconds, weight_error, (low * dt, high * dt))


def _cost(drawing: Drawing) -> float:
    """Return the seconds for a synapse; a rule by postsynaptic neuron draws its pairs twice."""
    varied = sum(not levels.is_constant for levels in (drawing.weight, drawing.delay))
    return _PAIR * (2 if drawing.pairs.kind in ("in", "total") else 1) + _LEVEL * varied
