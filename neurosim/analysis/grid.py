"""Spikes on a time grid as integers: what every analysis starts from."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from neurosim.errors import InputError, UnitError
from neurosim.units import steps_of

Array = np.ndarray[Any, np.dtype[Any]]


class EventList(Protocol):
    """What is read of `neurosim.Events`."""

    neuron: Any
    batch: Any
    shape: tuple[int, ...]
    B: int
    T: int | None
    dt: float | None

    @property
    def step(self) -> Any:
        """Time steps, ascending; None for events at real times."""

    def numpy(self) -> Any:
        """Return the events in NumPy arrays."""


class Grid(NamedTuple):
    """Spikes of a population, sorted by step; the neurons of all samples are numbered together.

    Parameters
    ----------
    step, cell : array [n] of int64
        Time step, and ``sample * N + neuron``.
    T, B : int
        Steps and samples.
    shape : tuple of int
        Shape of the population.
    dt : float
        Length of a step, s.
    """

    step: Array
    cell: Array
    T: int
    B: int
    shape: tuple[int, ...]
    dt: float

    @property
    def N(self) -> int:
        """Neurons of a sample."""
        return math.prod(self.shape)

    @property
    def cells(self) -> int:
        """Neurons of all samples."""
        return self.B * self.N

    @property
    def duration(self) -> float:
        """Length of the recording, s."""
        return self.T * self.dt

    def by_cell(self) -> tuple[Array, Array]:
        """Return steps and cells, sorted by cell, then step."""
        if self.cells * self.T < 2**63:  # one sort of one integer takes 2/3 of the time of a stable argsort
            cell, step = np.divmod(np.sort(self.cell * self.T + self.step), self.T)
            return step, cell
        order = np.argsort(self.cell, kind="stable")
        return self.step[order], self.cell[order]

    def per_cell(self, values: Array) -> Array:
        """Return one value for each cell as [B, *shape]."""
        return values.reshape(self.B, *self.shape)


def on_grid(owner: str, events: EventList) -> Grid:
    """Return the spikes of events on a grid.

    Raises
    ------
    InputError
        When the events lie at real times, or have no steps or no samples.
    """
    if events.dt is None or events.T is None:
        raise InputError(f"{owner}: these events lie at real times; use binned(dt, T) first.")
    if events.T < 1 or events.B < 1:
        raise InputError(f"{owner}: the recording has {events.T} steps and {events.B} samples; it needs one of each.")
    read = events.numpy()
    cell = read.batch * math.prod(events.shape) + read.neuron
    return Grid(read.step, cell, events.T, events.B, tuple(events.shape), events.dt)


def steps_in(owner: str, name: str, seconds: float, grid: Grid) -> int:
    """Return how many steps a bin, a window or a segment has: an integer from 1.

    Raises
    ------
    UnitError
        When it is not a multiple of `dt`; the message has the two nearest that are.
    """
    steps = steps_of(owner, name, seconds, grid.dt)
    if steps < 1:
        raise UnitError(f"{owner}: {name} must be at least one step of {grid.dt:g} s; got {seconds!r} s.")
    return steps


def complete_bins(owner: str, bin: float, grid: Grid, least: int = 2) -> tuple[int, int]:
    """Return the steps of a bin and how many complete bins the recording has, at least `least`."""
    width = steps_in(owner, "bin", bin, grid)
    bins = grid.T // width
    if bins < least:
        raise InputError(
            f"{owner}: a recording of {grid.duration:g} s has {bins} complete bins of {bin:g} s; "
            f"it needs {least}. Use a shorter bin."
        )
    return width, bins


def complete_counts(grid: Grid, width: int, bins: int) -> Array:
    """Return the spikes of the population in each complete bin: int64 [bins, B]."""
    end = int(np.searchsorted(grid.step, bins * width))
    place = grid.step[:end] // width * grid.B + grid.cell[:end] // grid.N
    return np.bincount(place, minlength=bins * grid.B).reshape(bins, grid.B)
