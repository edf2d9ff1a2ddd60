"""Events of sensors: container, files, frames."""

from __future__ import annotations

from neurosim.datasets.events.bins import Bins, binary, counts, signed, time_surface
from neurosim.datasets.events.container import TXYP, XYTP, SensorEvents

__all__ = ["TXYP", "XYTP", "Bins", "SensorEvents", "binary", "counts", "signed", "time_surface"]
