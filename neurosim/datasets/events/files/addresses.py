"""Files of five bytes an event: N-MNIST and N-Caltech101 (``.bin``), SLAYER (``.bs1``, ``.bs2``).

References
----------
Orchard, Jayawant, Cohen and Thakor 2015, doi:10.3389/fnins.2015.00437 (``.bin``); Shrestha and Orchard 2018,
arXiv:1810.08646 (SLAYER).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim.datasets.events.columns import Columns
from neurosim.datasets.events.files.source import EventReader, Source
from neurosim.errors import InputError

BYTES = 5
CLOCK = 2**23  # microseconds that 23 bits hold
_OVERFLOW_ROW, _OVERFLOW = 240, 2**13  # an event of this row says that the clock has gone on so many microseconds


def fields(content: bytes | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the two bytes of the address, the polarity and the time, microseconds, of each event."""
    first, second, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, BYTES).T
    t = (high & 127).astype(np.int64) << 16 | middle.astype(np.int64) << 8 | low
    return first, second, high >> 7, t


def packed(first: np.ndarray, second: np.ndarray, p: np.ndarray, t: np.ndarray) -> bytes:
    """Return events as `fields` reads them."""
    made = np.empty((len(t), BYTES), np.uint8)
    made[:, 0], made[:, 1] = first, second
    made[:, 2] = p.astype(np.uint8) << 7 | (t >> 16).astype(np.uint8)
    made[:, 3], made[:, 4] = t >> 8 & 255, t & 255
    return made.tobytes()


class _FiveBytes(EventReader):
    def __init__(self, source: Source, shape: tuple[int, ...] | None) -> None:
        self._source, self.shape = source, shape

    def _fields(self) -> Iterator[tuple[np.ndarray, ...]]:
        for events in self._source.words(f"V{BYTES}", "an event"):
            yield fields(events.view(np.uint8))


class Bin(_FiveBytes):
    """N-MNIST and N-Caltech101: column, row, polarity and time; row 240 moves the clock on by 8.192 ms."""

    def pieces(self) -> Iterator[Columns]:
        """Yield the events."""
        shift = 0
        for x, y, p, t in self._fields():
            moves = y == _OVERFLOW_ROW
            if moves.any() or shift:
                t = t + shift + _OVERFLOW * np.cumsum(moves)
                shift += _OVERFLOW * int(moves.sum())
                x, y, p, t = (column[~moves] for column in (x, y, p, t))
            yield Columns(t, x.astype(np.uint16), y.astype(np.uint16), p)


class Bs2(_FiveBytes):
    """SLAYER's events of pixels: column, row, polarity and time."""

    def pieces(self) -> Iterator[Columns]:
        """Yield the events."""
        for x, y, p, t in self._fields():
            yield Columns(t, x.astype(np.uint16), y.astype(np.uint16), p)


class Bs1(_FiveBytes):
    """SLAYER's events of channels: channel of two bytes, polarity and time.

    The shape (channels,) has no polarity; one that is equal in all events is then left out.
    """

    def pieces(self) -> Iterator[Columns]:
        """Yield the events."""
        one = self.shape is not None and len(self.shape) == 1
        seen = None
        for high, low, p, t in self._fields():
            x = high.astype(np.uint16) << 8 | low
            if one and len(p):
                seen = int(p[0]) if seen is None else seen
                if (p != seen).any():
                    raise self._source.refusal("has events of both polarities; give shape=(2, 1, channels)")
                p = np.zeros_like(p)
            yield Columns(t, x, np.zeros(len(t), np.uint16), p)


def bin_bytes(events: Columns, rows: int = _OVERFLOW_ROW) -> bytes:
    """Return events of at most so many rows as a ``.bin`` or ``.bs2`` file."""
    for name, column, most in (("x", events.x, 255), ("y", events.y, rows - 1), ("t", events.t, CLOCK - 1)):
        if len(column) and int(column.max()) > most:
            raise InputError(f"write_events: {name} reaches {column.max()}; 5 bytes an event hold {most} at most.")
    return packed(events.x, events.y, events.p, events.t)


def bs1_bytes(events: Columns, sides: tuple[int, int]) -> bytes:
    """Return events of channels as a ``.bs1`` file."""
    if sides[0] != 1:
        raise InputError(f"write_events: a .bs1 file holds channels in one line; the sensor has {sides[0]} rows.")
    if len(events.t) and int(events.t.max()) >= CLOCK:
        raise InputError(f"write_events: t reaches {events.t.max()} us; 5 bytes an event hold {CLOCK - 1} at most.")
    return packed(events.x >> 8, events.x & 255, events.p, events.t)
