"""The small arena: networks trained on eight real sets that need no network connection, with what they cost."""

from __future__ import annotations

from neurosim.arena.catalogue import CONTESTS, Contest
from neurosim.arena.results import Results
from neurosim.arena.running import run_arena

__all__ = ["CONTESTS", "Contest", "Results", "run_arena"]
