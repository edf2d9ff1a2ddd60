"""Integer operations of a step: those of all neurons, and those of the synapses that spikes reach."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from neurosim.hardware.integers.description import IntegerNetwork
from neurosim.hardware.integers.projection import Projection
from neurosim.hardware.integers.traces import Traces
from neurosim.synapses.lowering import Scaling


@dataclasses.dataclass(frozen=True)
class Operations:
    """Operations of one step, as means over the steps of a run.

    Attributes
    ----------
    neurons : float
        Integer operations of all updates, loads and stores aside; they do not depend on the data.
    synapses : float
        Additions of a weight to a sum.
    spikes : float
        Inputs and outputs that are not 0.
    """

    neurons: float
    synapses: float
    spikes: float


def operations(integers: IntegerNetwork, inputs: np.ndarray, traces: Traces) -> Operations:
    """Count the operations of a step.

    Parameters
    ----------
    integers : IntegerNetwork
    inputs : numpy.ndarray [T, B, n]
        As `spikes_of` returns them.
    traces : Traces
    """
    sent, first = {}, 0
    for name, shape in integers.inputs.items():
        n = int(np.prod(shape))
        sent[name] = (inputs[..., first : first + n] != 0).reshape(-1, n)
        first += n
    sent |= {name: (values != 0).reshape(-1, values.shape[-1]) for name, values in traces.outputs.items()}
    steps = inputs.shape[0] * inputs.shape[1]
    synapses = sum(float(sent[each.source].sum(0) @ fan_out(each)) for each in integers.projections.values())
    neurons = sum(each.neurons * each.step.operations for each in integers.populations.values())
    return Operations(float(neurons), synapses / steps, sum(float(each.sum()) for each in sent.values()) / steps)


def fan_out(projection: Projection) -> np.ndarray:
    """Return how many weights a spike of each neuron of the source adds, [neurons]."""
    one = torch.ones(1, *projection.shape, dtype=torch.float64, requires_grad=True)
    current = one
    for value in projection.before:
        current = value.apply(current)
    connectivity = projection.connectivity
    counted = connectivity.counted(all_positions=True)
    if isinstance(counted, Scaling):
        counted = Scaling(counted.weight.double())
    counted.apply(current).sum().backward()
    assert one.grad is not None
    return one.grad.reshape(-1).numpy()
