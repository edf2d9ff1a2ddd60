"""Networks: populations, their graph, and how it is run."""

from __future__ import annotations

from neurosim.kernels.common.layer_output import LayerOutput
from neurosim.network import init
from neurosim.network.explanation import ComponentExplanation, Explanation, KernelCalls
from neurosim.network.folding import fold
from neurosim.network.graph import Edge, Input, NetworkState
from neurosim.network.layers import ALIF, IF, LI, LIF, CubaLIF, layer
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.padded import run_padded
from neurosim.network.population import Population
from neurosim.network.sequential import Recurrent, Sequential
from neurosim.network.source import Source, SourceState
from neurosim.network.stateful import Stateful
from neurosim.network.strategies import Strategy

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "ComponentExplanation",
    "CubaLIF",
    "Edge",
    "Explanation",
    "Input",
    "KernelCalls",
    "LayerOutput",
    "Network",
    "NetworkState",
    "Neuron",
    "Population",
    "Recurrent",
    "Sequential",
    "Source",
    "SourceState",
    "Stateful",
    "Strategy",
    "fold",
    "init",
    "layer",
    "run_padded",
]
