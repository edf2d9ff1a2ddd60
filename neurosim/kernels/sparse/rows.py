"""Synapses listed row by row: a row for each presynaptic neuron (compressed sparse rows)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.errors import InputError

MOST_NEURONS = 1 << 31  # that an index can name


class Rows(NamedTuple):
    """Synapses in order of their presynaptic neuron; weights are kept in the same order.

    Attributes
    ----------
    starts : Tensor [n_in + 1] of int64
        The synapses of neuron j are those from ``starts[j]`` up to, but without, ``starts[j + 1]``.
    post : Tensor [n] of uint16 or int32
        Postsynaptic neuron of each synapse.
    n_out : int
        Postsynaptic neurons.
    """

    starts: Tensor
    post: Tensor
    n_out: int

    @property
    def n_in(self) -> int:
        """Presynaptic neurons."""
        return self.starts.numel() - 1

    @property
    def mean(self) -> float:
        """Mean number of synapses of a presynaptic neuron."""
        return self.post.numel() / self.n_in

    @property
    def pre(self) -> Tensor:
        """Presynaptic neuron of each synapse [n], int64; computed at each call."""
        neurons = torch.arange(self.n_in, device=self.starts.device)
        return torch.repeat_interleave(neurons, self.starts.diff(), output_size=self.post.numel())


def index_type(count: int) -> torch.dtype:
    """Return the narrowest type that holds the indices of `count` neurons, or of as many steps of delay."""
    return torch.uint16 if count <= 1 << 16 else torch.int32


def sorted_rows(pre: Tensor, post: Tensor, n_in: int, n_out: int, delay: Tensor | None = None) -> tuple[Rows, Tensor]:
    """Return synapses as rows, in each row by delay, then by postsynaptic neuron, then in the order given.

    Parameters
    ----------
    pre, post : Tensor [n] of int64
        In 0 ... `n_in` - 1 and 0 ... `n_out` - 1.
    n_in, n_out : int
        From 1.
    delay : Tensor [n] of int64, optional
        Steps, from 0; all equal if left out.

    Returns
    -------
    rows : Rows
    order : Tensor [n] of int64
        Position of each synapse of `rows` in the tensors given.
    """
    longest = int(delay.max()) if delay is not None and delay.numel() else 0
    if n_in * (longest + 1) * n_out >= 1 << 63:
        raise InputError(f"{n_in} x {n_out} pairs of neurons with delays up to {longest} steps are too many to sort.")
    place = pre if delay is None else pre * (longest + 1) + delay
    order = torch.sort(place * n_out + post, stable=True).indices
    starts = torch.zeros(n_in + 1, dtype=torch.int64, device=pre.device)
    starts[1:] = torch.bincount(pre, minlength=n_in).cumsum(0)
    return Rows(starts, post[order].to(index_type(n_out)), n_out), order
