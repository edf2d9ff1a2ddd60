"""The torch operator of a sparse product of spikes, and the direct call of the same two functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels.common.autograd import can_call_directly, forbid_double_backward
from neurosim.kernels.common.bits import pack_unless_known, words
from neurosim.kernels.sparse import cpu as sparse_cpu
from neurosim.kernels.sparse.rows import Rows


def event_sparse(
    x: Tensor, weight: Tensor, rows: Rows, *, packed_bits: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Return the currents that spikes cause through sparse synapses; see `reference.multiply`.

    The cost of all three products grows with the number of spikes where these are few; where they are many it is that
    of a pass over the synapses for several samples at once. The backward pass keeps the bits of ``x``, and ``x`` itself
    only if it has values other than 0 and 1. Not for use inside a transform of torch.func.

    Parameters
    ----------
    x : Tensor [R, n_in]
        Spikes on the CPU, float32 or float64; R counts steps and samples.
    weight : Tensor [n]
        Weight of each synapse in the order of `rows`, of the same type.
    rows : Rows
        The synapses. Several of one pair of neurons each count.
    packed_bits : Tensor [R, ceil(n_in / 64)] of int64, optional
        Where ``x`` is 1, if that is known; it is 0 elsewhere.
    mask : Tensor [R, ceil(n_in / 64)] of int64, optional
        Where the gradient of ``x`` is needed; elsewhere it is 0. Everywhere if left out.

    Returns
    -------
    Tensor [R, n_out]
    """
    tensors = (x, weight, packed_bits, mask)
    if not can_call_directly(tensors):
        return multiply(x, weight, *rows, packed_bits, mask)[0]
    if torch.is_grad_enabled():
        return _Direct.apply(rows, *tensors)
    x = x.contiguous()
    return sparse_cpu.forward(x, weight, rows, pack_unless_known(x, packed_bits))


class _Direct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Rows, x: Tensor, weight: Tensor, packed_bits: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        x = x.contiguous()
        packed = pack_unless_known(x, packed_bits)
        ctx.save_for_backward(packed.bits, None if packed.is_binary else x, weight, mask)
        ctx.rows = rows
        return sparse_cpu.forward(x, weight, rows, packed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        packed_bits, values, weight, mask = ctx.saved_tensors
        with torch.no_grad():
            needs = ctx.needs_input_grad[1:3]
            found = sparse_cpu.backward(grads[0], packed_bits, values, weight, ctx.rows, mask, needs)
        return None, *forbid_double_backward(found), None, None


@torch.library.custom_op("neurosim::event_sparse", mutates_args=(), device_types="cpu")
def multiply(
    x: Tensor,
    weight: Tensor,
    starts: Tensor,
    post: Tensor,
    n_out: int,
    packed_bits: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the currents, the packed bits of the input unless given, and its values if some are neither 0 nor 1."""
    x = x.contiguous()
    packed = pack_unless_known(x, packed_bits)
    out = sparse_cpu.forward(x, weight, Rows(starts, post, n_out), packed)
    values = x.new_empty(0) if packed.is_binary else x.flatten().clone()
    return out.contiguous(), packed.bits if packed_bits is None else packed_bits.new_empty(0), values


@multiply.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    starts: Tensor,
    post: Tensor,
    n_out: int,
    packed_bits: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    packed = x.new_empty((x.shape[0], words(x.shape[1])) if packed_bits is None else 0, dtype=torch.int64)
    return x.new_empty((x.shape[0], n_out)), packed, x.new_empty(torch.library.get_ctx().new_dynamic_size())


@torch.library.custom_op("neurosim::event_sparse_backward", mutates_args=(), device_types="cpu")
def multiply_backward(
    g: Tensor,
    packed_bits: Tensor,
    values: Tensor,
    weight: Tensor,
    starts: Tensor,
    post: Tensor,
    n_out: int,
    mask: Tensor | None,
    needs: Sequence[bool],
) -> list[Tensor]:
    """Return the gradients of input and weight that are needed."""
    rows = Rows(starts, post, n_out)
    graded = values.view(-1, rows.n_in) if values.numel() else None
    gradients = sparse_cpu.backward(g, packed_bits, graded, weight, rows, mask, needs)
    return [each.contiguous() for each in gradients if each is not None]


@multiply_backward.register_fake
def _(
    g: Tensor,
    packed_bits: Tensor,
    values: Tensor,
    weight: Tensor,
    starts: Tensor,
    post: Tensor,
    n_out: int,
    mask: Tensor | None,
    needs: Sequence[bool],
) -> list[Tensor]:
    shapes = ((g.shape[0], starts.shape[0] - 1), weight.shape)
    return [g.new_empty(shape) for shape, need in zip(shapes, needs, strict=True) if need]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, weight, *rows, n_out, packed_bits, mask = inputs
    _, packed, values = output
    ctx.save_for_backward(packed if packed_bits is None else packed_bits, values, weight, *rows, mask)
    ctx.n_out = n_out


def _backward(ctx: Any, g: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    *kept, mask = ctx.saved_tensors
    needs = list(ctx.needs_input_grad[:2])
    found = iter(multiply_backward(g, *kept, ctx.n_out, mask, needs))
    return *(next(found) if need else None for need in needs), None, None, None, None, None


multiply.register_autograd(_backward, setup_context=_setup_context)
multiply.register_autocast("cpu", torch.float32)
