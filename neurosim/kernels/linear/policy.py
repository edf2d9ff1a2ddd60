"""When a linear layer is event-driven; docs/kernels.md plots the times that the limits for the CPU come from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurosim.kernels.common import policy
from neurosim.kernels.common.autograd import can_call_directly, under_transform
from neurosim.kernels.common.bits import count
from neurosim.kernels.common.float32 import allows_tf32
from neurosim.kernels.linear.arguments import Call

# Rate of input spikes from which the dense product is cheaper.
CROSSOVER = 0.3
# Rate of inputs in the mask from which the dense product is cheaper, and terms of a sum below which it always is.
MASK_CROSSOVER = 0.4
SHORT = 100
# Multiplications of a single step whose product is dense whatever its input.
SMALL = 4 << 20
# Multiplications from which a dense product on CUDA takes some 0.2 ms in strict single precision; waiting for the rate
# of the spikes takes a tenth of it.
WORTH_MEASURING = 6e9
# Values of an output on CUDA from which its bits are kept, 32 times smaller.
PACKED = 1 << 24
_LOWEST_RATE = 0.001  # hardly any layer has a lower one


def packs_on_cuda(values: int) -> bool:
    """Return whether so many spikes are kept as bits on CUDA: if they take much memory, since to pack is a launch."""
    return values >= PACKED


def is_event_driven(events: int, inputs: int) -> bool:
    """Return whether a product with `events` among `inputs` values costs less by its events."""
    return policy.choose(events <= CROSSOVER * inputs)


def is_masked(mask: Tensor | None, terms: int, n_in: int) -> bool:
    """Return whether the gradient of the input costs less where `mask` asks for it alone.

    Parameters
    ----------
    mask : Tensor [R, ceil(n_in / 64)] of int64 or None
        Where the gradient is needed, a bit each; None for everywhere.
    terms : int
        Terms of each sum.
    n_in : int
        Inputs of a row.
    """
    if mask is None:
        return False
    return policy.choose(terms >= SHORT and count(mask) < MASK_CROSSOVER * mask.shape[0] * n_in)


def is_single_step(call: Call) -> bool:
    """Return whether a call is one step on the CPU in plain code whose product is small."""
    if torch.compiler.is_compiling():  # first: a compiler would guard the sizes
        return False
    x, weight = call.x, call.weight
    if x.shape[0] != 1 or x.numel() * weight.shape[0] > SMALL or x.device.type != "cpu":
        return False
    return can_call_directly((x, weight, call.bias, *call.state, *call.coefficients)) and not under_transform()


def is_event_driven_on_cuda(rows: int, weight: Tensor, bits: Callable[[], Tensor] | None) -> bool:
    """Return whether a product of `rows` inputs that reads only what is not zero is faster.

    Parameters
    ----------
    rows : int
    weight : Tensor [N, n]
    bits : callable or None
        Returns the bits of the inputs [R, ceil(n / 64)]; called, and the device waited for, only where they may
        decide. None if the host must not wait.
    """
    if policy.is_forced():
        return policy.choose(True)
    if bits is None or not is_worth_measuring(rows, weight):
        return False
    from neurosim.kernels.linear import cuda_events

    n_out, n_in = weight.shape
    rate = cuda_events.count(bits()).item() / (rows * n_in)
    return gathering_is_faster(rows, n_in, n_out, rate, weight.dtype)


def is_worth_measuring(rows: int, weight: Tensor) -> bool:
    """Return whether the rate of the inputs of a product on CUDA may decide, and the host may wait for it at all."""
    n_out, n_in = weight.shape
    if rows * n_in * n_out < WORTH_MEASURING or torch.version.hip is not None:
        return False
    if weight.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    return gathering_is_faster(rows, n_in, n_out, _LOWEST_RATE, weight.dtype)


def gathering_is_faster(rows: int, n_in: int, n_out: int, rate: float, dtype: torch.dtype) -> bool:
    """Return whether gathering on CUDA is likely to take less time than the dense product.

    Not measured on a GPU yet: this compares two lower bounds for an H100 or H200, from its data sheet. A spike reads
    one row of the weight, which lies in the second-level cache: ``rate * rows * n_in * n_out`` numbers at 5.5 TB/s.
    The dense product does ``2 * rows * n_in * n_out`` operations, at 60 TFLOP/s in strict single or in double
    precision, 400 where TensorFloat-32 is allowed, 700 in half precision, but reads the weight once at least. Gathering
    is then faster for many rows below about 4.6 % in strict single, 0.8 % in half precision; for a few rows, such as
    one step of a small batch, wherever ``rows * rate`` is less than one.

    Parameters
    ----------
    rows, n_in, n_out : int
        Shape of the product.
    rate : float
        Share of the inputs that are not zero, in [0, 1].
    dtype : torch.dtype
        Precision of the weight.
    """
    cache = 5.5e12
    weight = n_in * n_out * dtype.itemsize
    if dtype.itemsize == 2:
        operations = 700e12
    elif dtype == torch.float32 and allows_tf32():
        operations = 400e12
    else:
        operations = 60e12
    dense = max(2.0 * rows * n_in * n_out / operations, weight / cache)
    return rate * rows * weight / cache < dense
