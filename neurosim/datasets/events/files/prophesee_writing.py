"""Events as RAW files of Prophesee: EVT 2.0 and 3.0, without vectors of events."""

from __future__ import annotations

import numpy as np

from neurosim.datasets.events.columns import Columns
from neurosim.errors import InputError

_SIDE = 2**11  # columns and rows that a word names
_EVT2_CLOCK, _EVT3_CLOCK = 2**34, 2**24  # microseconds until the clock wraps
_REACH = 1  # upper halves of the time of EVT 3.0 from one word to the next: as cameras write them, each
_ADDRESS_Y, _ADDRESS_X, _TIME_LOW, _TIME_HIGH = 0x0, 0x2, 0x6, 0x8


def _header(version: str, name: str, sides: tuple[int, int]) -> bytes:
    height, width = sides
    text = f"% evt {version}\n% format {name};height={height};width={width}\n% geometry {width}x{height}\n% end\n"
    return text.encode()


def _check(events: Columns, sides: tuple[int, int], latest: int, name: str) -> None:
    if max(sides) > _SIDE:
        raise InputError(
            f"write_events: {name} names {_SIDE} columns and rows; the sensor has {sides[1]} x {sides[0]}."
        )
    if len(events.t) and int(events.t[0]) >= latest:
        raise InputError(
            f"write_events: the first event lies at {events.t[0]} us; {name} begins before {latest} us. "
            "Shift the events with shifted(-first)."
        )


def evt2_bytes(events: Columns, sides: tuple[int, int]) -> bytes:
    """Return events as a RAW file with EVT 2.0."""
    _check(events, sides, _EVT2_CLOCK, "EVT 2.0")
    t, x, y, p = (column.astype(np.int64) for column in events)
    if len(t) and int(t[-1]) >= _EVT2_CLOCK:
        raise InputError(f"write_events: the last event lies at {t[-1]} us; EVT 2.0 is written up to {_EVT2_CLOCK} us.")
    upper = t >> 6
    is_new = np.diff(upper, prepend=-1) != 0
    place = np.arange(len(t)) + np.cumsum(is_new)
    words = np.zeros(len(t) + int(is_new.sum()), "<u4")
    words[place] = p << 28 | (t & 63) << 22 | x << 11 | y
    words[place[is_new] - 1] = _TIME_HIGH << 28 | upper[is_new]
    return _header("2.0", "EVT2", sides) + words.tobytes()


def evt3_bytes(events: Columns, sides: tuple[int, int]) -> bytes:
    """Return events as a RAW file with EVT 3.0.

    An event takes up to four kinds of words, of which only those are written that change something: the upper and the
    lower half of the time, the row, and the column with the polarity. Where events lie far apart, more words of the
    upper half lead there, so that no wrap of the clock is lost.
    """
    _check(events, sides, _EVT3_CLOCK, "EVT 3.0")
    t, x, y, p = (column.astype(np.int64) for column in events)
    upper = t >> 12
    rise = np.diff(upper, prepend=upper[:1])
    if len(t):
        rise[0] = 1
    uppers = -(-rise // _REACH)  # words of the upper half before each event
    if int(uppers.sum()) > 10**8:
        raise InputError("write_events: the events lie too far apart in time for EVT 3.0.")
    is_later = np.diff(t, prepend=-1) != 0
    is_elsewhere = np.diff(y, prepend=-1) != 0
    sizes = uppers + is_later + is_elsewhere + 1
    ends = np.cumsum(sizes)
    words = np.zeros(int(sizes.sum()), "<u2")
    words[ends - 1] = _ADDRESS_X << 12 | p << 11 | x
    words[(ends - 2)[is_elsewhere]] = _ADDRESS_Y << 12 | y[is_elsewhere]
    words[(ends - 2 - is_elsewhere)[is_later]] = _TIME_LOW << 12 | (t & 0xFFF)[is_later]
    owner = np.repeat(np.arange(len(t)), uppers)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(uppers) - uppers, uppers)
    value = np.minimum(upper[owner] - rise[owner] + (number + 1) * _REACH, upper[owner])
    words[(ends - sizes)[owner] + number] = _TIME_HIGH << 12 | (value & 0xFFF)
    return _header("3.0", "EVT3", sides) + words.tobytes()
