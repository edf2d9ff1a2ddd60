"""The table of a run: statistics of each population."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from neurosim.analysis.counts import count_fano, count_synchrony
from neurosim.analysis.grid import EventList, complete_bins, complete_counts, on_grid
from neurosim.analysis.interspike import cv_of, intervals_between
from neurosim.errors import InputError
from neurosim.files.notebook import text_html
from neurosim.units import steps_of

_COLUMNS = {
    "neurons": "neurons",
    "spikes": "spikes",
    "rate": "rate (Hz)",
    "rate_sd": "SD of rates",
    "cv": "CV",
    "fano": "Fano",
    "synchrony": "synchrony",
    "silent": "silent",
}
_FANO_BIN = 3e-3  # s


class Statistics(Mapping[str, dict[str, float]]):
    """Statistics of populations: a dict for each, a table when printed.

    Attributes
    ----------
    after, until : float
        From when to when spikes were counted, s.
    bin : float
        Width of the bins of Fano factor and synchrony, s.
    B : int
        Samples, which are taken together.
    """

    def __init__(
        self, populations: Mapping[str, dict[str, float]], *, after: float, until: float, bin: float, B: int
    ) -> None:
        self._populations = dict(populations)
        self.after, self.until, self.bin, self.B = after, until, bin, B

    def __getitem__(self, name: str) -> dict[str, float]:
        return self._populations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._populations)

    def __len__(self) -> int:
        return len(self._populations)

    def __repr__(self) -> str:
        samples = f", {self.B} samples" if self.B > 1 else ""
        head = f"{self.after:g} s to {self.until:g} s{samples}; Fano and synchrony in bins of {self.bin * 1e3:g} ms"
        rows = [["population", *_COLUMNS.values()]]
        rows += [[name, *(_shown(key, row[key]) for key in _COLUMNS)] for name, row in self.items()]
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        pads = [str.ljust, *[str.rjust] * len(_COLUMNS)]
        lines = ["  ".join(pad(c, width) for pad, c, width in zip(pads, row, widths, strict=True)) for row in rows]
        return "\n".join([head, *lines])

    def _repr_html_(self) -> str:
        return text_html(repr(self))


def _shown(key: str, value: float) -> str:
    if np.isnan(value):
        return "-"
    if key in ("neurons", "spikes"):
        return f"{value:,.0f}"
    return f"{value:.1%}" if key == "silent" else f"{value:.4g}"


def population_statistics(spikes: Mapping[str, EventList], after: float = 0.0, bin: float | None = None) -> Statistics:
    """Return rates, CV, Fano factor, synchrony and the share of silent neurons of each population.

    Parameters
    ----------
    spikes : mapping of str to Events
        Populations on a grid, such as `Recording.spikes`.
    after : float
        Spikes before this time are left out, s; a multiple of dt below the duration.
    bin : float, optional
        Width of the bins of Fano factor and synchrony, s; the multiple of dt nearest to 3 ms if left out.

    Returns
    -------
    Statistics
        For each population ``neurons``, ``spikes`` (of all samples), ``rate`` (mean, Hz), ``rate_sd`` (standard
        deviation over neurons, Hz), ``cv`` (of the intervals, mean over neurons with three spikes or more), ``fano``
        and ``synchrony`` (means over samples) and ``silent`` (share of neurons without a spike). What cannot be
        computed, such as the CV of silent neurons, is NaN.

    Raises
    ------
    UnitError
        When `after` or `bin` is not a multiple of dt.
    InputError
        When there is no population, `after` is beyond the recording, or events lie at real times.

    Examples
    --------
    >>> from neurosim import Events
    >>> events = Events(step=[*range(0, 1000, 20)], neuron=[0] * 50, T=1000, dt=1e-3, shape=2)
    >>> population_statistics({"E": events}, after=0.5)
    0.5 s to 1 s; Fano and synchrony in bins of 3 ms
    population  neurons  spikes  rate (Hz)  SD of rates  CV    Fano  synchrony  silent
    E                 2      25         25           25   0  0.8494     0.7071   50.0%
    """
    if not spikes:
        raise InputError("statistics: no spikes were recorded. Give simulate(..., record=(...)) the names of nodes.")
    found = {name: _statistics_of(events, after, bin) for name, events in spikes.items()}
    first = next(iter(spikes.values()))
    dt, steps = first.dt or 0.0, first.T or 0
    return Statistics(found, after=float(after), until=steps * dt, bin=bin or _default_bin(dt), B=first.B)


def _default_bin(dt: float) -> float:
    return max(round(_FANO_BIN / dt), 1) * dt


def _statistics_of(events: Any, after: float, bin: float | None) -> dict[str, float]:
    read = events.numpy()
    whole = on_grid("statistics", read)
    first = steps_of("statistics", "after", after, whole.dt)
    if first >= whole.T:
        raise InputError(f"statistics: after must be below the duration of {whole.duration:g} s; got {after!r} s.")
    grid = on_grid("statistics", read.between(first, whole.T))
    width, bins = complete_bins("statistics", _default_bin(grid.dt) if bin is None else bin, grid)
    step, cell = grid.by_cell()
    counted = np.bincount(grid.cell, minlength=grid.cells)
    each = counted / grid.duration
    cv = cv_of(intervals_between(grid, step, cell), grid.cells, least=3)
    return {
        "neurons": grid.N,
        "spikes": len(step),
        "rate": float(each.mean()),
        "rate_sd": float(each.std()),
        "cv": _mean(cv),
        "fano": _mean(count_fano(complete_counts(grid, width, bins))),
        "synchrony": _mean(count_synchrony(grid, step, cell, width, bins)),
        "silent": float((counted == 0).mean()),
    }


def _mean(values: Any) -> float:
    """Return the mean of the numbers that are not NaN; NaN if there is none."""
    good = values[~np.isnan(values)]
    return float(good.mean()) if len(good) else float("nan")
