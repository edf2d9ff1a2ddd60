"""Published systems, a file each."""

from __future__ import annotations

from neurosim.models.astrocyte_gain import GainAstrocyte, GainAstrocyteState
from neurosim.models.astrocyte_sic import SlowInwardCurrent
from neurosim.models.elm import ELM, ELMState, windows
from neurosim.models.elm_layer import ELMLayer, ELMLayerState, ELMNetwork
from neurosim.models.liquid_neurons import LiquidNeurons, LiquidNeuronsState
from neurosim.models.whitening import FrameWhitening, mercedes_benz, random_frame

__all__ = [
    "ELM",
    "ELMLayer",
    "ELMLayerState",
    "ELMNetwork",
    "ELMState",
    "FrameWhitening",
    "GainAstrocyte",
    "GainAstrocyteState",
    "LiquidNeurons",
    "LiquidNeuronsState",
    "SlowInwardCurrent",
    "mercedes_benz",
    "random_frame",
    "windows",
]
