"""The torch operator of a sparse product with delays, and the direct call of the same two functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels.common.autograd import can_call_directly, forbid_double_backward
from neurosim.kernels.common.bits import Packed, pack, words
from neurosim.kernels.delayed import cpu as delayed_cpu
from neurosim.kernels.delayed.rows import DelayedRows


def delayed_sparse(line: Tensor, weight: Tensor, rows: DelayedRows) -> Tensor:
    """Return the currents that spikes cause after the delay of each synapse; see `reference.multiply`.

    The cost of the currents of spikes 0/1 grows with their number. The backward pass keeps the bits of `line`, and
    `line` itself only if it has values other than 0 and 1. Not for use inside a transform of torch.func.

    Parameters
    ----------
    line : Tensor [span + T, B, n_in]
        Spikes on the CPU, float32 or float64.
    weight : Tensor [n]
        Weight of each synapse in the order of `rows`, of the same type.
    rows : DelayedRows
        The synapses.

    Returns
    -------
    Tensor [T, B, n_out]
    """
    if not can_call_directly((line, weight)):
        return multiply(line, weight, *rows)[0]
    if torch.is_grad_enabled():
        return _Direct.apply(rows, line, weight)
    line = line.contiguous()
    return delayed_cpu.forward(line, weight, rows, _packed(line))


def _packed(line: Tensor) -> Packed:
    return pack(line.detach().flatten(0, 1))


class _Direct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: DelayedRows, line: Tensor, weight: Tensor) -> Tensor:
        line = line.contiguous()
        packed = _packed(line)
        ctx.save_for_backward(packed.bits, None if packed.is_binary else line, weight)
        ctx.rows = rows
        return delayed_cpu.forward(line, weight, rows, packed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        bits, values, weight = ctx.saved_tensors
        with torch.no_grad():
            gradients = delayed_cpu.backward(grads[0], bits, values, weight, ctx.rows, ctx.needs_input_grad[1:])
        return None, *forbid_double_backward(gradients)


@torch.library.custom_op("neurosim::delayed_sparse", mutates_args=(), device_types="cpu")
def multiply(
    line: Tensor,
    weight: Tensor,
    starts: Tensor,
    post: Tensor,
    delay: Tensor,
    n_out: int,
    span: int,
    bounds: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the currents, the packed input, and its values if some are neither 0 nor 1."""
    line = line.contiguous()
    packed = _packed(line)
    out = delayed_cpu.forward(line, weight, DelayedRows(starts, post, delay, n_out, span, bounds), packed)
    return out.contiguous(), packed.bits, line.new_empty(0) if packed.is_binary else line.flatten().clone()


@multiply.register_fake
def _(
    line: Tensor,
    weight: Tensor,
    starts: Tensor,
    post: Tensor,
    delay: Tensor,
    n_out: int,
    span: int,
    bounds: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    steps, batch, n_in = line.shape
    bits = line.new_empty((steps * batch, words(n_in)), dtype=torch.int64)
    out = line.new_empty((steps - span, batch, n_out))
    return out, bits, line.new_empty(torch.library.get_ctx().new_dynamic_size())


@torch.library.custom_op("neurosim::delayed_sparse_backward", mutates_args=(), device_types="cpu")
def multiply_backward(
    g: Tensor,
    bits: Tensor,
    values: Tensor,
    weight: Tensor,
    starts: Tensor,
    post: Tensor,
    delay: Tensor,
    n_out: int,
    span: int,
    bounds: Tensor | None,
    needs: Sequence[bool],
) -> list[Tensor]:
    """Return the gradients of line and weight that are needed."""
    rows = DelayedRows(starts, post, delay, n_out, span, bounds)
    line = values.view(-1, g.shape[1], rows.n_in) if values.numel() else None
    gradients = delayed_cpu.backward(g, bits, line, weight, rows, needs)
    return [each.contiguous() for each in gradients if each is not None]


@multiply_backward.register_fake
def _(
    g: Tensor,
    bits: Tensor,
    values: Tensor,
    weight: Tensor,
    starts: Tensor,
    post: Tensor,
    delay: Tensor,
    n_out: int,
    span: int,
    bounds: Tensor | None,
    needs: Sequence[bool],
) -> list[Tensor]:
    shapes = ((g.shape[0] + span, g.shape[1], starts.shape[0] - 1), weight.shape)
    return [g.new_empty(shape) for shape, need in zip(shapes, needs, strict=True) if need]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, weight, starts, post, delay, ctx.n_out, ctx.span, bounds = inputs
    _, bits, values = output
    ctx.save_for_backward(bits, values, weight, starts, post, delay, bounds)


def _backward(ctx: Any, g: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:2])
    *saved, bounds = ctx.saved_tensors
    gradients = iter(multiply_backward(g, *saved, ctx.n_out, ctx.span, bounds, needs))
    return *(next(gradients) if need else None for need in needs), None, None, None, None, None, None


multiply.register_autograd(_backward, setup_context=_setup_context)
multiply.register_autocast("cpu", torch.float32)
