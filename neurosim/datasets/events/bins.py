"""From events to frames: what a cell of a grid holds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.checks import EXACT
from neurosim.datasets.events import bins_code
from neurosim.datasets.events.columns import Columns, Grid
from neurosim.errors import InputError, UnitError

DTYPES = tuple(bins_code.CELLS)  # of a grid


class Bins(ABC):
    """What a cell of the grid holds: a frozen value, given as ``binned(..., value=...)``."""

    @property
    def merges_polarities(self) -> bool:
        """Whether the two polarities of a pixel have one cell."""
        return False

    @abstractmethod
    def fill(self, out: Tensor, events: Columns, sample: int, grid: Grid) -> None:
        """Write the cells of one sample into `out`, zeros of shape [T, B, polarities, H, W]."""


@dataclass(frozen=True)
class _Sums(Bins):
    kind: str

    @property
    def merges_polarities(self) -> bool:
        """Whether the two polarities of a pixel have one cell."""
        return self.kind == "signed"

    def fill(self, out: Tensor, events: Columns, sample: int, grid: Grid) -> None:
        """Write the cells of one sample."""
        if out.dtype == torch.uint8 and self.kind == "signed":
            raise InputError("binned: signed cells need a signed type; give dtype=torch.int16, int32 or float32.")
        bins_code.fill(self.kind, out, events, sample, grid)
        if out.dtype == torch.float32 and len(events.t) > EXACT and float(out[:, sample].abs().max()) >= EXACT:
            raise InputError(
                f"binned: a cell of sample {sample} holds {EXACT:,} events or more, which float32 does not count. "
                "Give dtype=torch.int32."
            )

    def __repr__(self) -> str:
        return self.kind


counts: Bins = _Sums("counts")
"""Number of events."""
binary: Bins = _Sums("binary")
"""1 where there is an event."""
signed: Bins = _Sums("signed")
"""Number of events of polarity 1 less those of polarity 0; the two polarities have one cell."""


@dataclass(frozen=True)
class time_surface(Bins):
    """Surface of the latest events at the end of each step: ``exp(-(t_end - t) / tau)`` for the latest one of a pixel.

    A pixel without an event so far holds 0. Polarities have a surface each.

    Parameters
    ----------
    tau : float
        s, positive.

    References
    ----------
    Lagorce, Orchard, Galluppi, Shi and Benosman 2017, "HOTS: A hierarchy of event-based time-surfaces for pattern
    recognition", doi:10.1109/TPAMI.2016.2574707.
    """

    tau: float

    def __post_init__(self) -> None:
        if isinstance(self.tau, bool) or not isinstance(self.tau, (int, float)) or not 0 < self.tau < math.inf:
            raise UnitError(f"time_surface: tau must be a positive number of s; got {self.tau!r}.")

    def fill(self, out: Tensor, events: Columns, sample: int, grid: Grid) -> None:
        """Write the cells of one sample."""
        if not out.is_floating_point():
            raise InputError(f"binned: a time surface is floating point; got dtype={out.dtype}.")
        polarities, height, width = grid.volume
        pixel = (events.p.astype(np.int64) * height + events.y) * width + events.x
        latest = np.full(polarities * height * width, -np.inf)
        edges = np.searchsorted(events.t, np.arange(grid.T + 1) * grid.width)
        for step in range(grid.T):
            part = slice(edges[step], edges[step + 1])
            latest[pixel[part]] = events.t[part]  # of several events of a pixel NumPy keeps the last
            age = ((step + 1) * grid.width - latest) * 1e-6
            out[step, sample] = torch.from_numpy(np.exp(-age / self.tau)).reshape(grid.volume)
