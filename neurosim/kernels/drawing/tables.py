"""Rows of synapses as the engine of circuits reads them: all that leave one population, in a few tables."""

from __future__ import annotations

from collections.abc import Sequence

from neurosim.kernels.drawing import memory
from neurosim.kernels.drawing.draw import draw_table
from neurosim.kernels.drawing.plan import Projection, RowTable, plan_tables


def row_tables(projections: Sequence[Projection]) -> list[RowTable]:
    """Draw the synapses that leave one population.

    Projections share a table where their weights allow it: bits and constant those of one weight, packed those of one
    sign.

    Parameters
    ----------
    projections : sequence of Projection
        From one population.

    Returns
    -------
    list of RowTable

    Raises
    ------
    InputError
        When they do not fit in memory.
    """
    plans = plan_tables(projections)
    memory.check(sum(plan.nbytes for plan in plans), f"{round(sum(plan.synapses for plan in plans)):,} synapses")
    return [draw_table(plan) for plan in plans]
