"""Chips: targets in TOML files, and exports to them."""

from __future__ import annotations

from neurosim.hardware.targets import Quantity, Target, load_target, target_names

__all__ = ["Quantity", "Target", "load_target", "target_names"]
