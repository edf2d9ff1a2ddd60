"""When a sparse product reads a row of synapses for each spike."""

from __future__ import annotations

from neurosim.kernels.common import policy
from neurosim.kernels.common.bits import MOST
from neurosim.kernels.sparse.rows import Rows

# Time of a synapse in a group of rows of input.
FORWARD, INWARD, WEIGHT = 1.3, 1.2, 2.4


def is_event_driven(rows: Rows, samples: int, events: int, lanes: int, each: float, skips: bool = True) -> bool:
    """Return whether a row of synapses for each of `events` takes less time than `samples` in groups of `lanes`.

    The unit is the time that an event takes for one synapse. A whole group takes `each` for one; where a group `skips`
    neurons without a spike in any of its samples, only the others count. Measured on one x86-64 processor with
    vectors of 32 bytes, of which a group fills two.
    """
    inputs = samples * rows.n_in
    together = -(-samples // lanes) * rows.n_in * each
    if skips and inputs:
        together *= 1 - (1 - events / inputs) ** lanes
    return policy.choose(events <= together) and events < MOST
