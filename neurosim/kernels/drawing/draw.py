"""Drawn synapses by compiled code where it can run, else by their definition."""

from __future__ import annotations

import numpy as np
import torch

from neurosim.kernels.common.availability import fused
from neurosim.kernels.drawing import cpu, cpu_tables, memory, reference, reference_tables
from neurosim.kernels.drawing.arguments import Drawing, Key, Pairs
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


def draw_pairs(pairs: Pairs, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts [n_in + 1] of the rows, int64, and the postsynaptic neurons [n], int32."""
    memory.check(pairs.expected * 4, f"{round(pairs.expected):,} pairs")
    return cpu.draw_pairs(pairs, key) if _is_compiled() else reference.draw_pairs(pairs, key)


def draw_table(plan: Plan) -> RowTable:
    """Return a table with its synapses."""
    return cpu_tables.draw_table(plan) if _is_compiled() else reference_tables.draw_table(plan)


def _is_compiled() -> bool:
    return fused(torch.device("cpu"))
