"""The container of events: which neuron fired in which sample, and when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.recording import columns
from neurosim.units import check_dt


class Events:
    """Events of one population, sorted by time, then sample, then neuron.

    Events lie either on a time grid (`step`, `T`, `dt`) or at real times (`time`, `duration`); `binned` turns the
    second form into the first. On a grid, step k covers the times ``k dt <= t < (k + 1) dt``, and its events have the
    time ``k dt``, the beginning of the step. NIR, Brian2 and frames of event cameras have the same convention; NEST
    stamps the same spike ``(k + 1) dt``.

    Parameters
    ----------
    neuron : array-like [n] of integers
        Index into the flattened `shape`.
    batch : array-like [n] of integers, optional
        Sample; 0 for all if left out.
    step : array-like [n] of integers
        Time step, with `T` and `dt`.
    time : array-like [n] of floating point
        Time in s, with `duration`; instead of `step`.
    shape : int or tuple of int
        Shape of the population.
    B : int
        Samples.
    T : int
        Steps of the grid.
    dt : float
        Length of a step, s, in (0, 0.1).
    duration : float
        Length of the recording, s, for events at real times: ``0 <= time <= duration``.

    Attributes
    ----------
    step, batch, neuron : array [n] of int64
        NumPy arrays, or tensors if tensors were given; for events of a recording on disk HDF5 datasets, which are read
        when sliced. `step` is None for events at real times.
    T, B, shape, dt
        As given; `T` and `dt` are None for events at real times.

    Raises
    ------
    InputError
        When an index or a time lies outside its range or has the wrong type, or the arguments do not fit together.
    ShapeError
        When the lists differ in length.
    UnitError
        When `dt` is outside its range.

    Examples
    --------
    >>> events = Events(step=[2, 0], neuron=[0, 1], T=3, dt=1e-3, shape=2)
    >>> events.step, events.time
    (array([0, 2]), array([0.   , 0.002]))
    >>> events.to_grid()[:, 0].tolist()
    [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    """

    __slots__ = ("B", "T", "_duration", "_when", "batch", "dt", "neuron", "shape")

    def __init__(
        self,
        *,
        neuron: Any,
        batch: Any = None,
        step: Any = None,
        time: Any = None,
        shape: int | tuple[int, ...],
        B: int = 1,
        T: int | None = None,
        dt: float | None = None,
        duration: float | None = None,
    ) -> None:
        columns.check_form(step, time, T, dt, duration)
        sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
        self.shape = tuple(columns.integer("shape", size, 1) for size in sizes)
        self.B = columns.integer("B", B, 0)
        self.T = None if T is None else columns.integer("T", T, 0)
        self.dt = None if dt is None else check_dt("Events", dt)
        self._duration = None if duration is None else columns.checked_duration(duration)

        given = [values for values in (step, time, batch, neuron) if values is not None]
        device = next((values.device for values in given if isinstance(values, Tensor)), None)
        which = columns.indices("neuron", neuron, math.prod(self.shape), device)
        sample = torch.zeros_like(which) if batch is None else columns.indices("batch", batch, self.B, device)
        if step is not None:
            when = columns.indices("step", step, self.T, device)
        else:
            when = columns.times(time, self._duration, device)
        if when.dim() != 1 or not when.shape == which.shape == sample.shape:
            raise ShapeError(
                f"Events: {'step' if time is None else 'time'}, batch and neuron have shapes {list(when.shape)}, "
                f"{list(sample.shape)} and {list(which.shape)}; give lists of one length."
            )
        order = columns.order_of(when.detach(), sample, which)
        if order is not None:
            when, sample, which = when[order], sample[order], which[order]
        self._keep(when, sample, which, is_numpy=device is None)

    @classmethod
    def from_grid(cls, grid: Any, dt: float, *, binary: bool = False) -> Events:
        """Return the events of a grid; a cell that holds n gives n events.

        Parameters
        ----------
        grid : Tensor or array [T, B, ...]
            Integers from 0 of any type. Events of a tensor are tensors on its device.
        dt : float
            Length of a step, s.
        binary : bool
            Refuse cells that hold more than one event.

        Raises
        ------
        ShapeError
            When the grid has fewer than two axes.
        InputError
            When a cell does not hold a number of events.

        Examples
        --------
        >>> Events.from_grid(torch.tensor([[[0, 1]], [[0, 0]], [[2, 0]]]), dt=1e-3).step.tolist()
        [0, 2, 2]
        """
        data = grid.detach() if isinstance(grid, Tensor) else columns.tensor(np.ascontiguousarray(grid))
        if data.dim() < 2:
            raise ShapeError(f"Events.from_grid: the grid must be [T, B, ...]; got {list(data.shape)}.")
        steps, samples, *shape = data.shape
        flat = data.reshape(-1)
        cell = columns.nonzero(flat)
        number = flat[cell]
        columns.check_numbers(number, binary)
        if not binary and bool((number != 1).any()):
            cell = cell.repeat_interleave(number.to(torch.int64))
        row, which = columns.divided(cell, math.prod(shape))
        step, sample = columns.divided(row, samples)
        made = cls._made(tuple(shape), samples, T=steps, dt=check_dt("Events.from_grid", dt))
        return made._keep(step, sample, which, is_numpy=not isinstance(grid, Tensor))

    @classmethod
    def stored(cls, step: Any, batch: Any, neuron: Any, *, T: int, B: int, shape: tuple[int, ...], dt: float) -> Events:
        """Return events on a grid whose lists are HDF5 datasets; `read` reads and checks them."""
        made = cls._made(shape, B, T=T, dt=dt)
        made._when, made.batch, made.neuron = step, batch, neuron
        return made

    @classmethod
    def trusted(
        cls,
        step: np.ndarray,
        batch: np.ndarray,
        neuron: np.ndarray,
        *,
        T: int,
        B: int,
        shape: tuple[int, ...],
        dt: float,
    ) -> Events:
        """Return events on a grid whose lists, int64, are known to be sorted and in range; nothing is checked."""
        made = cls._made(shape, B, T=T, dt=dt)
        made._when, made.batch, made.neuron = step, batch, neuron
        return made

    @classmethod
    def joined(cls, parts: Sequence[Events]) -> Events:
        """Return events on a grid that follow each other in time as one.

        Parameters
        ----------
        parts : sequence of Events
            At least one; of one shape, `B` and `dt`. The steps of each count from the end of the one before.

        Raises
        ------
        InputError
            When the parts do not fit together.

        Examples
        --------
        >>> run = Events(step=[0, 3], neuron=[1, 0], T=4, dt=1e-3, shape=2)
        >>> Events.joined([run.between(0, 2), run.between(2, 4)]).step
        array([0, 3])
        """
        kinds = {(part.shape, part.B, part.dt) for part in parts}
        if len(kinds) != 1 or any(part.T is None for part in parts):
            raise InputError(
                f"Events.joined: all parts must be on a grid of one shape, B and dt; got {list(parts)}. "
                "Use binned(dt, T) for events at real times."
            )
        ((shape, samples, dt),) = kinds
        read = [part.read() for part in parts]
        starts = np.cumsum([0, *(part.T or 0 for part in read)]).tolist()
        columns = [part._columns() for part in read]
        step = torch.cat([column[0] + start for column, start in zip(columns, starts, strict=False)])
        batch, neuron = (torch.cat([column[k] for column in columns]) for k in (1, 2))
        made = cls._made(shape, samples, T=starts[-1], dt=dt)
        return made._keep(step, batch, neuron, is_numpy=isinstance(read[0].neuron, np.ndarray))

    @classmethod
    def _made(cls, shape: tuple[int, ...], B: int, **clock: Any) -> Events:
        made = cls.__new__(cls)
        made.shape, made.B = shape, B
        made.T, made.dt, made._duration = clock.get("T"), clock.get("dt"), clock.get("duration")
        return made

    def _keep(self, when: Tensor, batch: Tensor, neuron: Tensor, *, is_numpy: bool) -> Events:
        self._when, self.batch, self.neuron = (c.numpy() if is_numpy else c for c in (when, batch, neuron))
        return self

    def __len__(self) -> int:
        return int(self.neuron.shape[0])

    def __repr__(self) -> str:
        clock = f"duration={self.duration:g} s" if self.dt is None else f"T={self.T} dt={self.dt:g} s"
        return f"<Events n={len(self)} {clock} B={self.B} shape={list(self.shape)}>"

    @property
    def step(self) -> Any:
        """Time steps; None for events at real times."""
        return None if self.dt is None else self._when

    @property
    def time(self) -> Any:
        """Times in s, float64 on a grid: ``step * dt``, the beginning of the step."""
        if self.dt is None:
            return self._when
        step = self.read()._when
        return step * self.dt if isinstance(step, np.ndarray) else step.double() * self.dt

    @property
    def duration(self) -> float:
        """Length of the recording, s."""
        return (self.T or 0) * self.dt if self.dt is not None else (self._duration or 0.0)

    @property
    def _is_in_memory(self) -> bool:
        return isinstance(self.neuron, (np.ndarray, Tensor))

    def numpy(self) -> Events:
        """Return the same events in NumPy arrays, detached and on the CPU."""
        when, batch, neuron = (column.detach().cpu() for column in self._columns())
        made = self._made(self.shape, self.B, T=self.T, dt=self.dt, duration=self._duration)
        return made._keep(when, batch, neuron, is_numpy=True)

    def read(self) -> Events:
        """Return the events in memory: those of a file read and checked, others as they are."""
        if self._is_in_memory:
            return self
        step, batch, neuron = (column[...] for column in (self._when, self.batch, self.neuron))
        return Events(step=step, batch=batch, neuron=neuron, T=self.T, B=self.B, shape=self.shape, dt=self.dt)

    def between(self, start: float, stop: float) -> Events:
        """Return the events with ``start <= when < stop``, counted from `start`.

        Parameters
        ----------
        start, stop : int or float
            Steps for events on a grid, seconds for events at real times; clipped to the recording.
        """
        if self.dt is None:
            start, stop = max(start, 0.0), min(stop, self.duration)
            made = self._made(self.shape, self.B, duration=max(stop - start, 0.0))
        else:
            start, stop = (columns.integer(name, value, None) for name, value in (("start", start), ("stop", stop)))
            start, stop = max(start, 0), min(stop, self.T or 0)
            made = self._made(self.shape, self.B, T=max(stop - start, 0), dt=self.dt)
        part = slice(columns.search(self._when, start), columns.search(self._when, stop))
        when, batch, neuron = self._when[part] - start, self.batch[part], self.neuron[part]
        if not self._is_in_memory:
            return Events(step=when, batch=batch, neuron=neuron, T=made.T, B=self.B, shape=self.shape, dt=self.dt)
        made._when, made.batch, made.neuron = when, batch, neuron
        return made

    def samples(self, which: int | Sequence[int]) -> Events:
        """Return the events of some samples, which are numbered anew in the order given.

        Parameters
        ----------
        which : int or sequence of int
            Samples in ``0 ... B - 1``; a sample given twice appears twice.

        Examples
        --------
        >>> events = Events(step=[0, 1, 1], neuron=[0, 0, 0], batch=[0, 0, 1], T=2, dt=1e-3, B=2, shape=1)
        >>> events.samples([1, 0]).batch
        array([1, 0, 1])
        """
        events = self.read()
        when, batch, neuron = events._columns()
        chosen = [which] if isinstance(which, (int, np.integer)) else list(which)
        wanted = columns.indices("which", chosen, self.B, batch.device)
        by_sample = torch.argsort(batch, stable=True)
        starts = torch.searchsorted(batch[by_sample], torch.arange(self.B + 1, device=batch.device)).tolist()
        parts = [by_sample[starts[k] : starts[k + 1]] for k in wanted.tolist()]
        event = torch.cat(parts) if parts else by_sample[:0]
        sizes = torch.tensor([len(part) for part in parts], dtype=torch.int64, device=batch.device)
        sample = torch.arange(len(parts), device=batch.device).repeat_interleave(sizes)
        order = torch.argsort(when.detach()[event], stable=True)
        made = self._made(self.shape, len(parts), T=self.T, dt=self.dt, duration=self._duration)
        picked = event[order]
        return made._keep(when[picked], sample[order], neuron[picked], is_numpy=not isinstance(events.neuron, Tensor))

    def _columns(self) -> tuple[Tensor, Tensor, Tensor]:
        events = self.read()
        return columns.tensor(events._when), columns.tensor(events.batch), columns.tensor(events.neuron)

    def binned(self, dt: float, T: int) -> Events:
        """Return events at real times on a grid.

        A time that lies below the boundary of a step by less than a millionth of a step, or by no more than its
        floating-point type can resolve, counts as on the boundary: ``3 * 0.001`` is in step 3.

        Parameters
        ----------
        dt : float
            Length of a step, s.
        T : int
            Steps.

        Raises
        ------
        InputError
            When the events lie on a grid already, or a time lies outside ``0 <= t < T dt``.

        Examples
        --------
        >>> Events(time=[0.5e-3, 2e-3], neuron=[0, 0], duration=3e-3, shape=1).binned(1e-3, 3).step
        array([0, 2])
        """
        if self.dt is not None:
            raise InputError(f"binned: these events lie on a grid of {self.dt:g} s already; use them as they are.")
        steps, dt = columns.integer("T", T, 0), check_dt("binned", dt)
        found = columns.steps_of(columns.tensor(self._when).detach(), dt, steps)
        step = found.numpy() if isinstance(self.neuron, np.ndarray) else found
        return Events(step=step, batch=self.batch, neuron=self.neuron, T=steps, dt=dt, B=self.B, shape=self.shape)

    def to_grid(self, *, binary: bool = False) -> Tensor:
        """Return the number of events of each neuron in each step.

        Parameters
        ----------
        binary : bool
            Count several events of one neuron in one step as one.

        Returns
        -------
        Tensor [T, B, *shape] of float32
            On the device of the events; `from_grid` gives the same events back.

        Raises
        ------
        InputError
            When the events lie at real times.
        """
        if self.dt is None or self.T is None:
            raise InputError("to_grid: these events lie at real times; use binned(dt, T) first.")
        step, batch, neuron = self._columns()
        size = math.prod(self.shape)
        grid = torch.zeros(self.T * self.B * size, device=step.device)
        one = torch.ones((), device=step.device)
        grid.index_put_(((step * self.B + batch) * size + neuron,), one, accumulate=not binary)
        return grid.reshape(self.T, self.B, *self.shape)

    def count(self) -> Any:
        """Return the number of events of each neuron: int64 [B, *shape]."""
        events, size = self.read(), math.prod(self.shape)
        flat = columns.tensor(events.batch) * size + columns.tensor(events.neuron)
        counts = torch.bincount(flat, minlength=self.B * size).reshape(self.B, *self.shape)
        return counts.numpy() if isinstance(events.neuron, np.ndarray) else counts

    def rate(self) -> float:
        """Return the mean rate of a neuron in Hz; 0 for a recording without duration or samples."""
        span = self.duration * self.B * math.prod(self.shape)
        return len(self) / span if span else 0.0
