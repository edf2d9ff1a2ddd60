"""The sparse product in torch's operations, a chunk of the synapses at a time: where no kernel runs.

It computes what `reference` defines, forward and backward, in memory that does not grow with the number of synapses
times the number of rows. It runs on any device and in any floating-point type, and costs the same whatever spikes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels.sparse.rows import Rows

_AT_ONCE = 1 << 24  # products that are in memory at once


def multiply(x: Tensor, weight: Tensor, rows: Rows) -> Tensor:
    """Return the currents [R, n_out] of ``x`` [R, n_in]; see `reference.multiply`."""
    current: Tensor = _Product.apply(x, weight, rows)
    return current


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rows: Rows) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rows = rows
        dtype = torch.result_type(x, weight)
        columns, weight = _columns(x), widened(weight)
        current = columns.new_zeros((rows.n_out, x.shape[0]), dtype=torch.result_type(columns, weight))
        for part, pre, post in _chunks(rows, x.shape[0]):
            current.index_add_(0, post, columns.index_select(0, pre) * weight[part, None])
        return current.T.to(dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        columns, gradients, wide = _columns(x), _columns(g), widened(weight)
        needs_x, needs_weight, _ = ctx.needs_input_grad
        g_x = torch.zeros_like(columns, dtype=gradients.dtype) if needs_x else None
        g_weight = [wide.new_zeros(0)] if needs_weight else None
        for part, pre, post in _chunks(ctx.rows, x.shape[0]):
            arrived = gradients.index_select(0, post)
            if g_x is not None:
                g_x.index_add_(0, pre, arrived * wide[part, None])
            if g_weight is not None:
                g_weight.append((arrived * columns.index_select(0, pre)).sum(1))
        return (
            None if g_x is None else g_x.T.to(x.dtype),
            None if g_weight is None else torch.cat(g_weight).to(weight.dtype),
            None,
        )


def _columns(x: Tensor) -> Tensor:
    """Return ``x`` [R, n] as [n, R], in which the values of a neuron are adjacent."""
    return widened(x).T.contiguous()


def widened(x: Tensor) -> Tensor:
    """Return half precision as single precision, in which sums are formed."""
    return x.float() if x.dtype.itemsize < 4 else x


def _chunks(rows: Rows, count: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield some of the synapses at a time, with their presynaptic and postsynaptic neurons."""
    size = max(_AT_ONCE // max(count, 1), 1)
    for first in range(0, rows.post.numel(), size):
        part = slice(first, min(first + size, rows.post.numel()))
        post = rows.post[part].long()
        places = torch.arange(first, first + post.numel(), device=post.device)
        pre = torch.searchsorted(rows.starts, places, right=True) - 1
        yield part, pre, post
