"""Events of sensors: container, files, frames."""

from __future__ import annotations

from neurosim.datasets.events.bins import Bins, binary, counts, signed, time_surface
from neurosim.datasets.events.container import TXYP, XYTP, SensorEvents
from neurosim.datasets.events.files.reading import event_pieces, read_events
from neurosim.datasets.events.files.seconds import read_nirdata, read_nwb_spikes, read_spoken_events, write_nirdata
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
    "read_nirdata",
    "read_nwb_spikes",
    "read_spoken_events",
    "signed",
    "time_surface",
    "write_events",
    "write_nirdata",
]
