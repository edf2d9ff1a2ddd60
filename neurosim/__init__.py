"""neurosim: describe a spiking network once; train it, simulate it, deploy it."""

from neurosim.cores import (
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
from neurosim.kernels import kernels, latex
from neurosim.network import Edge, Input, Network, NetworkState, Recurrent, Sequential
from neurosim.neurons import ALIF, IF, LI, LIF, CubaLIF, Neuron, layer
from neurosim.recording import Recording, Spikes
from neurosim.simulate import simulate
from neurosim.synapses import AvgPool2d, Conv1d, Conv2d, Flatten, Linear, MaxPool2d, Sparse, SumPool2d

__version__ = "0.1.0"
