"""What the command line asks of a benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from neurosim.errors import InputError

Case = TypeVar("Case")


@dataclasses.dataclass(frozen=True)
class Options:
    """`quick`: small sizes, to see that all runs and not to measure. `data`: folder of N-MNIST recordings.

    `plot`: file for the picture, of those that draw one. `case`: number of the one case that is wanted, from 1 on.
    `peaks`: whether comparisons measure memory as well, in processes of their own.
    """

    quick: bool = False
    data: Path | None = None
    plot: Path | None = None
    case: int | None = None
    peaks: bool = True

    def chosen(self, cases: Sequence[Case]) -> Sequence[Case]:
        """Return `cases`, or the one that is wanted."""
        if self.case is None:
            return cases
        if not 1 <= self.case <= len(cases):
            raise InputError(f"case must be in 1 to {len(cases)} here; got {self.case}.")
        return cases[self.case - 1 : self.case]
