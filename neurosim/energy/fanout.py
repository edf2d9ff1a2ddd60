"""How many synapses one event at each input reaches: exact, borders and strides included."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from neurosim.errors import InputError
from neurosim.synapses import (
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    Flatten,
    Identity,
    MaxPool2d,
    Standardised,
    SumPool2d,
    Synapse,
)


@dataclass(frozen=True, eq=False)
class FanOut:
    """What an event at each input of a synapse module sets off.

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


def fan_out(synapse: Synapse, shape: tuple[int, ...]) -> FanOut | None:
    """Count the synapses behind each input of one module.

    The module itself is run with its weights replaced by ``weight != 0``; the derivative of the sum of its outputs by
    an input is then the number of synapses of that input. For a convolution that is the transposed convolution of
    ones. So every stride, padding, dilation and group is the module's own.

    Parameters
    ----------
    synapse : Synapse
        With a parameter ``weight`` and linear in its input, or pooling, Flatten or Identity.
    shape : tuple of int
        Shape of one step's input.

    Returns
    -------
    FanOut or None
        None for Flatten and Identity, which compute nothing.

    Raises
    ------
    InputError
        For a module without a countable weight.
    """
    if isinstance(synapse, (Flatten, Identity)):
        return None
    if isinstance(synapse, (AvgPool2d, SumPool2d, MaxPool2d)):
        windows = _pooling(synapse, shape)
        return FanOut(windows, windows, weights=0, biases=0, kernel=math.prod(synapse.kernel))
    if isinstance(synapse, (BatchNorm, Standardised)):
        raise InputError(
            f"operations of {type(synapse).__name__} are counted once it is part of the weights; "
            "count those of neurosim.network.fold(net)."
        )
    weight, bias = getattr(synapse, "weight", None), getattr(synapse, "bias", None)
    if not isinstance(weight, Tensor):
        raise InputError(
            f"operations of {type(synapse).__name__} cannot be counted: it has no parameter called 'weight'. "
            "Give your synapse one, with a zero where there is no connection."
        )
    return FanOut(
        effective=_derivative(synapse, shape, (weight != 0).double()),
        existing=_derivative(synapse, shape, torch.ones_like(weight, dtype=torch.float64)),
        weights=weight.numel(),
        biases=bias.numel() if isinstance(bias, Tensor) else 0,
        kernel=math.prod(synapse.kernel) if isinstance(synapse, (Conv1d, Conv2d)) else 0,
    )


def _derivative(synapse: Synapse, shape: tuple[int, ...], weight: Tensor) -> Tensor:
    parameters = {"weight": weight}
    bias = getattr(synapse, "bias", None)
    if isinstance(bias, Tensor):
        parameters["bias"] = torch.zeros_like(bias, dtype=torch.float64)
    with torch.enable_grad():
        x = torch.ones((1, 1, *shape), dtype=torch.float64, device=weight.device, requires_grad=True)
        total = functional_call(synapse, parameters, (x,)).sum()
        (each,) = torch.autograd.grad(total, x)
    # Of a linear map, and of no other we could meet, the derivatives times the inputs give the output back.
    if not torch.isclose(each.sum(), total.detach()):
        raise InputError(
            f"operations of {type(synapse).__name__} cannot be counted: it is not linear in its input, "
            "so an event has no fixed number of synapses."
        )
    return each.detach().reshape(-1).round().long()


def _pooling(synapse: AvgPool2d | SumPool2d | MaxPool2d, shape: tuple[int, ...]) -> Tensor:
    with torch.enable_grad():
        x = torch.ones((1, *shape), dtype=torch.float64, requires_grad=True)
        kernel, stride = synapse.kernel, synapse.stride
        (each,) = torch.autograd.grad(functional.avg_pool2d(x, kernel, stride, divisor_override=1).sum(), x)
    return each.reshape(-1).round().long()
