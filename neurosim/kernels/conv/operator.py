"""A convolution of spikes as an operation: ``neurosim::event_conv``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.kernels.common.bits import words
from neurosim.kernels.common.operator import Needs, Operator
from neurosim.kernels.conv import cpu, reference
from neurosim.kernels.conv.arguments import Call, Outputs, Saved, Settings

__all__ = ["Settings", "event_conv", "run_conv"]


def event_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    settings: Settings,
    *,
    packed_bits: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Return the convolution of ``x`` with ``weight``; see `reference.convolve`.

    The cost of the product and of the gradient of the weights grows with the number of spikes, unless there are so many
    that torch's own products take less time. The backward pass keeps the bits of ``x``, and ``x`` itself only if it has
    values other than 0 and 1. On other devices than the CPU torch's own convolution runs.

    Parameters
    ----------
    x, weight, bias, packed_bits, mask
        As in `arguments.Call`.
    settings : Settings

    Returns
    -------
    Tensor [R, c_out, H', W']
    """
    if x.device.type != "cpu":
        return reference.convolve(x, weight, bias, settings)
    return run_conv(Call(x, weight, bias, *settings, packed_bits, mask)).out


def _save(call: Call, outputs: Outputs) -> Saved:
    return Saved(
        size=call.x.shape[1:],
        input_bits=outputs.input_bits if call.packed_bits is None else call.packed_bits,
        values=outputs.values,
        weight=call.weight,
        stride=call.stride,
        padding=call.padding,
        dilation=call.dilation,
        groups=call.groups,
        mask=call.mask,
    )


def _unshared(call: Call, outputs: Outputs) -> Outputs:
    bits = outputs.input_bits if call.packed_bits is None else call.packed_bits.new_empty(0)
    values = call.x.new_empty(0) if outputs.values is None else outputs.values.flatten().clone()
    return Outputs(outputs.out, bits, values)


def _fake(call: Call) -> Outputs:
    x, weight = call.x, call.weight
    along = zip(x.shape[2:], weight.shape[2:], call.stride, call.padding, call.dilation, strict=True)
    places = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in along]
    bits = x.new_empty(
        (x.shape[0], words(math.prod(x.shape[1:]))) if call.packed_bits is None else 0, dtype=torch.int64
    )
    values = x.new_empty(torch.library.get_ctx().new_dynamic_size())
    return Outputs(x.new_empty((x.shape[0], weight.shape[0], *places)), bits, values)


def _fake_gradients(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> list[Tensor]:
    shapes = ((grads[0].shape[0], *saved.size), saved.weight.shape, saved.weight.shape[:1])
    return [grads[0].new_empty(shape) for shape in shapes]


run_conv = Operator(
    "event_conv",
    Call,
    Outputs,
    Saved,
    forward=cpu.forward,
    save=_save,
    backward=cpu.backward,
    inputs=("x", "weight", "bias"),
    results=("out",),
    private=("input_bits", "values"),
    fake=_fake,
    fake_gradients=_fake_gradients,
    unshared=_unshared,
    devices=("cpu",),
)
