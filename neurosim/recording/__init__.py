"""Recordings: events, traces and the final state of a run, and their files."""

from __future__ import annotations

from neurosim.recording.events import Events
from neurosim.recording.recording import Recording

__all__ = ["Events", "Recording"]
