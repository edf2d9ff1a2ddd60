"""Synapses with a delay each, listed row by row: a row for each presynaptic neuron, in order of delay."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.kernels.sparse.rows import Rows, index_type, sorted_rows

_BLOCK = 1 << 20  # synapses sorted at once


class DelayedRows(NamedTuple):
    """Synapses in order of their presynaptic neuron, then of their delay; weights are kept in the same order.

    Attributes
    ----------
    starts : Tensor [n_in + 1] of int64
        The synapses of neuron j are those from ``starts[j]`` up to, but without, ``starts[j + 1]``.
    post : Tensor [n] of uint16 or int32
        Postsynaptic neuron of each synapse.
    delay : Tensor [n] of uint16 or int32
        Steps, in 0 ... `span`.
    n_out : int
        Postsynaptic neurons.
    span : int
        Largest delay that there is room for, steps.
    bounds : Tensor [n_in (span + 1) + 1] of int32, optional
        The synapses of neuron j with delay d are those from ``bounds[j (span + 1) + d]`` up to the next bound. With
        it runs of few steps at once take less time: where a delay begins in a row is read and not searched.
    """

    starts: Tensor
    post: Tensor
    delay: Tensor
    n_out: int
    span: int
    bounds: Tensor | None = None

    @property
    def n_in(self) -> int:
        """Presynaptic neurons."""
        return self.starts.numel() - 1

    @property
    def pre(self) -> Tensor:
        """Presynaptic neuron of each synapse [n], int64; computed at each call."""
        return Rows(self.starts, self.post, self.n_out).pre

    def with_bounds(self) -> DelayedRows:
        """Return the same with `bounds`, unless these would take more than 4 bytes a synapse."""
        places = self.n_in * (self.span + 1)
        if places > self.post.numel() or self.post.numel() >= 1 << 31:
            return self
        bounds = torch.zeros(places + 1, dtype=torch.int32, device=self.starts.device)
        bounds[1:] = torch.bincount(self.pre * (self.span + 1) + self.delay.long(), minlength=places).cumsum(0)
        return self._replace(bounds=bounds)


def delayed_rows(
    pre: Tensor, post: Tensor, delay: Tensor, n_in: int, n_out: int, span: int
) -> tuple[DelayedRows, Tensor]:
    """Return synapses as rows, in each row by delay, then by postsynaptic neuron, then in the order given.

    Parameters
    ----------
    pre, post, delay : Tensor [n] of int64
        In 0 ... `n_in` - 1, 0 ... `n_out` - 1 and 0 ... `span`.
    n_in, n_out : int
        From 1.
    span : int
        Largest delay that there is room for, steps.

    Returns
    -------
    rows : DelayedRows
    order : Tensor [n] of int64
        Position of each synapse of `rows` in the tensors given.
    """
    rows, order = sorted_rows(pre, post, n_in, n_out, delay)
    return DelayedRows(rows.starts, rows.post, delay[order].to(index_type(span + 1)), n_out, span), order


def sort_by_delay(rows: Rows, delay: Tensor, weight: Tensor, span: int) -> DelayedRows:
    """Sort synapses in place by delay within each row, in memory for some of the rows.

    Parameters
    ----------
    rows : Rows
        Its `post` is sorted in place.
    delay : Tensor [n] of an integer type
        Steps, in 0 ... `span`; sorted in place.
    weight : Tensor [n]
        Sorted in place.
    span : int
        Largest delay that there is room for, steps.

    Returns
    -------
    DelayedRows
    """
    first = 0
    while first < rows.n_in:
        limit = rows.starts[first] + _BLOCK
        last = max(int(torch.searchsorted(rows.starts, limit, right=True)) - 1, first + 1)
        part = slice(int(rows.starts[first]), int(rows.starts[last]))
        row = torch.repeat_interleave(rows.starts[first : last + 1].diff())
        order = torch.sort(row * (span + 1) + delay[part], stable=True).indices
        for values in (_signed(rows.post), delay, weight):
            values[part] = values[part][order]
        first = last
    return DelayedRows(rows.starts, rows.post, delay.to(index_type(span + 1)), rows.n_out, span)


def _signed(indices: Tensor) -> Tensor:
    """Return a view of indices in a type that every version of torch can index."""
    return indices.view(torch.int16) if indices.dtype is torch.uint16 else indices


def all_to_all(delay: Tensor, span: int) -> tuple[DelayedRows, Tensor]:
    """Return synapses between all neurons with `delay` [n_out, n_in] of int64, and their order in ``weight.T``."""
    n_out, n_in = delay.shape
    pre = torch.arange(n_in, device=delay.device).repeat_interleave(n_out)
    post = torch.arange(n_out, device=delay.device).repeat(n_in)
    return delayed_rows(pre, post, delay.T.flatten(), n_in, n_out, span)
