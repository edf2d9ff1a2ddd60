"""Loihi's integer arithmetic: its neurons, the weights of its synapses, and the registers of a network."""

from __future__ import annotations

from neurosim.hardware.loihi.description import Description, IntegerEdge, Registers, describe
from neurosim.hardware.loihi.neurons import effective_bias, loihi_neurons, split_bias
from neurosim.hardware.loihi.weights import SignMode, chip_weight, sign_mode, storage, weight_range, weight_step

__all__ = [
    "Description",
    "IntegerEdge",
    "Registers",
    "SignMode",
    "chip_weight",
    "describe",
    "effective_bias",
    "loihi_neurons",
    "sign_mode",
    "split_bias",
    "storage",
    "weight_range",
    "weight_step",
]
