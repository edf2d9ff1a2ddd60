"""The container of events of a sensor: integer microseconds, address, polarity."""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.checks import EXACT
from neurosim.datasets.events import columns, filters, picture
from neurosim.datasets.events.bins import DTYPES, Bins, counts
from neurosim.datasets.events.columns import EXACT_IN_SECONDS, Columns, Grid
from neurosim.errors import InputError, ShapeError
from neurosim.files.notebook import table_html
from neurosim.recording.events import Events
from neurosim.units import check_dt, steps_of

MICROSECOND = 1e-6  # s
TXYP = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
"""Structured events as expelliarmus has them."""
XYTP = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
"""Structured events as tonic has them."""
_MOST_CELLS = 2**33


def _is_integer(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


class SensorEvents:
    """Events as sensors and their files have them: integer microseconds, column, row and polarity.

    The events of a sample lie one after the other, sorted by time; events of equal time keep their order. `Events` is
    the container of simulated spikes instead: time steps or seconds, sorted by time over all samples. `recorded` and
    `from_recorded` convert one to the other.

    Parameters
    ----------
    t : array-like [n] of integers
        Time, microseconds, from 0; rising within a sample.
    x : array-like [n] of integers
        Column or channel.
    y : array-like [n] of integers, optional
        Row; needed if the shape has rows.
    p : array-like [n] of integers or booleans, optional
        Polarity: 1 on, 0 off; needed if the shape has polarities.
    shape : int or tuple of int
        Channels, (H, W) or (polarities, H, W); a side has 65,536 pixels at most.
    offsets : array-like [B + 1] of integers, optional
        Sample b is the events ``offsets[b]`` to ``offsets[b + 1] - 1``; one sample if left out.
    repair : collection of {"sort", "outside", "negative"}
        What is mended instead of refused: "sort" sorts each sample by time, "outside" leaves out events outside the
        shape, "negative" leaves out times below 0.

    Attributes
    ----------
    t, x, y, p : int64, uint16, uint16, uint8 [n]
        NumPy arrays; those of the caller where the type is the same, so do not write into them.
    offsets : int64 [B + 1]
    shape : tuple of int

    Raises
    ------
    InputError
        For values of another type, times that are negative or not sorted, addresses outside the shape, and offsets
        that do not fit.
    ShapeError
        When the lists differ in length.

    Examples
    --------
    >>> from neurosim.datasets.events import SensorEvents
    >>> events = SensorEvents(t=[10, 1500], x=[3, 0], y=[1, 1], p=[1, 0], shape=(2, 2, 4))
    >>> events
    <SensorEvents n=2 B=1 shape=[2, 2, 4] 10 to 1500 us>
    >>> events.binned(1e-3, 2).nonzero().tolist()  # T, B, polarity, row, column
    [[0, 0, 1, 1, 3], [1, 0, 0, 1, 0]]
    """

    __slots__ = ("offsets", "p", "shape", "t", "x", "y")

    def __init__(
        self,
        t: Any,
        x: Any,
        y: Any = None,
        p: Any = None,
        *,
        shape: int | tuple[int, ...],
        offsets: Any = None,
        repair: Collection[str] = (),
    ) -> None:
        self.shape = columns.checked_shape(shape)
        asked = columns.checked_repairs(repair)
        given = {"t": columns.integers("t", t), "x": columns.integers("x", x)}
        for name, values, least in (("y", y, 2), ("p", p, 3)):
            if values is None and len(self.shape) >= least:
                raise InputError(f"SensorEvents: {name} is missing, which a sensor of shape {list(self.shape)} has.")
            given[name] = np.zeros(len(given["t"]), np.uint8) if values is None else columns.integers(name, values)
        if len({len(array) for array in given.values()}) != 1:
            sizes = ", ".join(f"{name}: {len(array)}" for name, array in given.items())
            raise ShapeError(f"SensorEvents: the lists differ in length, {sizes}; give lists of one length.")
        self.offsets = columns.checked_offsets(offsets, len(given["t"]))
        polarities, height, width = columns.volume(self.shape)
        below = {"t": columns.LATEST, "x": width, "y": height, "p": polarities}
        keep = None
        for name, array in given.items():
            low, high = columns.range_of(array)
            if low < 0 or high >= below[name]:
                outside = (array < 0) | (array >= below[name])
                needed = {"negative" if name == "t" else "outside"} if low < 0 else set()
                if high >= below[name]:
                    needed.add("outside")
                if not needed <= asked:
                    self._refuse_outside(name, array, outside, below[name], needed)
                keep = ~outside if keep is None else keep & ~outside
        if keep is not None:
            given = {name: array[keep] for name, array in given.items()}
            self.offsets = columns.kept_offsets(keep, self.offsets)
        self.t = columns.as_type(given["t"], np.int64)
        self.x, self.y = (columns.as_type(given[name], np.uint16) for name in ("x", "y"))
        self.p = columns.as_type(given["p"], np.uint8)
        place = columns.first_unsorted(self.t, self.offsets)
        if place is not None:
            if "sort" not in asked:
                raise InputError(
                    f"SensorEvents: event {place} has t = {self.t[place]} us, before event {place - 1} with "
                    f"{self.t[place - 1]} us. Give repair=['sort'] to sort each sample by time."
                )
            self._take(columns.order_by_time(self.t, self.offsets))

    def _refuse_outside(self, name: str, array: np.ndarray, outside: np.ndarray, below: int, needed: set[str]) -> None:
        first = int(outside.argmax())
        raise InputError(
            f"SensorEvents: {name}[{first}] = {array[first]}, as {int(outside.sum())} of {len(array)} events lie "
            f"outside 0 to {below - 1}, which shape {list(self.shape)} allows. "
            f"Give another shape, or repair={sorted(needed)} to leave these events out."
        )

    @classmethod
    def trusted(
        cls,
        t: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        p: np.ndarray,
        *,
        shape: tuple[int, ...],
        offsets: np.ndarray | None = None,
    ) -> SensorEvents:
        """Return events whose columns are known to be sorted, in range and of the types of the attributes."""
        made = cls.__new__(cls)
        made.t, made.x, made.y, made.p, made.shape = t, x, y, p, shape
        made.offsets = np.array([0, len(t)], dtype=np.int64) if offsets is None else offsets
        return made

    @classmethod
    def from_array(
        cls, events: np.ndarray, *, shape: int | tuple[int, ...], offsets: Any = None, repair: Collection[str] = ()
    ) -> SensorEvents:
        """Return structured events, whose fields are t, x and, where the sensor has them, y and p.

        Parameters
        ----------
        events : structured numpy.ndarray [n]
            As tonic and expelliarmus give them; fields in any order and of any integer type.
        shape, offsets, repair
            As for `SensorEvents`.

        Examples
        --------
        >>> events = np.array([(3, 1, 10, True)], dtype=XYTP)
        >>> SensorEvents.from_array(events, shape=(2, 2, 4)).t
        array([10])
        """
        names = getattr(events, "dtype", np.dtype(int)).names or ()
        if not {"t", "x"} <= set(names):
            raise InputError(f"from_array: the array must have the fields t and x; it has {list(names) or 'none'}.")
        fields = {name: events[name] for name in ("t", "x", "y", "p") if name in names}
        return cls(**fields, shape=shape, offsets=offsets, repair=repair)

    @classmethod
    def from_grid(cls, grid: Any, dt: float) -> SensorEvents:
        """Return the events of a grid; a cell that holds n gives n events at the beginning of its step.

        Parameters
        ----------
        grid : Tensor or array [T, B, ...]
            Integers from 0 of any type, dense or sparse; the sensor has the shape of a cell [B, ...].
        dt : float
            Length of a step, s, an integer number of microseconds.
        """
        dense = grid.to_dense() if isinstance(grid, Tensor) and grid.layout != torch.strided else grid
        return cls.from_recorded(Events.from_grid(dense, check_dt("from_grid", dt)).numpy())

    @classmethod
    def from_recorded(cls, events: Events) -> SensorEvents:
        """Return recorded spikes as events of a sensor.

        Raises
        ------
        InputError
            When a time is no integer number of microseconds, or the shape of the population is no sensor's.
        """
        shape = columns.checked_shape(events.shape)
        events = events.read().numpy()
        if events.step is not None:
            t = events.step * steps_of("from_recorded", "dt", events.dt, MICROSECOND)
        else:
            exact = events.time.astype(np.float64) / MICROSECOND
            t = np.round(exact).astype(np.int64)
            if len(exact) and exact.max() >= EXACT_IN_SECONDS:
                raise InputError(
                    f"from_recorded: a time of {events.time.max()!r} s; microseconds are exact below "
                    f"{EXACT_IN_SECONDS} us."
                )
            off = np.abs(exact - t) > np.maximum(1e-3, np.finfo(events.time.dtype).eps * exact)
            if off.any():
                raise InputError(
                    f"from_recorded: time[{int(off.argmax())}] = {events.time[off][0]!r} s is no integer number of "
                    "microseconds. Round the times, or put them on a grid with binned(dt, T)."
                )
        order = np.argsort(events.batch, kind="stable")
        offsets = np.searchsorted(events.batch[order], np.arange(events.B + 1)).astype(np.int64)
        _, height, width = columns.volume(shape)
        rest, x = np.divmod(events.neuron[order], width)
        p, y = np.divmod(rest, height)
        return cls(t[order], x, y, p, shape=shape, offsets=offsets)

    def __len__(self) -> int:
        return len(self.t)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SensorEvents):
            return NotImplemented
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("offsets", "t", "x", "y", "p"))
        return self.shape == other.shape and all(np.array_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        span = f" {self.first} to {self.last} us" if len(self) else ""
        return f"<SensorEvents n={len(self)} B={self.B} shape={list(self.shape)}{span}>"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, Any]] = [("events", len(self)), ("samples", self.B)]
        if len(self):
            rows += [("first (us)", self.first), ("last (us)", self.last)]
            if len(self.shape) == 3 and self.shape[0] == 2:
                rows.append(("share of polarity 1", float(self.p.mean())))
        head = table_html(f"Events of a sensor of shape {list(self.shape)}", ("", ""), rows)
        return f"{head}<img src='data:image/png;base64,{base64.b64encode(self.picture().png()).decode()}'>"

    @property
    def B(self) -> int:
        """Samples."""
        return len(self.offsets) - 1

    @property
    def first(self) -> int:
        """Smallest time, microseconds; 0 without events."""
        return columns.range_of(self.t)[0]

    @property
    def last(self) -> int:
        """Largest time, microseconds; 0 without events."""
        return columns.range_of(self.t)[1]

    @property
    def batch(self) -> np.ndarray:
        """Sample of each event, int64 [n]."""
        return columns.sample_of(self.offsets)

    @property
    def address(self) -> np.ndarray:
        """Index of each event into the flattened shape, int64 [n]."""
        _, height, width = columns.volume(self.shape)
        return (self.p.astype(np.int64) * height + self.y) * width + self.x

    def to_array(self, dtype: Any = TXYP) -> np.ndarray:
        """Return structured events.

        Parameters
        ----------
        dtype : numpy.dtype
            With the fields t, x, y and p or some of them; `TXYP` (as in expelliarmus) or `XYTP` (as in tonic).

        Raises
        ------
        InputError
            When a value does not fit into its field.
        """
        kind = np.dtype(dtype)
        if not kind.names or not set(kind.names) <= {"t", "x", "y", "p"}:
            raise InputError(f"to_array: dtype = {kind}; give a structured type with the fields t, x, y and p.")
        made = np.empty(len(self), dtype=kind)
        for name in kind.names:
            values, field = getattr(self, name), kind[name]
            most = {"b": 1, "i": 0, "u": 0}.get(field.kind)
            if most is None:
                raise InputError(f"to_array: the field {name} is {field}; integers are expected.")
            most = most or int(np.iinfo(field).max)
            if len(values) and values.max() > most:
                raise InputError(f"to_array: {name} reaches {values.max()}, but {field} holds {most} at most.")
            made[name] = values
        return made

    def recorded(self, duration: float | None = None) -> Events:
        """Return the events as `Events` at real times, whose neuron is the address.

        Parameters
        ----------
        duration : float, optional
            s; up to the last event if left out.

        Raises
        ------
        InputError
            When a time is so late that seconds in double precision do not hold its microsecond.
        """
        if self.last >= EXACT_IN_SECONDS:
            raise InputError(
                f"recorded: the last event lies at {self.last} us; seconds hold each microsecond below "
                f"{EXACT_IN_SECONDS} us. Shift the events with shifted(-first)."
            )
        time = self.t * MICROSECOND
        span = (float(time.max()) if len(time) else 0.0) if duration is None else duration
        return Events(
            time=time, batch=self.batch, neuron=self.address, duration=span, B=max(self.B, 1), shape=self.shape
        )

    def between(self, start: float, stop: float) -> SensorEvents:
        """Return the events with ``start <= t < stop`` of each sample, counted from `start`.

        Parameters
        ----------
        start, stop : float
            s, integer numbers of microseconds. Nothing is copied but the times, if there is one sample.
        """
        begin, end = (steps_of("between", name, v, MICROSECOND) for name, v in (("start", start), ("stop", stop)))
        if end < begin:
            raise InputError(f"between: start = {start!r} s lies after stop = {stop!r} s.")
        if self.B == 1:
            part = slice(*np.searchsorted(self.t, (begin, end)).tolist())
            x, y, p = self.x[part], self.y[part], self.p[part]
            t = self.t[part] - begin if begin else self.t[part]
            return self.trusted(t, x, y, p, shape=self.shape)
        found = self.where((self.t >= begin) & (self.t < end))
        found.t -= begin
        return found

    def samples(self, which: int | slice | Sequence[int] | np.ndarray | Tensor) -> SensorEvents:
        """Return some samples in the order given: numbers, a slice, or a mask of booleans [B].

        One sample, or samples that follow each other, are not copied.
        """
        chosen: Sequence[int] = range(self.B)[which] if isinstance(which, slice) else self._numbers(which)
        for k in chosen:
            if not 0 <= k < self.B:
                raise InputError(f"samples: {k} is no sample; there are 0 to {self.B - 1}.")
        follow = all(b == a + 1 for a, b in itertools.pairwise(chosen))
        if len(chosen) and follow:
            part = slice(int(self.offsets[chosen[0]]), int(self.offsets[chosen[-1] + 1]))
            offsets = self.offsets[chosen[0] : chosen[-1] + 2] - part.start
            taken = (self.t[part], self.x[part], self.y[part], self.p[part])
            return self.trusted(*taken, shape=self.shape, offsets=offsets)
        parts = [np.arange(self.offsets[k], self.offsets[k + 1]) for k in chosen]
        index = np.concatenate([np.zeros(0, np.int64), *parts])
        offsets = np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64)
        taken = (self.t[index], self.x[index], self.y[index], self.p[index])
        return self.trusted(*taken, shape=self.shape, offsets=offsets)

    def _numbers(self, which: Any) -> list[int]:
        """Return numbers of samples from a number, a list of numbers or a mask."""
        given = which.detach().cpu().numpy() if isinstance(which, Tensor) else np.asarray(which)
        if given.dtype == np.bool_ and given.shape == (self.B,):
            given = np.flatnonzero(given)
        if given.ndim > 1 or (given.size and given.dtype.kind not in "iu"):
            raise InputError(
                f"samples: got {given.dtype} of shape {list(given.shape)}; "
                f"give integers, a slice, or a mask of booleans [{self.B}]."
            )
        return [int(k) for k in given.reshape(-1).tolist()]

    @classmethod
    def joined(cls, parts: Sequence[SensorEvents]) -> SensorEvents:
        """Return the samples of all parts, one behind the other."""
        shape = cls._one_shape("joined", parts)
        starts = np.cumsum([0, *(len(part) for part in parts)])
        offsets = [part.offsets[1:] + start for part, start in zip(parts, starts, strict=False)]
        t, x, y, p = (np.concatenate([getattr(part, name) for part in parts]) for name in ("t", "x", "y", "p"))
        return cls.trusted(t, x, y, p, shape=shape, offsets=np.concatenate([np.zeros(1, np.int64), *offsets]))

    @classmethod
    def merged(cls, parts: Sequence[SensorEvents]) -> SensorEvents:
        """Return the events of all parts sample by sample, by time; of equal times those of the first part first."""
        shape = cls._one_shape("merged", parts)
        if len({part.B for part in parts}) != 1:
            raise InputError(f"merged: all parts must have as many samples; got {[part.B for part in parts]}.")
        t, x, y, p = (np.concatenate([getattr(part, name) for part in parts]) for name in ("t", "x", "y", "p"))
        order = np.lexsort((t, np.concatenate([part.batch for part in parts])))
        offsets = np.sum([part.offsets for part in parts], axis=0)
        return cls.trusted(t[order], x[order], y[order], p[order], shape=shape, offsets=offsets)

    @staticmethod
    def _one_shape(name: str, parts: Sequence[SensorEvents]) -> tuple[int, ...]:
        shapes = {part.shape for part in parts}
        if len(shapes) != 1:
            raise InputError(f"{name}: give events of one shape; got {sorted(shapes) or 'none'}.")
        return shapes.pop()

    def shifted(self, by: float) -> SensorEvents:
        """Return the events `by` seconds later, or earlier if negative."""
        size = steps_of("shifted", "by", abs(by), MICROSECOND)
        move = size if by >= 0 else -size
        if len(self) and not (self.first + move >= 0 and self.last + move < columns.LATEST):
            raise InputError(f"shifted: by {by!r} s the events would lie at {self.first + move} us; times begin at 0.")
        return self.trusted(self.t + move, self.x, self.y, self.p, shape=self.shape, offsets=self.offsets)

    def where(self, keep: Any) -> SensorEvents:
        """Return the events for which a list of booleans [n] holds."""
        mask = np.asarray(keep)
        if mask.dtype != np.bool_ or mask.shape != self.t.shape:
            raise ShapeError(f"where: give booleans [{len(self)}]; got {mask.dtype} of shape {list(mask.shape)}.")
        taken = (self.t[mask], self.x[mask], self.y[mask], self.p[mask])
        return self.trusted(*taken, shape=self.shape, offsets=columns.kept_offsets(mask, self.offsets))

    def sorted(self) -> SensorEvents:
        """Return each sample sorted by time, then address: one order for events that differ in the order of equals."""
        order = np.lexsort((self.address, self.t, self.batch))
        taken = (self.t[order], self.x[order], self.y[order], self.p[order])
        return self.trusted(*taken, shape=self.shape, offsets=self.offsets)

    def refractory(self, period: float) -> SensorEvents:
        """Return the events that come `period` seconds or more after the last one kept at their address."""
        length = steps_of("refractory", "period", period, MICROSECOND)
        address, cells = self.address, math.prod(self.shape)
        parts = [filters.after_refractory(self.t[a:b], address[a:b], cells, length) for a, b in self._bounds()]
        return self.where(np.concatenate([np.zeros(0, np.bool_), *parts]))

    def without_background(self, period: float, radius: int = 1) -> SensorEvents:
        """Return the events that have a neighbour: an event of another pixel near, at most `period` before.

        Parameters
        ----------
        period : float
            s.
        radius : int
            A pixel is near if it is at most so many columns and rows away, 1 to 4. Polarity does not count.

        References
        ----------
        Delbruck 2008, "Frame-free dynamic digital vision", Proceedings of the International Symposium on Secure-Life
        Electronics.
        """
        if isinstance(radius, bool) or not isinstance(radius, (int, np.integer)) or not 1 <= radius <= 4:
            raise InputError(f"without_background: radius = {radius!r}; 1 to 4 pixels are allowed.")
        length = steps_of("without_background", "period", period, MICROSECOND)
        sides = columns.volume(self.shape)[1:]
        parts = [
            filters.has_neighbour(self.t[a:b], self.x[a:b], self.y[a:b], sides, length, int(radius))
            for a, b in self._bounds()
        ]
        return self.where(np.concatenate([np.zeros(0, np.bool_), *parts]))

    def hot_pixels(self, max_rate: float) -> np.ndarray:
        """Return which addresses have more than `max_rate` events a second: booleans of the sensor's shape.

        Events of all samples are counted, over the sum of the samples' spans from first to last event.
        """
        if isinstance(max_rate, bool) or not isinstance(max_rate, (int, float)) or not 0 < max_rate < math.inf:
            raise InputError(f"hot_pixels: max_rate = {max_rate!r} Hz, but it must be positive and finite.")
        span = sum(int(self.t[b - 1] - self.t[a]) + 1 for a, b in self._bounds() if b > a) * MICROSECOND
        return self.count().sum(axis=0) > max_rate * span

    def without_pixels(self, pixels: np.ndarray) -> SensorEvents:
        """Return the events of all other addresses; `pixels` holds booleans of the sensor's shape."""
        mask = np.asarray(pixels)
        if mask.dtype != np.bool_ or mask.shape != self.shape:
            raise ShapeError(
                f"without_pixels: give booleans of shape {list(self.shape)}; got {mask.dtype} of {list(mask.shape)}."
            )
        return self.where(~mask.reshape(-1)[self.address])

    def count(self) -> np.ndarray:
        """Return the number of events of each address: int64 [B, *shape]."""
        size = math.prod(self.shape)
        flat = np.bincount(self.batch * size + self.address, minlength=self.B * size)
        return flat.reshape(self.B, *self.shape)

    def crop(self, *, x: tuple[int, int], y: tuple[int, int] | None = None) -> SensorEvents:
        """Return the events with ``x[0] <= x < x[1]`` and the same of y, counted from there."""
        polarities, height, width = columns.volume(self.shape)
        windows = (("x", x, width), ("y", (0, height) if y is None else y, height))
        for name, window, side in windows:
            is_pair = isinstance(window, (tuple, list)) and len(window) == 2
            if not (is_pair and all(map(_is_integer, window)) and 0 <= window[0] < window[1] <= side):
                raise InputError(f"crop: {name} = {window!r}; integers 0 <= from < to <= {side} are allowed.")
        (left, right), (top, bottom) = (map(int, window) for _, window, _ in windows)
        inside = (self.x >= left) & (self.x < right) & (self.y >= top) & (self.y < bottom)
        found = self.where(inside)
        found.x -= np.uint16(left)
        found.y -= np.uint16(top)
        found.shape = (polarities, bottom - top, right - left)[3 - len(self.shape) :]
        return found

    def downsampled(self, factor: int | tuple[int, int]) -> SensorEvents:
        """Return the events of a sensor whose pixels are ``factor`` columns and rows, or (rows, columns), of this one.

        Every event is kept. An incomplete pixel at the edge is one; channels in one line have columns only.
        """
        both = factor if isinstance(factor, tuple) else (factor if len(self.shape) > 1 else 1, factor)
        if len(both) != 2 or not all(_is_integer(each) and 1 <= each < columns.SIDE for each in both):
            raise InputError(f"downsampled: factor = {factor!r}; give an integer from 1, or (rows, columns).")
        rows, wide = map(int, both)
        if len(self.shape) == 1 and rows != 1:
            raise InputError(f"downsampled: factor = {factor!r}; channels in one line have one row.")
        polarities, height, width = columns.volume(self.shape)
        shape = (polarities, -(-height // rows), -(-width // wide))[3 - len(self.shape) :]
        x, y = self.x // np.uint16(wide), self.y // np.uint16(rows)
        return self.trusted(self.t, x, y, self.p, shape=shape, offsets=self.offsets)

    def binned(
        self, dt: float, T: int | None = None, *, value: Bins = counts, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Return the events on a grid: step k holds the events with ``k dt <= t < (k + 1) dt``.

        Parameters
        ----------
        dt : float
            Length of a step, s, an integer number of microseconds.
        T : int, optional
            Steps; up to the last event if left out.
        value : Bins
            What a cell holds: `counts`, `binary`, `signed` or ``time_surface(tau)``.
        dtype : torch.dtype
            float32, int32, int16 or uint8.

        Returns
        -------
        Tensor [T, B, *shape]
            Without the axis of polarities where `value` is `signed`.

        Raises
        ------
        InputError
            When an event lies after the last step (`between` cuts events), or a number does not fit into `dtype`.
        """
        width = steps_of("binned", "dt", check_dt("binned", dt), MICROSECOND)
        steps = self._steps("binned", width, T)
        polarities, height, wide = columns.volume(self.shape)
        if not isinstance(value, Bins):
            raise InputError(f"binned: value = {value!r}; give counts, binary, signed or time_surface(tau).")
        if dtype not in DTYPES:
            raise InputError(f"binned: dtype = {dtype!r}; there are {', '.join(map(str, DTYPES))}.")
        merges = value.merges_polarities
        if merges and polarities != 2:
            raise InputError(f"binned: value={value!r} needs two polarities; the shape is {list(self.shape)}.")
        volume = (1 if merges else polarities, height, wide)
        if steps * self.B * math.prod(volume) > _MOST_CELLS:
            raise InputError(
                f"binned: {steps:,} steps of {self.B} samples of {list(volume)} are more than {_MOST_CELLS:,} cells. "
                "Begin at 0 with between(start, stop), or take a longer dt."
            )
        # NumPy's zeros come from the system, page by page as they are written, without waking threads to set them.
        kind = torch.zeros(0, dtype=dtype).numpy().dtype
        out = torch.from_numpy(np.zeros((steps, self.B, *volume), kind))
        grid = Grid(steps, self.B, width, (polarities, height, wide))
        for sample, (a, b) in enumerate(self._bounds()):
            if b > a or not out.dtype.is_floating_point:
                value.fill(out, Columns(self.t[a:b], self.x[a:b], self.y[a:b], self.p[a:b]), sample, grid)
        return out.reshape(steps, self.B, *(volume[1:] if merges else self.shape))

    def to_sparse(self, dt: float, T: int | None = None) -> Tensor:
        """Return the numbers of events on a grid as a sparse tensor [T, B, *shape] of float32, coalesced."""
        width = steps_of("to_sparse", "dt", check_dt("to_sparse", dt), MICROSECOND)
        steps = self._steps("to_sparse", width, T)
        place = np.unravel_index(self.address, self.shape)
        index = torch.from_numpy(np.stack([self.t // width, self.batch, *place]))
        size = (steps, self.B, *self.shape)
        grid = torch.sparse_coo_tensor(index, torch.ones(len(self)), size, check_invariants=False).coalesce()
        if len(self) > EXACT and float(grid.values().max()) >= EXACT:
            raise InputError(f"to_sparse: a cell holds {EXACT:,} events or more, which float32 does not count.")
        return grid

    def picture(self, sample: int = 0) -> picture.Picture:
        """Return a picture of a sample: events per pixel (blue on, orange off), or channels over time."""
        events = self.samples(sample)
        if len(self.shape) == 1:
            return picture.of_channels(events.t, events.x.astype(np.int64), self.shape[0])
        polarities, height, width = columns.volume(self.shape)
        number = events.count().reshape(polarities, height, width)
        return picture.of_pixels(number[0] if polarities == 2 else np.zeros_like(number[0]), number[-1])

    def _bounds(self) -> list[tuple[int, int]]:
        """Return where each sample begins and ends, for compiled code, which trusts the columns.

        The columns may share memory with arrays of the caller, who may have changed them since they were checked.
        """
        polarities, height, width = columns.volume(self.shape)
        limits = {"t": columns.LATEST, "x": width, "y": height, "p": polarities, "offsets": len(self) + 1}
        for name, limit in limits.items():
            low, high = columns.range_of(getattr(self, name))
            if low < 0 or high >= limit:
                wrong = low if low < 0 else high
                raise InputError(
                    f"SensorEvents: {name} holds {wrong}, but must be below {limit} and not negative: the array was "
                    "changed after it was given. Give a copy of arrays that you write into."
                )
        return list(zip(self.offsets[:-1].tolist(), self.offsets[1:].tolist(), strict=True))

    def _steps(self, name: str, width: int, T: int | None) -> int:
        """Return the number of steps of `width` microseconds, checked against the last event."""
        if T is None:
            return self.last // width + 1 if len(self) else 0
        if not _is_integer(T) or T < 0:
            raise InputError(f"{name}: T must be an integer from 0; got {T!r}.")
        if len(self) and self.last >= T * width:
            raise InputError(
                f"{name}: the last event lies at {self.last} us, after {T} steps of {width} us. "
                f"Give more steps, or between(0, {T * width * MICROSECOND:g}) first to leave later events out."
            )
        return int(T)

    def _take(self, order: np.ndarray) -> None:
        self.t, self.x, self.y, self.p = self.t[order], self.x[order], self.y[order], self.p[order]
