"""Changes of events for training, drawn anew for each sample and epoch.

Each is a frozen value that is called with events of one sample and a generator of NumPy. What leaves the sensor or time
0 is left out, and times are sorted again.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.events.columns import LATEST, SIDE, volume
from neurosim.datasets.events.container import MICROSECOND, SensorEvents
from neurosim.errors import InputError

_LEAVES_OUT = ("sort", "outside", "negative")
_MOST = 10**8  # events that are added


class Augmentation(ABC):
    """A random change of events."""

    @abstractmethod
    def __call__(self, events: SensorEvents, rng: np.random.Generator) -> SensorEvents:
        """Return the changed events of one sample."""


def _checked(name: str, value: float, high: float = math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high or value == math.inf:
        allowed = "from 0" if high == math.inf else f"from 0 to {high:g}"
        raise InputError(f"{name} = {value!r}, but it must be a finite number {allowed}.")


def _rounded(values: np.ndarray) -> np.ndarray:
    """Return the nearest integers; numbers that int64 does not hold become ones that lie outside every sensor."""
    return np.rint(values).clip(-LATEST, LATEST).astype(np.int64)


def _check_one(change: Augmentation, events: SensorEvents) -> None:
    if events.B != 1:
        raise InputError(f"{change!r} changes one sample; got {events.B}. Call it for each of events.samples(k).")


def _made(events: SensorEvents, t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> SensorEvents:
    return SensorEvents(t, x, y, p, shape=events.shape, repair=_LEAVES_OUT)


@dataclass(frozen=True)
class jitter(Augmentation):
    """Move each event by normal numbers: in time by the deviation `time` (s), in column and row by `space` (pixels)."""

    time: float = 0.0
    space: float = 0.0

    def __post_init__(self) -> None:
        _checked("time", self.time)
        _checked("space", self.space)

    def __call__(self, events: SensorEvents, rng: np.random.Generator) -> SensorEvents:
        """Return the changed events."""
        _check_one(self, events)
        _, height, width = volume(events.shape)

        def moved(column: np.ndarray, deviation: float) -> np.ndarray:
            return column.astype(np.int64) + _rounded(deviation * rng.standard_normal(len(column)))

        t = moved(events.t, self.time / MICROSECOND) if self.time else events.t
        x = moved(events.x, self.space) if self.space and width > 1 else events.x
        y = moved(events.y, self.space) if self.space and height > 1 else events.y
        return _made(events, t, x, y, events.p)


@dataclass(frozen=True)
class drop(Augmentation):
    """Leave out each event with the probability `share`."""

    share: float

    def __post_init__(self) -> None:
        _checked("share", self.share, 1)

    def __call__(self, events: SensorEvents, rng: np.random.Generator) -> SensorEvents:
        """Return the changed events."""
        _check_one(self, events)
        return events.where(rng.random(len(events)) >= self.share)


@dataclass(frozen=True)
class flip(Augmentation):
    """Mirror columns, rows and polarities, each with a probability of its own."""

    x: float = 0.5
    y: float = 0.0
    p: float = 0.0

    def __post_init__(self) -> None:
        for name in ("x", "y", "p"):
            _checked(name, getattr(self, name), 1)

    def __call__(self, events: SensorEvents, rng: np.random.Generator) -> SensorEvents:
        """Return the changed events."""
        _check_one(self, events)
        taken = []
        for name, side in zip("pyx", volume(events.shape), strict=True):
            column = getattr(events, name)
            mirrors = rng.random() < getattr(self, name)
            taken.append((side - 1 - column).astype(column.dtype) if mirrors else column)
        p, y, x = taken
        return SensorEvents.trusted(events.t, x, y, p, shape=events.shape, offsets=events.offsets)


@dataclass(frozen=True)
class shift(Augmentation):
    """Move all events by the same number of columns and of rows, each from ``-most`` to `most` at random."""

    most: int

    def __post_init__(self) -> None:
        if checked_integer("most", self.most, least=0) > SIDE:
            raise InputError(f"most = {self.most!r}, but a sensor has at most {SIDE} columns and rows.")

    def __call__(self, events: SensorEvents, rng: np.random.Generator) -> SensorEvents:
        """Return the changed events."""
        _check_one(self, events)
        right, down = rng.integers(-self.most, self.most + 1, 2)
        _, height, width = volume(events.shape)
        x = events.x.astype(np.int64) + right if width > 1 else events.x
        y = events.y.astype(np.int64) + down if height > 1 else events.y
        return _made(events, events.t, x, y, events.p)


@dataclass(frozen=True)
class time_warp(Augmentation):
    """Multiply all times by one number, drawn from `low` to `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _checked("low", self.low)
        _checked("high", self.high)
        if not 0 < self.low <= self.high:
            raise InputError(f"low = {self.low!r} and high = {self.high!r}, but 0 < low <= high is needed.")

    def __call__(self, events: SensorEvents, rng: np.random.Generator) -> SensorEvents:
        """Return the changed events."""
        _check_one(self, events)
        factor = rng.uniform(self.low, self.high)
        return _made(events, _rounded(events.t * factor), events.x, events.y, events.p)


@dataclass(frozen=True)
class noise(Augmentation):
    """Add events at random addresses and times, between the first and the last event, `rate` a second in all."""

    rate: float

    def __post_init__(self) -> None:
        _checked("rate", self.rate)

    def __call__(self, events: SensorEvents, rng: np.random.Generator) -> SensorEvents:
        """Return the changed events."""
        _check_one(self, events)
        expected = self.rate * (events.last - events.first) * MICROSECOND
        if expected > _MOST:
            raise InputError(f"rate = {self.rate:g} Hz adds about {expected:g} events; {_MOST:,} are allowed.")
        number = rng.poisson(expected)
        t = np.sort(rng.integers(events.first, events.last + 1, number))
        p, y, x = (rng.integers(0, side, number) for side in volume(events.shape))
        return SensorEvents.merged([events, SensorEvents(t, x, y, p, shape=events.shape)])
