"""What a layer hands to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Sent(NamedTuple):
    """What a layer sends on.

    Attributes
    ----------
    out : Tensor [T, B, N]
    states : sequence of Tensor [B, N]
        After the last step.
    bits, active : Tensor [T B, ceil(N / 64)] of int64, or None
        Where the output is a spike, and where its surrogate is not zero; None where that is everywhere.
    stored : sequence of Tensor
        Values that the plan stores at every step, if no chunks are asked for.
    """

    out: Tensor
    states: Sequence[Tensor]
    bits: Tensor | None
    active: Tensor | None
    stored: Sequence[Tensor]
