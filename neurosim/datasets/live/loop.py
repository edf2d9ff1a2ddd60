"""Run a network on live events, a few steps at a time, with back-pressure or counted losses and a measured latency."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.events.bins import Bins, counts
from neurosim.datasets.events.container import MICROSECOND, SensorEvents
from neurosim.datasets.live.sources import LiveSource, Packet, part_of
from neurosim.errors import InputError, ShapeError
from neurosim.network.network import Network
from neurosim.units import steps_of

_Line = queue.Queue[Packet | BaseException | None]


@dataclass(frozen=True)
class LiveSteps:
    """A few steps of a live run.

    Attributes
    ----------
    first : int
        Number of the first step.
    output : Tensor [chunk, 1, ...]
        Output of the network.
    latency : float
        s from the arrival of the packet that completed the steps to their output.
    """

    first: int
    output: Tensor
    latency: float


@dataclass(frozen=True)
class LiveReport:
    """What a live run did so far.

    Attributes
    ----------
    steps, packets, events : int
        Steps that were run, and packets and events that went into them or wait.
    dropped_packets, dropped_events : int
        What was left out because the run did not follow (``full="drop"``).
    lost_packets : int
        What the device lost itself.
    late_events : int
        Events that came after their step had been run, and were left out.
    latency : numpy.ndarray
        float64, s, of each piece of steps.
    waited : float
        s in which the source was held back (``full="wait"``).
    """

    steps: int
    packets: int
    events: int
    dropped_packets: int
    dropped_events: int
    lost_packets: int
    late_events: int
    latency: np.ndarray
    waited: float

    def __str__(self) -> str:
        shares = np.percentile(self.latency, (50, 95, 99, 100)) * 1e3 if len(self.latency) else [0.0] * 4
        half, most, rare, worst = (f"{each:.2f}" for each in shares)
        return (
            f"{self.steps} steps, {self.events} events in {self.packets} packets; latency {half} ms (median), {most} "
            f"(95 %), {rare} (99 %), {worst} (largest); dropped {self.dropped_events} events in {self.dropped_packets} "
            f"packets, late {self.late_events}, lost by the device {self.lost_packets} packets; source held back "
            f"{self.waited:.3f} s."
        )


class Live:
    """A network that runs on live events.

    A thread takes packets from the source; `chunk` steps are run as soon as their events are complete. The output is
    that of one call of the network on all steps. When more than `queue` packets wait, the source is held back, or with
    ``full="drop"`` the newest packet is left out and counted.

    Parameters
    ----------
    net : Network
        With one `Input` of the sensor's shape, or of as many channels.
    source : LiveSource
        Used once.
    dt : float, optional
        Length of a step, s, an integer number of microseconds; that of the network if left out.
    chunk : int
        Steps in a call.
    value : Bins
        As for `SensorEvents.binned`.
    queue : int
        Packets that may wait.
    full : {"wait", "drop"}
        What happens to a packet when as many wait.
    steps : int, optional
        Steps to run; until the source ends if left out.

    Raises
    ------
    InputError, ShapeError, UnitError
        When the network and the source do not fit together, or a parameter is out of range.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.datasets.events import SensorEvents
    >>> from neurosim.datasets.live import Live, Replay
    >>> net = ns.Sequential(ns.Linear(3, 2), ns.LIF(tau_mem=10e-3, dt=1e-3))
    >>> events = SensorEvents([100, 4500], [0, 2], shape=3)
    >>> run = Live(net, Replay(events, speed=float("inf")))
    >>> [steps.first for steps in run], run.report().events
    ([0, 1, 2, 3, 4], 2)
    """

    def __init__(
        self,
        net: Network,
        source: LiveSource,
        *,
        dt: float | None = None,
        chunk: int = 1,
        value: Bins = counts,
        queue: int = 64,
        full: Literal["wait", "drop"] = "wait",
        steps: int | None = None,
    ) -> None:
        if len(net.inputs) != 1:
            raise InputError(f"Live: the network has {len(net.inputs)} inputs; one is needed.")
        if full not in ("wait", "drop"):
            raise InputError(f"Live: full = {full!r}, but it must be 'wait' or 'drop'.")
        self.dt = net.dt if dt is None else dt
        if self.dt is None:
            raise InputError("Live: the network has no time step; give dt in seconds.")
        self._width = steps_of("Live", "dt", self.dt, MICROSECOND)
        self._chunk, self._queue = checked_integer("chunk", chunk), checked_integer("queue", queue)
        self._limit = None if steps is None else checked_integer("steps", steps)
        self._shape = net.shape(net.inputs[0])
        empty = SensorEvents.trusted(
            *(np.zeros(0, kind) for kind in (np.int64, np.uint16, np.uint16, np.uint8)), shape=source.shape
        )
        frame = empty.binned(self.dt, 1, value=value)
        if frame[0, 0].numel() != torch.Size(self._shape).numel():
            raise ShapeError(
                f"Live: a step of the source is {list(frame.shape[2:])}, the input of the network {list(self._shape)}."
            )
        self._net, self._source, self._value, self._full = net, source, value, full
        self._like = next((each for each in net.parameters()), torch.zeros(()))
        self._waiting = empty
        self._latency = list[float]()
        self._counts = dict.fromkeys(("packets", "events", "dropped_packets", "dropped_events", "lost", "late"), 0)
        self._steps, self._held, self._begun = 0, 0.0, False

    def report(self) -> LiveReport:
        """Return what was run, left out and measured so far."""
        found = self._counts
        return LiveReport(
            self._steps,
            found["packets"],
            found["events"],
            found["dropped_packets"],
            found["dropped_events"],
            found["lost"],
            found["late"],
            np.array(self._latency),
            self._held,
        )

    def __iter__(self) -> Iterator[LiveSteps]:
        """Run, yielding steps as they are done; the source is closed at the end, or when the loop is left.

        Raises
        ------
        InputError
            When the source was used before.
        FileError
            What the source raises, after the steps before it.
        """
        if self._begun:
            raise InputError("Live: the source was used; make another Live of another source.")
        self._begun = True
        line: _Line = queue.Queue(self._queue)
        stop = threading.Event()
        reader = threading.Thread(target=self._read, args=(line, stop), name="neurosim-live", daemon=True)
        reader.start()
        try:
            yield from self._run(line)
        finally:
            stop.set()
            self._source.close()
            with contextlib.suppress(queue.Empty):
                while True:
                    line.get_nowait()
            reader.join(timeout=5.0)

    def _read(self, line: _Line, stop: threading.Event) -> None:
        """Take packets from the source and put them into the line, in a thread of its own."""
        end: BaseException | None = None
        try:
            for packet in self._source.packets():
                if stop.is_set():
                    return
                if self._full == "drop":
                    try:
                        line.put_nowait(packet)
                    except queue.Full:
                        self._counts["dropped_packets"] += 1
                        self._counts["dropped_events"] += len(packet.events)
                    continue
                begun = time.perf_counter()
                if not _put(line, packet, stop):
                    return
                self._held += time.perf_counter() - begun
        except BaseException as error:  # it is raised again where the steps are taken
            end = error
        _put(line, end, stop)

    def _run(self, line: _Line) -> Iterator[LiveSteps]:
        state = None
        last: Packet | None = None
        while self._limit is None or self._steps < self._limit:
            packet = line.get()
            if isinstance(packet, Packet):
                self._take(packet)
                last, until = packet, packet.until
            elif last is None:
                if packet is not None:
                    raise packet
                return
            else:
                # At the end the steps up to the last event are complete, in pieces that may be shorter.
                until = last.until
            while (size := self._ready(until, ended=not isinstance(packet, Packet))) > 0:
                x = self._frames(size)
                with torch.no_grad():
                    output, state = self._net(x, state)
                assert last is not None
                latency = time.perf_counter() - last.arrived
                self._latency.append(latency)
                first, self._steps = self._steps, self._steps + size
                yield LiveSteps(first, output, latency)
            if isinstance(packet, BaseException):
                raise packet
            if packet is None:
                return

    def _take(self, packet: Packet) -> None:
        """Add the events of a packet to those that wait; events of steps that were run are counted and left out."""
        self._counts["packets"] += 1
        self._counts["lost"] += packet.lost
        events = packet.events
        late = int(events.t.searchsorted(self._steps * self._width))
        self._counts["late"] += late
        self._counts["events"] += len(events) - late
        if late < len(events):
            fresh = part_of(events, late, len(events))
            self._waiting = SensorEvents.merged([self._waiting, fresh]) if len(self._waiting) else fresh

    def _ready(self, until: int, *, ended: bool) -> int:
        """Return how many steps are run next: `chunk` complete ones, or at the end what is left."""
        complete = (until // self._width) - self._steps
        if ended and len(self._waiting):
            complete = max(complete, self._waiting.last // self._width + 1 - self._steps)
        wanted = self._chunk if self._limit is None else min(self._chunk, self._limit - self._steps)
        return min(complete, wanted) if complete >= wanted or ended else 0

    def _frames(self, size: int) -> Tensor:
        """Return the input of the next steps, and leave the later events waiting."""
        start, stop = self._steps * self._width, (self._steps + size) * self._width
        place = int(self._waiting.t.searchsorted(stop))
        now = part_of(self._waiting, 0, place).shifted(-start * MICROSECOND)
        self._waiting = part_of(self._waiting, place, len(self._waiting))
        assert self.dt is not None
        x = now.binned(self.dt, size, value=self._value)
        return x.reshape(size, 1, *self._shape).to(self._like)


def _put(line: _Line, item: Packet | BaseException | None, stop: threading.Event) -> bool:
    """Put an item into the line when there is room; return whether it was, before the run ended."""
    while not stop.is_set():
        try:
            line.put(item, timeout=0.05)
            return True
        except queue.Full:
            continue
    return False
