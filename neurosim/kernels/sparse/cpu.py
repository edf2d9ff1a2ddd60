"""Running a sparse product of spikes on the CPU: spike by spike where they are few, else several rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.compiler.llvm.threads import spread
from neurosim.kernels.common.bits import MOST, REAL, WORD, Packed, count, events, unpack, words
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.sparse.cpu_code import (
    ROWS,
    forward_machine,
    masked_machine,
    together_machine,
    weight_machine,
    weight_together_machine,
)

_WORTH_A_THREAD = 1 << 15  # connections
_FORWARD, _INWARD, _WEIGHT = 1.3, 1.2, 2.4  # time of a connection in a group of rows, see `pays`


class FanOut(NamedTuple):
    """Connections listed by the neuron before.

    Attributes
    ----------
    starts : Tensor [n_in + 1] of int32
        Those of neuron j stand from ``starts[j]`` up to before ``starts[j + 1]``.
    after : Tensor [n] of int32
        The neuron after.
    order : Tensor [n] of int32
        Place of each in the list by the neuron after.
    back : Tensor [n] of int32
        Place of those listed by the neuron after.
    n_out : int
        Neurons after.
    """

    starts: Tensor
    after: Tensor
    order: Tensor
    back: Tensor
    n_out: int

    @property
    def n_in(self) -> int:
        """Neurons before."""
        return self.starts.numel() - 1

    @property
    def mean(self) -> float:
        """Mean number of connections of a neuron before."""
        return self.after.numel() / self.n_in


def fan_out(connections: Tensor, n_in: int, n_out: int) -> FanOut:
    """Return ``connections`` [2, n], rows post and pre, sorted by post, as lists by pre."""
    after, before = connections
    order = torch.sort(before, stable=True).indices
    back = torch.empty_like(order)
    back[order] = torch.arange(order.numel(), device=order.device)
    starts = torch.zeros(n_in + 1, dtype=torch.int32, device=before.device)
    starts[1:] = torch.bincount(before, minlength=n_in).cumsum(0)
    return FanOut(starts, after[order].int(), order.int(), back.int(), n_out)


def forward(x: Tensor, weight: Tensor, lists: FanOut, packed: Packed) -> Tensor:
    """Return the currents of ``x`` [R, n_in], contiguous, of which `packed` is what is not 0."""
    if pays(lists, x.shape[0], packed.count, _lanes(x), _FORWARD):
        return by_spike(x, weight, lists, packed)
    return together(x, weight, lists, inward=False)


def by_spike(x: Tensor, weight: Tensor, lists: FanOut, packed: Packed) -> Tensor:
    """Return the currents, one list for each spike."""
    rows, n_in = x.shape
    out = buffer_pool.empty((rows, lists.n_out), x.dtype)
    ordered = packed.count > n_in  # else fewer weights are read than there are
    call = forward_machine(REAL[x.dtype], not packed.ones, ordered).call
    spikes = [*events(packed.bits, packed.count), *([] if packed.ones else [x])]
    weights = [weight.index_select(0, lists.order)] if ordered else [lists.order, weight.contiguous()]
    arrays = [lists.starts, lists.after, *spikes, *weights, out]

    def part(first: int, last: int) -> None:
        call(*(t.data_ptr() for t in arrays), first, last, n_in, lists.n_out)

    spread(part, rows, _grain(lists, packed.count / max(rows, 1)))
    return out


def together(given: Tensor, weight: Tensor, lists: FanOut, inward: bool) -> Tensor:
    """Return the currents of ``given`` [R, n_in], or `inward` the gradients of the input of ``given`` [R, n_out]."""
    rows, lanes = given.shape[0], _lanes(given)
    if 0 < rows < lanes:
        return together(functional.pad(given, (0, 0, 0, lanes - rows)), weight, lists, inward)[:rows]
    call = together_machine(REAL[given.dtype], inward).call
    sizes = (lists.n_out, lists.n_in) if inward else (lists.n_in, lists.n_out)
    made = buffer_pool.empty((rows, sizes[1]), given.dtype)
    arrays = [lists.starts, lists.after, weight.index_select(0, lists.order), given, made]

    def part(first: int, last: int) -> None:
        rooms = [torch.empty(-(-size // lanes) * lanes, lanes, dtype=given.dtype) for size in sizes]
        call(*(t.data_ptr() for t in (*arrays, *rooms)), first, last, rows, lists.n_in, lists.n_out)

    spread(part, -(-rows // lanes), _grain(lists, lists.n_in))
    return made


def backward(
    g: Tensor,
    bits: Tensor,
    values: Tensor | None,
    weight: Tensor,
    lists: FanOut,
    active: Tensor | None,
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients of input and weight, None for those that nobody needs.

    Parameters
    ----------
    g : Tensor [R, n_out]
        Gradient of the currents.
    bits : Tensor [R, W]
        Where the input is not 0.
    values : Tensor [R, n_in] or None
        The input, if it has values other than 0 and 1.
    weight : Tensor [n]
    lists : FanOut
    active : Tensor [R, W] or None
        Bits of the inputs whose gradient is needed, None for all.
    needs : sequence of bool
        Which are needed.
    """
    g = g.contiguous()
    return [
        inward(g, weight, lists, active) if needs[0] else None,
        weight_gradient(g, bits, values, lists) if needs[1] else None,
    ]


def weight_gradient(g: Tensor, bits: Tensor, values: Tensor | None, lists: FanOut) -> Tensor:
    """Return the gradient of the weights [n]; each thread owns those of some of the neurons before."""
    found = g.new_zeros(lists.order.shape)
    if pays(lists, g.shape[0], count(bits), _lanes(g), _WEIGHT):
        weight_by_spike(g, bits, values, lists, found)
    else:
        weight_together(g, bits, values, lists, found)
    return found.index_select(0, lists.back)


def weight_by_spike(g: Tensor, bits: Tensor, values: Tensor | None, lists: FanOut, found: Tensor) -> None:
    """Add the gradient of the weights to `found` [n], one list for each spike."""
    call = weight_machine(REAL[g.dtype], values is not None).call
    arrays = [lists.starts, lists.after, bits, *([] if values is None else [values]), g, found]

    def part(first: int, last: int) -> None:
        call(*(t.data_ptr() for t in arrays), first, last, g.shape[0], lists.n_in, lists.n_out)

    spread(part, words(lists.n_in))


def weight_together(g: Tensor, bits: Tensor, values: Tensor | None, lists: FanOut, found: Tensor) -> None:
    """Add the gradient of the weights to `found` [n], several rows at once."""
    lanes = _lanes(g)
    groups, left = divmod(g.shape[0], lanes)
    x = unpack(bits, lists.n_in, g.dtype) if values is None else values
    call = weight_together_machine(REAL[g.dtype]).call
    arrays = [lists.starts, lists.after, x, g, found]

    def part(first: int, last: int) -> None:
        first, last = first * WORD, min(last * WORD, lists.n_in)
        rooms = [torch.empty(-(-size // lanes) * lanes, lanes, dtype=g.dtype) for size in (last - first, lists.n_out)]
        call(*(t.data_ptr() for t in (*arrays, *rooms)), first, last, groups, lists.n_in, lists.n_out)

    spread(part, words(lists.n_in))
    if left:
        weight_by_spike(g[-left:], bits[-left:], None if values is None else values[-left:], lists, found)


def inward(g: Tensor, weight: Tensor, lists: FanOut, active: Tensor | None) -> Tensor:
    """Return the gradient of the input [R, n_in], 0 where it is not active."""
    inputs = g.shape[0] * lists.n_in
    looked_at = inputs if active is None else count(active)
    if active is None or looked_at >= inputs:  # a mask of all may have bits beyond the last input
        return together(g, weight, lists, inward=True)
    if pays(lists, g.shape[0], looked_at, _lanes(g), _INWARD, skips=False):
        return masked(g, weight, lists, active)
    return together(g, weight, lists, inward=True).mul_(unpack(active, lists.n_in, g.dtype))


def masked(g: Tensor, weight: Tensor, lists: FanOut, active: Tensor) -> Tensor:
    """Return the gradient of the input, one list for each active input."""
    rows, listed = g.shape[0], events(active)
    found = buffer_pool.empty((rows, lists.n_in), g.dtype)
    call = masked_machine(REAL[g.dtype]).call
    arrays = [lists.starts, lists.after, *listed, weight.index_select(0, lists.order), g, found]

    def part(first: int, last: int) -> None:
        call(*(t.data_ptr() for t in arrays), first, last, lists.n_in, lists.n_out)

    spread(part, rows, _grain(lists, listed[1].numel() / max(rows, 1)))
    return found


def _lanes(x: Tensor) -> int:
    return ROWS[REAL[x.dtype]]


def _grain(lists: FanOut, spikes: float) -> int:
    """Return how many rows with so many spikes each are worth a thread."""
    return int(_WORTH_A_THREAD / max(spikes * lists.mean + lists.n_out, 1)) + 1


def pays(lists: FanOut, rows: int, count: int, lanes: int, each: float, skips: bool = True) -> bool:
    """Whether one list for each of `count` spikes takes less time than all `rows` in groups of `lanes`.

    Unit is the time in which a spike takes one connection. For a whole group that takes `each`; where a group `skips`
    neurons of which no row has a spike, it is counted only for the others. Measured on one x86-64 processor with
    vectors of 32 bytes, of which a group fills two.
    """
    all_of_them = rows * lists.n_in
    together = -(-rows // lanes) * lists.n_in * each
    if skips and all_of_them:
        together *= 1 - (1 - count / all_of_them) ** lanes
    return count <= together and count < MOST
