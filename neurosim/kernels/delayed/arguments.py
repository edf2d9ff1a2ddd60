"""Arguments and results of a sparse product of spikes with delays."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from neurosim.kernels.delayed.rows import DelayedRows


class Call(NamedTuple):
    """Arguments of a sparse product with delays.

    Attributes
    ----------
    line : Tensor [span + T, B, n_in]
        Spikes on the CPU, float32 or float64.
    weight : Tensor [n]
        Weight of each synapse in the order of the rows, of the same type.
    starts, post, delay, n_out, span, bounds
        As in `DelayedRows`.
    """

    line: Tensor
    weight: Tensor
    starts: Tensor
    post: Tensor
    delay: Tensor
    n_out: int
    span: int
    bounds: Tensor | None = None

    @property
    def rows(self) -> DelayedRows:
        """The synapses."""
        return DelayedRows(self.starts, self.post, self.delay, self.n_out, self.span, self.bounds)


class Saved(NamedTuple):
    """What the backward pass reads; the fields are those of `Call` and `ProductOutputs`."""

    input_bits: Tensor
    values: Tensor | None
    weight: Tensor
    starts: Tensor
    post: Tensor
    delay: Tensor
    n_out: int
    span: int
    bounds: Tensor | None

    @property
    def rows(self) -> DelayedRows:
        """The synapses."""
        return DelayedRows(self.starts, self.post, self.delay, self.n_out, self.span, self.bounds)
