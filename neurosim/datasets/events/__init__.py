"""Events of sensors: container, files, frames."""

from __future__ import annotations

from neurosim.datasets.events.bins import Bins, binary, counts, signed, time_surface
from neurosim.datasets.events.container import TXYP, XYTP, SensorEvents
from neurosim.datasets.events.files.reading import event_pieces, read_events
from neurosim.datasets.events.files.writing import write_events

__all__ = [
    "TXYP",
    "XYTP",
    "Bins",
    "SensorEvents",
    "binary",
    "counts",
    "event_pieces",
    "read_events",
    "signed",
    "time_surface",
    "write_events",
]
