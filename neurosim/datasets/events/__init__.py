"""Events of sensors: container, files, frames."""

from __future__ import annotations

from neurosim.datasets.events.augmentation import Augmentation, drop, flip, jitter, noise, shift, time_warp
from neurosim.datasets.events.bins import Bins, binary, counts, signed, time_surface
from neurosim.datasets.events.container import TXYP, XYTP, SensorEvents
from neurosim.datasets.events.files.reading import event_pieces, read_events
from neurosim.datasets.events.files.seconds import read_nirdata, read_nwb_spikes, read_spoken_events, write_nirdata
from neurosim.datasets.events.files.writing import write_events
from neurosim.datasets.events.pipeline import CachedFrames, EpochSampler, EventFrames
from neurosim.datasets.events.points import event_points
from neurosim.datasets.events.sets import EventFiles, EventSet

__all__ = [
    "TXYP",
    "XYTP",
    "Augmentation",
    "Bins",
    "CachedFrames",
    "EpochSampler",
    "EventFiles",
    "EventFrames",
    "EventSet",
    "SensorEvents",
    "binary",
    "counts",
    "drop",
    "event_pieces",
    "event_points",
    "flip",
    "jitter",
    "noise",
    "read_events",
    "read_nirdata",
    "read_nwb_spikes",
    "read_spoken_events",
    "shift",
    "signed",
    "time_surface",
    "time_warp",
    "write_events",
    "write_nirdata",
]
