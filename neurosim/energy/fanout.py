"""How many synapses one event at each input reaches: exact, borders and strides included."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.synapses import Synapse
from neurosim.synapses.lowering import Convolution, Dense, Opaque, Pooling, Reshape, Scaling, Shifted, SparseRows


@dataclass(frozen=True, eq=False)
class FanOutCounts:
    """Synapses of each input of a synapse module.

    Attributes
    ----------
    effective : Tensor [inputs], int64
        Synapses with a weight that is not zero.
    existing : Tensor [inputs], int64
        Synapses, whatever their weight. A convolution's padding is no synapse.
    weights, biases : int
        Stored parameters; 0 for pooling.
    kernel : int
        Positions of a convolution's kernel; 0 for a full or sparse matrix.
    """

    effective: Tensor
    existing: Tensor
    weights: int
    biases: int
    kernel: int


def fan_out(synapse: Synapse, shape: tuple[int, ...]) -> FanOutCounts | None:
    """Count the synapses behind each input of one module.

    What the module computes (`Synapse.lowered`) is applied with weights of 1; the derivative of the sum of its outputs
    by an input is then the number of synapses of that input. For a convolution that is the transposed convolution of
    ones.

    Parameters
    ----------
    synapse : Synapse
        Linear in its input, or pooling. Of a matrix that was found by running a user's synapse only what is not zero
        exists.
    shape : tuple of int
        Shape of one step's input.

    Returns
    -------
    FanOutCounts or None
        None for synapses that pass on their input, such as Flatten and Identity, and for shifts: they compute nothing
        that counts.

    Raises
    ------
    InputError
        For a synapse that is not linear, and for normalisation.
    """
    kind = type(synapse).__name__
    if synapse.folds:
        raise InputError(
            f"operations of {kind} are counted once it is part of the weights; count those of "
            "neurosim.network.fold(net)."
        )
    value = synapse.lowered(shape)
    if isinstance(value, Opaque):
        raise InputError(
            f"operations of {kind} cannot be counted: it {value.reason}, so an event has no fixed number of synapses."
        )
    if isinstance(value, (Reshape, Shifted)) or (isinstance(value, Scaling) and value.is_identity):
        return None
    if isinstance(value, Pooling):
        windows = _derivative(value.counted(), shape)
        return FanOutCounts(windows, windows, weights=0, biases=0, kernel=math.prod(value.kernel))
    return FanOutCounts(
        effective=_derivative(value.counted(all_positions=False), shape),
        existing=_derivative(value.counted(all_positions=True), shape),
        weights=value.weight.numel(),
        biases=0 if value.bias is None else value.bias.numel(),
        kernel=math.prod(value.kernel) if isinstance(value, Convolution) else 0,
    )


def _derivative(value: Dense | SparseRows | Convolution | Scaling | Pooling, shape: tuple[int, ...]) -> Tensor:
    """Return the number of synapses [inputs] of each input, for weights of 1."""
    with torch.enable_grad():
        x = torch.ones((1, *shape), dtype=torch.float64, requires_grad=True)
        (each,) = torch.autograd.grad(value.to(torch.float64).apply(x).sum(), x)
    return each.reshape(-1).round().long()
