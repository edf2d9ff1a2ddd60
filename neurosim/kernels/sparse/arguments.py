"""Arguments and results of a sparse product of spikes."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from neurosim.kernels.sparse.rows import Rows


class Call(NamedTuple):
    """Arguments of a sparse product.

    Attributes
    ----------
    x : Tensor [R, n_in]
        Spikes on the CPU, float32 or float64; R counts steps and samples.
    weight : Tensor [n]
        Weight of each synapse in the order of the rows, of the same type.
    starts, post, n_out
        As in `Rows`.
    packed_bits : Tensor [R, ceil(n_in / 64)] of int64 or None
        Bits of x, every value of which is then 0 or 1; None if they are not known.
    mask : Tensor [R, ceil(n_in / 64)] of int64 or None
        Where the gradient of x is needed, a bit each; it is 0 elsewhere. None for everywhere.
    """

    x: Tensor
    weight: Tensor
    starts: Tensor
    post: Tensor
    n_out: int
    packed_bits: Tensor | None = None
    mask: Tensor | None = None

    @property
    def rows(self) -> Rows:
        """The synapses."""
        return Rows(self.starts, self.post, self.n_out)


class Saved(NamedTuple):
    """What the backward pass reads; the fields are those of `Call` and `ProductOutputs`."""

    input_bits: Tensor
    values: Tensor | None
    weight: Tensor
    starts: Tensor
    post: Tensor
    n_out: int
    mask: Tensor | None

    @property
    def rows(self) -> Rows:
        """The synapses."""
        return Rows(self.starts, self.post, self.n_out)
