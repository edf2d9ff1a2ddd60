"""The columns of events of a sensor: types, ranges and order, checked once, and the repairs that are asked for."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from neurosim.errors import InputError, ShapeError

SIDE = 2**16  # pixels of a side, or channels
CELLS = 2**31  # addresses of a sensor
LATEST = 2**62  # microseconds; sums of two times fit into int64
EXACT_IN_SECONDS = 2**51  # microseconds; below, a time in s of double precision rounds to the microsecond it came from
REPAIRS = ("sort", "outside", "negative")


class Columns(NamedTuple):
    """Events of one sample, sorted by time, whose times count from the beginning of the grid.

    Attributes
    ----------
    t : int64 [n]
    x, y : uint16 [n]
    p : uint8 [n]
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray


class Grid(NamedTuple):
    """A grid: `T` steps of `width` microseconds, `B` samples, of a sensor of ``volume`` (polarities, H, W)."""

    T: int
    B: int
    width: int
    volume: tuple[int, int, int]


def checked_shape(shape: Any) -> tuple[int, ...]:
    """Return the shape of a sensor: (channels,), (H, W) or (polarities, H, W)."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    is_good = 1 <= len(sizes) <= 3 and all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) and 1 <= n <= SIDE for n in sizes
    )
    if not is_good or (len(sizes) == 3 and sizes[0] > 2) or math.prod(map(int, sizes)) > CELLS:
        raise InputError(
            f"SensorEvents: shape = {shape!r}; give channels, (H, W) or (polarities, H, W), each from 1 to {SIDE:,}, "
            f"polarities 1 or 2, and at most {CELLS:,} addresses."
        )
    return tuple(map(int, sizes))


def volume(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return a shape as (polarities, H, W)."""
    polarities, height, width = (*(1,) * (3 - len(shape)), *shape)
    return polarities, height, width


def integers(name: str, values: Any) -> np.ndarray:
    """Return a list of integers as an array of one axis; booleans are allowed for the polarity alone."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 1:
        raise ShapeError(f"SensorEvents: {name} has shape {list(array.shape)}; give a list of one axis.")
    if array.size == 0 and array.dtype == np.float64:  # an empty list
        return array.astype(np.int64)
    if array.dtype.kind not in "iu" and not (name == "p" and array.dtype.kind == "b"):
        hint = " Times are microseconds." if name == "t" else ""
        raise InputError(f"SensorEvents: {name} must hold integers; got {array.dtype}.{hint}")
    return array


def range_of(array: np.ndarray) -> tuple[int, int]:
    """Return the smallest and the largest value; (0, 0) if there is none."""
    return (int(array.min()), int(array.max())) if array.size else (0, 0)


def as_type(array: np.ndarray, kind: Any) -> np.ndarray:
    """Return values that are known to fit as a contiguous array of `kind`, without a copy where the bits are equal."""
    dtype = np.dtype(kind)
    if array.flags.c_contiguous and array.dtype.isnative and array.dtype.itemsize == dtype.itemsize:
        return array.view(dtype)
    return np.ascontiguousarray(array, dtype=dtype)


def checked_offsets(offsets: Any, number: int) -> np.ndarray:
    """Return where samples begin and the last one ends, int64 [B + 1]."""
    if offsets is None:
        return np.array([0, number], dtype=np.int64)
    given = integers("offsets", offsets)
    low, high = range_of(given)
    if len(given) == 0 or low < 0 or high > number or given[0] != 0 or given[-1] != number:
        raise InputError(
            f"SensorEvents: offsets must rise from 0 to the number of events, {number}; got {_shortened(given)}."
        )
    found = as_type(given, np.int64)
    if (found[1:] < found[:-1]).any():
        place = int(np.flatnonzero(found[1:] < found[:-1])[0])
        raise InputError(f"SensorEvents: offsets falls from {found[place]} to {found[place + 1]} at place {place + 1}.")
    return found


def checked_repairs(repair: Collection[str]) -> frozenset[str]:
    """Return the names of repairs, checked."""
    asked = frozenset([repair] if isinstance(repair, str) else repair)
    if not asked <= set(REPAIRS):
        raise InputError(f"SensorEvents: repair = {sorted(asked)}; there are {', '.join(REPAIRS)}.")
    return asked


def first_unsorted(t: np.ndarray, offsets: np.ndarray) -> int | None:
    """Return the number of the first event that is earlier than the one before it in its sample."""
    falls = t[1:] < t[:-1]
    if len(offsets) > 2:
        starts = offsets[1:-1]
        falls[starts[(starts > 0) & (starts < len(t))] - 1] = False
    return int(falls.argmax()) + 1 if falls.any() else None


def order_by_time(t: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the permutation that sorts each sample by time and keeps the order of equal times."""
    if len(offsets) == 2:
        return np.argsort(t, kind="stable")
    return np.lexsort((t, sample_of(offsets)))


def sample_of(offsets: np.ndarray) -> np.ndarray:
    """Return the sample of each event, int64."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def kept_offsets(keep: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the offsets after events have been left out."""
    before = np.concatenate(([0], np.cumsum(keep)))
    found: np.ndarray = before[offsets].astype(np.int64)
    return found


def _shortened(values: Sequence[int] | np.ndarray) -> str:
    shown = [int(v) for v in values[:6]]
    return f"{shown}" if len(values) <= 6 else f"{shown[:-1]} ... {int(values[-1])}"
