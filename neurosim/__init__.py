"""neurosim: describe a spiking network once; train it, simulate it, deploy it.

The names here are what a user types. Datasets, reports, chips and the Lava export are rooms of their own:
`neurosim.datasets`, `neurosim.report`, `neurosim.hardware` and `neurosim.hardware.lava`.
"""

from neurosim.compiler.latex import latex
from neurosim.errors import NeurosimError
from neurosim.kernels.common.availability import kernel_status
from neurosim.language import (
    Core,
    Surrogate,
    atan,
    core,
    exponential,
    fast_sigmoid,
    multi_gaussian,
    rectangle,
    seconds,
    sigmoid,
    straight_through,
    triangle,
)
from neurosim.learning import (
    BPTT,
    OTTT,
    SLTT,
    CrossEntropy,
    CrossEntropyMSE,
    History,
    Latency,
    Loss,
    MaxMembrane,
    MeanMembrane,
    RateCrossEntropy,
    Rule,
    TargetRates,
    accuracy,
    evaluate,
    fit,
    load_checkpoint,
    save_checkpoint,
)
from neurosim.network.graph import Edge, Input, NetworkState
from neurosim.network.layers import ALIF, IF, LI, LIF, CubaLIF, layer
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.sequential import Recurrent, Sequential
from neurosim.recording.events import Events
from neurosim.recording.recording import Recording
from neurosim.simulation import simulate
from neurosim.synapses import AvgPool2d, BlockLinear, Conv1d, Conv2d, Flatten, Linear, MaxPool2d, Sparse, SumPool2d

__version__ = "0.1.0"

__all__ = [
    "ALIF",
    "BPTT",
    "IF",
    "LI",
    "LIF",
    "OTTT",
    "SLTT",
    "AvgPool2d",
    "BlockLinear",
    "Conv1d",
    "Conv2d",
    "Core",
    "CrossEntropy",
    "CrossEntropyMSE",
    "CubaLIF",
    "Edge",
    "Events",
    "Flatten",
    "History",
    "Input",
    "Latency",
    "Linear",
    "Loss",
    "MaxMembrane",
    "MaxPool2d",
    "MeanMembrane",
    "Network",
    "NetworkState",
    "Neuron",
    "NeurosimError",
    "RateCrossEntropy",
    "Recording",
    "Recurrent",
    "Rule",
    "Sequential",
    "Sparse",
    "SumPool2d",
    "Surrogate",
    "TargetRates",
    "accuracy",
    "atan",
    "core",
    "evaluate",
    "exponential",
    "fast_sigmoid",
    "fit",
    "kernel_status",
    "latex",
    "layer",
    "load_checkpoint",
    "multi_gaussian",
    "rectangle",
    "save_checkpoint",
    "seconds",
    "sigmoid",
    "simulate",
    "straight_through",
    "triangle",
]
