"""Clock cycles of a step: those of the updates, and those of the rows that spikes read."""

from __future__ import annotations

import numpy as np

from neurosim.hardware.integers import IntegerNetwork, Traces
from neurosim.hardware.verilog.core import VerilogCore
from neurosim.hardware.verilog.rows import Rows, rows_of

UPDATE = 4  # of a neuron, beside those in which its values settle: read, the last wait, write, next
ROW = {True: 4, False: 2}  # that find a row: listed, or with all neurons
WALK = 4  # beside one for each weight: the last, and until the sums are written
SPIKE = 1  # until the core goes on after the last row


def cycles_per_step(integers: IntegerNetwork, core: VerilogCore, inputs: np.ndarray, traces: Traces) -> float:
    """Return the cycles of a step as a mean over a run, without the host.

    Parameters
    ----------
    integers : IntegerNetwork
    core : VerilogCore
    inputs : numpy.ndarray [T, B, n]
        As `spikes_of` returns them.
    traces : Traces
    """
    updates = sum(
        p.neurons * (depth + UPDATE) for p, depth in zip(integers.populations.values(), core.depths, strict=True)
    )
    rows = rows_of(integers)
    total, first = 0.0, 0
    for name, shape in integers.inputs.items():
        n = int(np.prod(shape))
        counts = (inputs[..., first : first + n] != 0).reshape(-1, n).sum(0)
        total += float(counts @ _spike([each for each in rows if each.projection.source == name], n)) + counts.sum()
        first += n
    for name, values in traces.outputs.items():
        mine = [each for each in rows if each.projection.source == name]
        if mine:
            counts = (values != 0).reshape(-1, values.shape[-1]).sum(0)
            total += float(counts @ _spike(mine, values.shape[-1]))
    return updates + 2.0 + total / (inputs.shape[0] * inputs.shape[1])


def _spike(rows: list[Rows], neurons: int) -> np.ndarray:
    """Return the cycles of a spike of each neuron."""
    cycles = np.full(neurons, float(SPIKE))
    for each in rows:
        lengths = np.full(neurons, each.length) if each.first is None else np.diff(each.first)
        cycles += ROW[each.first is not None] + lengths + np.where(lengths > 0, WALK, 2)
    return cycles
