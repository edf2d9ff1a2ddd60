"""The sparse product in torch's operations, a chunk of the synapses at a time: where no kernel runs.

It computes what `reference` defines, forward and backward, in memory that does not grow with the number of synapses
times the number of rows. It runs on any device and in any floating-point type, and costs the same for any number of
spikes.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels.sparse.rows import Rows

_AT_ONCE = 1 << 24  # products that are in memory at once


def multiply(x: Tensor, weight: Tensor, rows: Rows) -> Tensor:
    """Return the currents [R, n_out] of ``x`` [R, n_in]; see `reference.multiply`."""
    return chunked_product(x, weight, _UndelayedInputs(rows))


class SynapseInputs(abc.ABC):
    """Synapses, and the values of the input that each of them multiplies.

    Parameters
    ----------
    rows : Rows
    span : int
        Steps of the input before that of the first current.
    """

    def __init__(self, rows: Rows, span: int = 0) -> None:
        self.rows, self.span = rows, span

    @abc.abstractmethod
    def places(self, pre: Tensor, part: slice, lead: Sequence[int]) -> Tensor:
        """Return where the inputs of some synapses are.

        Parameters
        ----------
        pre : Tensor [n] of int64
            Their presynaptic neurons.
        part : slice
            Which synapses of `rows` they are.
        lead : sequence of int
            Shape of the currents without their last axis.
        """

    @abc.abstractmethod
    def gather(self, values: Tensor, places: Tensor) -> Tensor:
        """Return the inputs of some synapses [n, R] for input ``values`` [n_in, ...] and R currents of a neuron."""

    @abc.abstractmethod
    def scatter_add(self, values: Tensor, places: Tensor, shares: Tensor) -> None:
        """Add the ``shares`` [n, R] of some synapses to the gradient of the input ``values`` [n_in, ...]."""


class _UndelayedInputs(SynapseInputs):
    def places(self, pre: Tensor, part: slice, lead: Sequence[int]) -> Tensor:
        return pre

    def gather(self, values: Tensor, places: Tensor) -> Tensor:
        return values.index_select(0, places)

    def scatter_add(self, values: Tensor, places: Tensor, shares: Tensor) -> None:
        values.index_add_(0, places, shares)


def chunked_product(x: Tensor, weight: Tensor, inputs: SynapseInputs) -> Tensor:
    """Return the currents [..., n_out] of ``x`` [..., n_in], whose first axis is longer by the span."""
    current: Tensor = _Product.apply(x, weight, inputs)
    return current


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, inputs: SynapseInputs) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.inputs = inputs
        values, wide, lead, n_out = _by_neuron(x), _widened(weight), _lead(x, inputs), inputs.rows.n_out
        current = values.new_zeros((n_out, math.prod(lead)), dtype=torch.result_type(values, wide))
        for part, places, post in _chunks(inputs, lead):
            current.index_add_(0, post, inputs.gather(values, places) * wide[part, None])
        return current.view(n_out, *lead).movedim(0, -1).to(torch.result_type(x, weight))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), inputs = ctx.saved_tensors, ctx.inputs
        values, gradients, wide, lead = _by_neuron(x), _by_neuron(g).flatten(1), _widened(weight), _lead(x, inputs)
        needs_x, needs_weight, _ = ctx.needs_input_grad
        g_values = torch.zeros_like(values, dtype=gradients.dtype) if needs_x else None
        g_weight = [wide.new_zeros(0)] if needs_weight else None
        for part, places, post in _chunks(inputs, lead):
            arrived = gradients.index_select(0, post)
            if g_values is not None:
                inputs.scatter_add(g_values, places, arrived * wide[part, None])
            if g_weight is not None:
                g_weight.append((arrived * inputs.gather(values, places)).sum(1))
        return (
            None if g_values is None else g_values.movedim(0, -1).to(x.dtype),
            None if g_weight is None else torch.cat(g_weight).to(weight.dtype),
            None,
        )


def _lead(x: Tensor, inputs: SynapseInputs) -> tuple[int, ...]:
    """Return the shape of the currents of `x` without their last axis."""
    return x.shape[0] - inputs.span, *x.shape[1:-1]


def _by_neuron(x: Tensor) -> Tensor:
    """Return ``x`` [..., n] as [n, ...], in which the values of a neuron are adjacent."""
    return _widened(x).movedim(-1, 0).contiguous()


def _widened(x: Tensor) -> Tensor:
    """Return half precision as single precision, in which sums are formed."""
    return x.float() if x.dtype.itemsize < 4 else x


def _chunks(inputs: SynapseInputs, lead: Sequence[int]) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield some of the synapses at a time: which, the places of their inputs, and their postsynaptic neurons."""
    rows = inputs.rows
    size = max(_AT_ONCE // max(math.prod(lead), 1), 1)
    for first in range(0, rows.post.numel(), size):
        part = slice(first, min(first + size, rows.post.numel()))
        post = rows.post[part].long()
        synapses = torch.arange(first, first + post.numel(), device=post.device)
        pre = torch.searchsorted(rows.starts, synapses, right=True) - 1
        yield part, inputs.places(pre, part, lead), post
