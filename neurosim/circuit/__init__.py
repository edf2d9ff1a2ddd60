"""Circuits: sources that make their own input, and exact event-driven runs."""

from __future__ import annotations

from neurosim.circuit.sources import Current, Poisson, SpikeTrain

__all__ = ["Current", "Poisson", "SpikeTrain"]
