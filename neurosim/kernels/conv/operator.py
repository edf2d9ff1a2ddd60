"""The torch operator of a convolution of spikes, and the straight call of the same two functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.kernels.common.autograd import can_call_directly, forbid_double_backward
from neurosim.kernels.common.bits import pack_unless_known, words
from neurosim.kernels.conv import cpu as conv_cpu
from neurosim.kernels.conv.cpu import Saved, Settings


def event_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    settings: Settings,
    *,
    packed_bits: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Return the convolution of ``x`` with ``weight``, as ``torch.nn.functional.conv2d`` defines it.

    The forward product and the gradient of the weights cost what the spikes cost, unless there are so many that torch's
    own take less time. Kept for the backward pass are the bits of ``x``, and ``x`` itself only if it has values other
    than 0 and 1. On other devices than the CPU torch's own convolution runs.
    Not for use inside a transform of torch.func.

    Parameters
    ----------
    x : Tensor [R, c_in, H, W]
        Spikes, float32 or float64; R counts steps and samples.
    weight : Tensor [c_out, c_in / groups, kh, kw]
        Of the same type.
    bias : Tensor [c_out] or None
    settings : Settings
        Stride, padding, dilation and groups.
    packed_bits : Tensor [R, ceil(c_in H W / 64)] of int64, optional
        Where ``x`` is not 0, if whoever made it knows; it is 1 there.
    mask : Tensor [R, ceil(c_in H W / 64)] of int64, optional
        Where the gradient of ``x`` is needed; elsewhere it is 0. Everywhere if left out.

    Returns
    -------
    Tensor [R, c_out, H', W']
    """
    if x.device.type != "cpu":
        return functional.conv2d(x, weight, bias, *settings)
    tensors = (x, weight, bias, packed_bits, mask)
    if not can_call_directly(tensors):
        stride, padding, dilation, groups = settings
        return convolve(x, weight, bias, stride, padding, dilation, groups, packed_bits, mask)[0]
    if torch.is_grad_enabled():
        return _Direct.apply(settings, *tensors)
    x = x.contiguous()
    return conv_cpu.forward(x, weight, bias, settings, pack_unless_known(x.flatten(1), packed_bits))


class _Direct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        settings: Settings,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        packed_bits: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        x = x.contiguous()
        packed = pack_unless_known(x.flatten(1), packed_bits)
        ctx.save_for_backward(packed.bits, None if packed.is_binary else x, weight, mask)
        ctx.size, ctx.settings = tuple(x.shape[1:]), settings
        return conv_cpu.forward(x, weight, bias, settings, packed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        packed_bits, values, weight, mask = ctx.saved_tensors
        saved = Saved(ctx.size, packed_bits, values, weight, ctx.settings, mask)
        with torch.no_grad():
            found = conv_cpu.backward(grads[0], saved, ctx.needs_input_grad[1:4])
        return None, *forbid_double_backward(found), None, None


@torch.library.custom_op("neurosim::event_conv", mutates_args=(), device_types="cpu")
def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    packed_bits: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the convolution, the packed input unless given, and the input's values unless it is binary."""
    x = x.contiguous()
    packed = pack_unless_known(x.flatten(1), packed_bits)
    out = conv_cpu.forward(x, weight, bias, _settings(stride, padding, dilation, groups), packed)
    values = x.new_empty(0) if packed.is_binary else x.flatten().clone()
    return out, packed.bits if packed_bits is None else packed_bits.new_empty(0), values


@convolve.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    packed_bits: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    along = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    places = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in along]
    packed = x.new_empty((x.shape[0], words(math.prod(x.shape[1:]))) if packed_bits is None else 0, dtype=torch.int64)
    values = x.new_empty(torch.library.get_ctx().new_dynamic_size())
    return x.new_empty((x.shape[0], weight.shape[0], *places)), packed, values


@torch.library.custom_op("neurosim::event_conv_backward", mutates_args=(), device_types="cpu")
def convolve_backward(
    g: Tensor,
    size: Sequence[int],
    packed_bits: Tensor,
    values: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    mask: Tensor | None,
    needs: Sequence[bool],
) -> list[Tensor]:
    """Return the gradients of input, weight and bias that are needed."""
    kept = values.view(-1, *size) if values.numel() else None
    settings = _settings(stride, padding, dilation, groups)
    found = conv_cpu.backward(g, Saved(tuple(size), packed_bits, kept, weight, settings, mask), needs)
    return [each.contiguous() for each in found if each is not None]


@convolve_backward.register_fake
def _(
    g: Tensor,
    size: Sequence[int],
    packed_bits: Tensor,
    values: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    mask: Tensor | None,
    needs: Sequence[bool],
) -> list[Tensor]:
    shapes = ((g.shape[0], *size), weight.shape, weight.shape[:1])
    return [g.new_empty(shape) for shape, need in zip(shapes, needs, strict=True) if need]


def _settings(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int) -> Settings:
    return Settings(tuple(stride), tuple(padding), tuple(dilation), groups)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, weight, _, *settings, packed_bits, mask = inputs
    _, packed, values = output
    ctx.save_for_backward(packed if packed_bits is None else packed_bits, values, weight, mask)
    ctx.size, ctx.settings = list(x.shape[1:]), settings


def _backward(ctx: Any, g: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    packed_bits, values, weight, mask = ctx.saved_tensors
    needs = list(ctx.needs_input_grad[:3])
    found = iter(convolve_backward(g, ctx.size, packed_bits, values, weight, *ctx.settings, mask, needs))
    return *(next(found) if need else None for need in needs), None, None, None, None, None, None


convolve.register_autograd(_backward, setup_context=_setup_context)
convolve.register_autocast("cpu", torch.float32)
