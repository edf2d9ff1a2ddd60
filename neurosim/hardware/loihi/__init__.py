"""Loihi in whole numbers: its neurons, the weights its synapses hold, and what a network of them says to exporters."""

from __future__ import annotations

from neurosim.hardware.loihi.description import Connection, Description, Registers, describe
from neurosim.hardware.loihi.neurons import effective_bias, loihi, split_bias
from neurosim.hardware.loihi.weights import SignMode, held_weight, sign_mode, storage, weight_range, weight_step

__all__ = [
    "Connection",
    "Description",
    "Registers",
    "SignMode",
    "describe",
    "effective_bias",
    "held_weight",
    "loihi",
    "sign_mode",
    "split_bias",
    "storage",
    "weight_range",
    "weight_step",
]
