"""What a run leaves behind: spikes as events, traces, files."""

from __future__ import annotations

from neurosim.recording.recording import Recording, Spikes

__all__ = ["Recording", "Spikes"]
