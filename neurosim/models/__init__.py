"""Published systems, a file each."""

from __future__ import annotations

from neurosim.models.elm import ELM, ELMState, windows
from neurosim.models.elm_layer import ELMLayer, ELMLayerState, ELMNetwork

__all__ = ["ELM", "ELMLayer", "ELMLayerState", "ELMNetwork", "ELMState", "windows"]
