"""The sparse product with delays in torch's operations, a chunk of the synapses at a time: where no kernel runs.

It computes what `reference` defines, forward and backward, in memory that does not grow with the number of synapses
times that of steps. It runs on any device and in any floating-point type, and costs the same for any number of spikes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.kernels.delayed.rows import DelayedRows
from neurosim.kernels.sparse.chunked import SynapseInputs, chunked_product
from neurosim.kernels.sparse.rows import Rows


def multiply(line: Tensor, weight: Tensor, rows: DelayedRows) -> Tensor:
    """Return the currents [T, B, n_out] of ``line`` [span + T, B, n_in]; see `reference.multiply`."""
    return chunked_product(line, weight, _DelayedInputs(rows))


class _DelayedInputs(SynapseInputs):
    """The inputs of each synapse from its delay before the first current on; places are those in the flat input."""

    def __init__(self, rows: DelayedRows) -> None:
        super().__init__(Rows(rows.starts, rows.post, rows.n_out), rows.span)
        self.delay = rows.delay

    def places(self, pre: Tensor, part: slice, lead: Sequence[int]) -> Tensor:
        steps, batch = lead
        begin = (pre * (self.span + steps) + self.span - self.delay[part].long()) * batch
        return begin[:, None] + torch.arange(math.prod(lead), device=pre.device)

    def gather(self, values: Tensor, places: Tensor) -> Tensor:
        return values.take(places)

    def scatter_add(self, values: Tensor, places: Tensor, shares: Tensor) -> None:
        values.view(-1).index_add_(0, places.flatten(), shares.flatten())
