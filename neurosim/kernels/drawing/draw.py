"""Drawn synapses by compiled code where it can run, else by their definition."""

from __future__ import annotations

import torch

from neurosim.kernels.common.availability import fused
from neurosim.kernels.drawing import cpu, cpu_tables, memory, reference, reference_tables
from neurosim.kernels.drawing.arguments import Drawing
from neurosim.kernels.drawing.plan import Plan, RowTable
from neurosim.kernels.drawing.reference import Synapses


def draw(drawing: Drawing) -> Synapses:
    """Return the synapses of a projection.

    Raises
    ------
    InputError
        When they do not fit in memory.
    """
    each = 4 * (1 + (not drawing.weight.is_constant) + (not drawing.delay.is_constant))
    memory.check(drawing.pairs.expected * each, f"{round(drawing.pairs.expected):,} synapses, one by one,")
    return cpu.draw(drawing) if _is_compiled() else reference.draw(drawing)


def draw_table(plan: Plan) -> RowTable:
    """Return a table with its synapses."""
    return cpu_tables.draw_table(plan) if _is_compiled() else reference_tables.draw_table(plan)


def _is_compiled() -> bool:
    return fused(torch.device("cpu"))
