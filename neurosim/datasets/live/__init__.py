"""Live input: recordings replayed in real time, sockets and cameras, run step by step with a measured latency."""

from __future__ import annotations

from neurosim.datasets.live.cameras import Camera
from neurosim.datasets.live.loop import Live, LiveReport, LiveSteps
from neurosim.datasets.live.sockets import SocketSource, send_events
from neurosim.datasets.live.sources import LiveSource, Packet, Replay

__all__ = [
    "Camera",
    "Live",
    "LiveReport",
    "LiveSource",
    "LiveSteps",
    "Packet",
    "Replay",
    "SocketSource",
    "send_events",
]
