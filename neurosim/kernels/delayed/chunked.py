"""The sparse product with delays in torch's operations, a chunk of the synapses at a time: where no kernel runs.

It computes what `reference` defines, forward and backward, in memory that does not grow with the number of synapses
times that of steps. It runs on any device and in any floating-point type, and costs the same for any number of spikes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels.delayed.rows import DelayedRows
from neurosim.kernels.sparse.chunked import widened

_AT_ONCE = 1 << 24  # products that are in memory at once


def multiply(line: Tensor, weight: Tensor, rows: DelayedRows) -> Tensor:
    """Return the currents [T, B, n_out] of ``line`` [span + T, B, n_in]; see `reference.multiply`."""
    current: Tensor = _Product.apply(line, weight, rows)
    return current


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, line: Tensor, weight: Tensor, rows: DelayedRows) -> Tensor:
        ctx.save_for_backward(line, weight)
        ctx.rows = rows
        values, wide, batch = _by_neuron(line), widened(weight), line.shape[1]
        steps = line.shape[0] - rows.span
        kind = torch.result_type(values, wide)
        current = values.new_zeros((rows.n_out, steps * batch), dtype=kind)
        for part, places, post in _chunks(rows, line.shape[0], batch):
            current.index_add_(0, post, values.take(places) * wide[part, None])
        dtype = torch.result_type(line, weight)
        return current.view(rows.n_out, steps, batch).permute(1, 2, 0).to(dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        line, weight = ctx.saved_tensors
        values, wide, batch = _by_neuron(line), widened(weight), line.shape[1]
        gradients = _by_neuron(g).flatten(1)
        needs_line, needs_weight, _ = ctx.needs_input_grad
        g_values = torch.zeros_like(values, dtype=gradients.dtype).flatten() if needs_line else None
        g_weight = [wide.new_zeros(0)] if needs_weight else None
        for part, places, post in _chunks(ctx.rows, line.shape[0], batch):
            arrived = gradients.index_select(0, post)
            if g_values is not None:
                g_values.index_add_(0, places.flatten(), (arrived * wide[part, None]).flatten())
            if g_weight is not None:
                g_weight.append((arrived * values.take(places)).sum(1))
        return (
            None if g_values is None else g_values.view_as(values).permute(1, 2, 0).to(line.dtype),
            None if g_weight is None else torch.cat(g_weight).to(weight.dtype),
            None,
        )


def _by_neuron(x: Tensor) -> Tensor:
    """Return ``x`` [T, B, n] as [n, T, B]."""
    return widened(x).permute(2, 0, 1).contiguous()


def _chunks(rows: DelayedRows, length: int, batch: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield some of the synapses at a time: which, their places in the flat [n_in, length, B], and their targets."""
    count = (length - rows.span) * batch
    every = torch.arange(count, device=rows.starts.device)
    size = max(_AT_ONCE // max(count, 1), 1)
    for first in range(0, rows.post.numel(), size):
        part = slice(first, min(first + size, rows.post.numel()))
        post, delay = rows.post[part].long(), rows.delay[part].long()
        synapses = torch.arange(first, first + post.numel(), device=post.device)
        pre = torch.searchsorted(rows.starts, synapses, right=True) - 1
        begin = pre * (length * batch) + (rows.span - delay) * batch
        yield part, begin[:, None] + every, post
