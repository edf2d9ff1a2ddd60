"""Events over TCP: a header and records of 13 bytes a packet, so that any program can send them.

A packet is, little-endian, the number of events (uint32) and the time in microseconds up to which it is complete
(int64), then for each event its time (int64), column and row (uint16) and polarity (uint8), as `TXYP` has them.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator

import numpy as np

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.events.columns import LATEST, checked_shape
from neurosim.datasets.events.container import TXYP, SensorEvents
from neurosim.datasets.live.sources import LiveSource, Packet
from neurosim.errors import FileError, InputError

_HEADER = struct.Struct("<Iq")
_MOST = 2**24  # events of a packet


class SocketSource(LiveSource):
    """Packets from a TCP connection, which this source waits for.

    The sender is held back by TCP when the run does not follow.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of the sensor.
    host : str
        Address to listen at; that of this machine alone by default.
    port : int
        Port to listen at; 0 takes a free one.
    timeout : float
        s without a byte after which the source ends with an error.

    Attributes
    ----------
    port : int
        The port.

    Raises
    ------
    InputError
        When the address cannot be taken.
    """

    def __init__(
        self, shape: int | tuple[int, ...], *, host: str = "127.0.0.1", port: int = 0, timeout: float = 10.0
    ) -> None:
        self.shape = checked_shape(shape)
        try:
            self._listener = socket.create_server((host, checked_integer("port", port, least=0)))
        except (OSError, OverflowError) as error:
            raise InputError(f"SocketSource: cannot listen at {host}, port {port}: {error}. Choose another.") from error
        self._listener.settimeout(timeout)
        self.host, self.port, self._timeout = host, int(self._listener.getsockname()[1]), timeout
        self._connection: socket.socket | None = None

    def packets(self) -> Iterator[Packet]:
        """Wait for a sender, and yield its packets until it closes the connection.

        Raises
        ------
        FileError
            When nothing comes for `timeout`, the connection ends inside a packet, or a packet is damaged.
        """
        last = 0
        try:
            self._connection, _ = self._listener.accept()
            self._connection.settimeout(self._timeout)
            with self._connection.makefile("rb") as stream:
                while header := stream.read(_HEADER.size):
                    number, until = _HEADER.unpack(_whole(header, _HEADER.size))
                    if number > _MOST or not last <= until < LATEST:
                        raise FileError(f"a packet of {number:,} events up to {until} us after {last} us was received.")
                    content = _whole(stream.read(number * TXYP.itemsize), number * TXYP.itemsize)
                    events = self._events(np.frombuffer(content, TXYP), until)
                    last = until
                    yield Packet(events, until, time.perf_counter())
        except TimeoutError as error:
            raise FileError(f"no events came for {self._timeout:g} s at {self.host}, port {self.port}.") from error
        except OSError as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"the connection at {self.host}, port {self.port} was lost: {error}.") from error

    def _events(self, rows: np.ndarray, until: int) -> SensorEvents:
        try:
            events = SensorEvents.from_array(rows, shape=self.shape)
        except ValueError as error:
            raise FileError(f"a packet was received that is refused: {error}") from error
        if len(events) and events.last >= until:
            raise FileError(f"an event at {events.last} us was received in a packet up to {until} us.")
        return events

    def close(self) -> None:
        """End the connection, and give the port back."""
        for each in (self._connection, self._listener):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()


def _whole(content: bytes, size: int) -> bytes:
    if len(content) != size:
        raise FileError(f"the connection ended inside a packet: {len(content)} of {size} bytes were received.")
    return content


def send_events(source: LiveSource, port: int, *, host: str = "127.0.0.1") -> int:
    """Send the packets of a source, such as a `Replay`, to a `SocketSource`.

    Parameters
    ----------
    source : LiveSource
    port, host
        Where the `SocketSource` listens.

    Returns
    -------
    int
        Events that were sent.

    Raises
    ------
    FileError
        When the connection is refused or lost.
    """
    sent = 0
    try:
        with socket.create_connection((host, port)) as connection:
            for packet in source.packets():
                head = _HEADER.pack(len(packet.events), packet.until)
                connection.sendall(head + packet.events.to_array(TXYP).tobytes())
                sent += len(packet.events)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot send to {host}, port {port}: {error}.") from error
    return sent
