"""The options of a benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from neurosim.errors import InputError

Case = TypeVar("Case")


@dataclasses.dataclass(frozen=True)
class Options:
    """`quick`: small sizes, to check that everything runs. `data`: folder of N-MNIST recordings.

    `plot`: file for the plot, where there is one. `case`: number of the only case to run, from 1. `peaks`: whether
    comparisons also measure memory, in separate processes. `peers`: folder of the environments of circuit simulators.
    `busy`: also run circuits beside two busy loops. `scale`: part of the neurons of the cortical microcircuit.
    """

    quick: bool = False
    data: Path | None = None
    plot: Path | None = None
    case: int | None = None
    peaks: bool = True
    peers: Path | None = None
    busy: bool = False
    scale: float | None = None

    def chosen(self, cases: Sequence[Case]) -> Sequence[Case]:
        """Return `cases`, or the selected one."""
        if self.case is None:
            return cases
        if not 1 <= self.case <= len(cases):
            raise InputError(f"case must be in 1 to {len(cases)} here; got {self.case}.")
        return cases[self.case - 1 : self.case]
