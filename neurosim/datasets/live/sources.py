"""Where live events come from: packets of events, each with the time up to which it is complete."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from neurosim.datasets.checks import checked_numbers
from neurosim.datasets.events.container import MICROSECOND, SensorEvents
from neurosim.datasets.events.files.reading import event_pieces
from neurosim.errors import InputError
from neurosim.units import steps_of


@dataclass(frozen=True)
class Packet:
    """Events that arrived together.

    Attributes
    ----------
    events : SensorEvents
        One sample; may be empty.
    until : int
        Microseconds: all events before this time have arrived with this packet or earlier ones.
    arrived : float
        Wall time at which the packet was complete, s of ``time.perf_counter``.
    lost : int
        Packets that the device or the driver lost before this one.
    """

    events: SensorEvents
    until: int
    arrived: float
    lost: int = 0


class LiveSource(ABC):
    """A source of packets.

    Attributes
    ----------
    shape : tuple of int
        Shape of the sensor.
    """

    shape: tuple[int, ...]

    @abstractmethod
    def packets(self) -> Iterator[Packet]:
        """Yield packets as they arrive, in the order of their times; the end of the source ends them."""

    def close(self) -> None:  # noqa: B027  most sources hold nothing
        """Release what the source holds; called when a run ends, from another thread than `packets`."""


class Replay(LiveSource):
    """A recording in real time: each packet comes when its last microsecond has passed.

    Parameters
    ----------
    recording : SensorEvents or path-like
        Events of one sample, or a file of events, which is read piece by piece.
    every : float
        s of the recording in a packet, an integer number of microseconds.
    speed : float
        Seconds of the recording in a second; ``inf`` gives packets without waiting.
    shape : tuple of int, optional
        Shape of the sensor, for a file that does not state it.

    Raises
    ------
    InputError
        For several samples and parameters out of range.
    """

    def __init__(
        self,
        recording: SensorEvents | str | os.PathLike[str],
        *,
        every: float = 1e-3,
        speed: float = 1.0,
        shape: int | tuple[int, ...] | None = None,
    ) -> None:
        checked_numbers(speed=speed)
        if not speed > 0:
            raise InputError(f"Replay: speed = {speed!r}, but it must be positive.")
        if isinstance(recording, SensorEvents):
            if recording.B != 1:
                raise InputError(f"Replay: the recording has {recording.B} samples; give events.samples(k).")
            pieces: Iterator[SensorEvents] = iter((recording,))
            self.shape = recording.shape
        else:
            pieces = event_pieces(recording, shape=shape)
            first = next(pieces, None)
            if first is None:
                raise InputError(f"Replay: {recording} holds no events.")
            self.shape = first.shape
            pieces = _again(first, pieces)
        self._pieces, self._span, self._speed = pieces, steps_of("Replay", "every", every, MICROSECOND), speed
        if self._span < 1:
            raise InputError(f"Replay: every = {every!r} s; a microsecond or more is needed.")

    def packets(self) -> Iterator[Packet]:
        """Yield the packets of the recording, counted from its time 0."""
        begun, number = time.perf_counter(), 0
        rest: SensorEvents | None = None
        for piece in self._pieces:
            rest = piece if rest is None or not len(rest) else SensorEvents.merged([rest, piece])
            # The last packet of a piece may continue in the next one.
            while rest.last >= (number + 1) * self._span:
                number += 1
                now, rest = _cut(rest, number * self._span)
                yield self._due(now, number, begun)
        if rest is not None:
            yield self._due(rest, number + 1, begun)

    def _due(self, events: SensorEvents, number: int, begun: float) -> Packet:
        until = number * self._span
        due = begun + until * MICROSECOND / self._speed
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        # A packet that the reader takes late has been due since then, which the latency counts.
        return Packet(events, until, due if self._speed < float("inf") else time.perf_counter())


def _again(first: SensorEvents, rest: Iterator[SensorEvents]) -> Iterator[SensorEvents]:
    yield first
    yield from rest


def _cut(events: SensorEvents, at: int) -> tuple[SensorEvents, SensorEvents]:
    """Return the events before a time and those from it on; times stay as they are."""
    place = int(events.t.searchsorted(at))
    return part_of(events, 0, place), part_of(events, place, len(events))


def part_of(events: SensorEvents, start: int, stop: int) -> SensorEvents:
    """Return the events of some places of one sample; nothing is copied."""
    columns = (getattr(events, name)[start:stop] for name in ("t", "x", "y", "p"))
    return SensorEvents.trusted(*columns, shape=events.shape)
