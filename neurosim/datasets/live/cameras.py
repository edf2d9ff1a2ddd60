"""Event cameras through neuromorphic-drivers, which is optional."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from neurosim.datasets.events.container import SensorEvents
from neurosim.datasets.live.sources import LiveSource, Packet
from neurosim.errors import FileError
from neurosim.files.packages import optional


class Camera(LiveSource):
    """An event camera: packets of the driver, counted from the first event.

    Parameters
    ----------
    device : object, optional
        An open device of neuromorphic-drivers, or any object that yields (status, packet) and has `properties()` with
        width and height. The first camera that is found if left out.
    ordered : bool
        Whether times that fall inside a packet are sorted, as after a reset of the camera's clock; refused otherwise.

    Raises
    ------
    ModuleNotFoundError
        When neuromorphic-drivers is not installed.
    FileError
        When there is no camera.

    Notes
    -----
    Tested with a recorded stream in place of a device; not tried with a camera.
    """

    def __init__(self, device: Any = None, *, ordered: bool = True) -> None:
        if device is None:
            drivers = optional("neuromorphic_drivers", "camera")
            try:
                device = drivers.open()
            except Exception as error:  # the driver raises its own errors, of no common base
                raise FileError(f"no event camera could be opened: {error}.") from error
        about = device.properties()
        self.shape = (2, int(about.height), int(about.width))
        self._device, self._ordered, self._open = device, ordered, True

    def packets(self) -> Iterator[Packet]:
        """Yield the packets of the camera until `close`."""
        first, last, lost_before = None, 0, 0
        for status, packet in self._device:
            if not self._open:
                return
            arrived = time.perf_counter()
            rows = None if packet is None else packet.polarity_events
            ring = getattr(status, "ring", None)
            total = lost_before if ring is None else int(ring.dropped_packets)
            overflows = None if packet is None else getattr(packet, "polarity_events_overflow_indices", None)
            lost = max(total - lost_before, 0 if overflows is None else len(overflows))
            lost_before = total
            known = None if ring is None else getattr(ring, "current_t", None)
            if rows is None or not len(rows):
                if first is not None and known is not None:
                    last = max(last, int(known) - first)
                if first is not None or lost:
                    yield Packet(_none(self.shape), last, arrived, lost)
                continue
            names = rows.dtype.names
            first = int(rows["t"].min()) if first is None else first
            polarity = rows["p" if "p" in names else "on"]
            events = SensorEvents(
                rows["t"].astype("i8") - first,
                rows["x"],
                rows["y"],
                polarity,
                shape=self.shape,
                repair=["sort"] if self._ordered else [],
            )
            last = max(last, events.last + 1)
            yield Packet(events, last, arrived, lost)

    def close(self) -> None:
        """Stop the camera."""
        self._open = False
        close = getattr(self._device, "close", None)
        if close is not None:
            close()


def _none(shape: tuple[int, ...]) -> SensorEvents:
    return SensorEvents([], [], [], [], shape=shape)
