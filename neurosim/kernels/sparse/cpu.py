"""The sparse product of spikes on the CPU: spike by spike where they are few, else several rows of input at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.compiler.llvm.threads import spread
from neurosim.kernels.common import decisions
from neurosim.kernels.common.bits import MOST, REAL, WORD, Packed, count, events, unpack, words
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.sparse.cpu_code import (
    INDEX,
    LANES,
    forward_machine,
    masked_machine,
    together_machine,
    weight_machine,
    weight_together_machine,
)
from neurosim.kernels.sparse.rows import Rows

_WORTH_A_THREAD = 1 << 15  # synapses
_FORWARD, _INWARD, _WEIGHT = 1.3, 1.2, 2.4  # time of a synapse in a group of rows, see `pays`


def forward(x: Tensor, weight: Tensor, rows: Rows, packed: Packed) -> Tensor:
    """Return the currents of ``x`` [R, n_in], contiguous, whose nonzero values are those of `packed`."""
    is_event_driven = pays(rows, x.shape[0], packed.count, _lanes(x), _FORWARD)
    if decisions.observers:
        decisions.note_product("sparse", "cpu", is_event_driven, packed.count, x.numel())
    if is_event_driven:
        return by_spike(x, weight, rows, packed)
    return together(x, weight, rows, inward=False)


def by_spike(x: Tensor, weight: Tensor, rows: Rows, packed: Packed) -> Tensor:
    """Return the currents, one row of synapses for each spike."""
    samples, n_in = x.shape
    out = buffer_pool.empty((samples, rows.n_out), x.dtype)
    call = forward_machine(REAL[x.dtype], INDEX[rows.post.dtype], not packed.is_binary).call
    values = [] if packed.is_binary else [x]
    arrays = [rows.starts, rows.post, *events(packed.bits, packed.count), *values, weight.contiguous(), out]

    def part(first: int, last: int) -> None:
        call(*(t.data_ptr() for t in arrays), first, last, n_in, rows.n_out)

    spread(part, samples, _grain(rows, packed.count / max(samples, 1)))
    return out


def together(source: Tensor, weight: Tensor, rows: Rows, inward: bool) -> Tensor:
    """Return the product for several rows of input at once.

    Parameters
    ----------
    source : Tensor [R, n_in], or [R, n_out] if `inward`
        Spikes, or the gradient of the currents; contiguous.
    weight : Tensor [n]
    rows : Rows
    inward : bool
        Whether to return the gradient of the input in place of the currents.

    Returns
    -------
    Tensor [R, n_out], or [R, n_in] if `inward`
    """
    samples, lanes = source.shape[0], _lanes(source)
    if 0 < samples < lanes:
        return together(functional.pad(source, (0, 0, 0, lanes - samples)), weight, rows, inward)[:samples]
    call = together_machine(REAL[source.dtype], INDEX[rows.post.dtype], inward).call
    sizes = (rows.n_out, rows.n_in) if inward else (rows.n_in, rows.n_out)
    out = buffer_pool.empty((samples, sizes[1]), source.dtype)
    arrays = [rows.starts, rows.post, weight.contiguous(), source, out]

    def part(first: int, last: int) -> None:
        scratch = [torch.empty(-(-size // lanes) * lanes, lanes, dtype=source.dtype) for size in sizes]
        call(*(t.data_ptr() for t in (*arrays, *scratch)), first, last, samples, rows.n_in, rows.n_out)

    spread(part, -(-samples // lanes), _grain(rows, rows.n_in))
    return out


def backward(
    g: Tensor,
    bits: Tensor,
    values: Tensor | None,
    weight: Tensor,
    rows: Rows,
    mask: Tensor | None,
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients of input and weight, None where one is not needed.

    Parameters
    ----------
    g : Tensor [R, n_out]
        Gradient of the currents.
    bits : Tensor [R, W]
        Where the input is not 0.
    values : Tensor [R, n_in] or None
        The input, if it has values other than 0 and 1.
    weight : Tensor [n]
    rows : Rows
    mask : Tensor [R, W] or None
        Bits of the inputs whose gradient is needed, None for all.
    needs : sequence of bool
        Which are needed.
    """
    g = g.contiguous()
    return [
        inward(g, weight, rows, mask) if needs[0] else None,
        weight_gradient(g, bits, values, rows) if needs[1] else None,
    ]


def weight_gradient(g: Tensor, bits: Tensor, values: Tensor | None, rows: Rows) -> Tensor:
    """Return the gradient of the weights [n]; a thread computes that of some of the presynaptic neurons."""
    g_weight = g.new_zeros(rows.post.shape)
    if pays(rows, g.shape[0], count(bits), _lanes(g), _WEIGHT):
        weight_by_spike(g, bits, values, rows, g_weight)
    else:
        weight_together(g, bits, values, rows, g_weight)
    return g_weight


def weight_by_spike(g: Tensor, bits: Tensor, values: Tensor | None, rows: Rows, g_weight: Tensor) -> None:
    """Add the gradient of the weights to `g_weight` [n], one row of synapses for each spike."""
    call = weight_machine(REAL[g.dtype], INDEX[rows.post.dtype], values is not None).call
    arrays = [rows.starts, rows.post, bits, *([] if values is None else [values]), g, g_weight]

    def part(first: int, last: int) -> None:
        call(*(t.data_ptr() for t in arrays), first, last, g.shape[0], rows.n_in, rows.n_out)

    spread(part, words(rows.n_in))


def weight_together(g: Tensor, bits: Tensor, values: Tensor | None, rows: Rows, g_weight: Tensor) -> None:
    """Add the gradient of the weights to `g_weight` [n], several rows of input at once."""
    lanes = _lanes(g)
    groups, left = divmod(g.shape[0], lanes)
    x = unpack(bits, rows.n_in, g.dtype) if values is None else values
    call = weight_together_machine(REAL[g.dtype], INDEX[rows.post.dtype]).call
    arrays = [rows.starts, rows.post, x, g, g_weight]

    def part(first: int, last: int) -> None:
        first, last = first * WORD, min(last * WORD, rows.n_in)
        sizes = last - first, rows.n_out
        scratch = [torch.empty(-(-size // lanes) * lanes, lanes, dtype=g.dtype) for size in sizes]
        call(*(t.data_ptr() for t in (*arrays, *scratch)), first, last, groups, rows.n_in, rows.n_out)

    spread(part, words(rows.n_in))
    if left:
        weight_by_spike(g[-left:], bits[-left:], None if values is None else values[-left:], rows, g_weight)


def inward(g: Tensor, weight: Tensor, rows: Rows, mask: Tensor | None) -> Tensor:
    """Return the gradient of the input [R, n_in], 0 outside the mask."""
    inputs = g.shape[0] * rows.n_in
    wanted = inputs if mask is None else count(mask)
    if mask is None or wanted >= inputs:  # a mask of all may have bits beyond the last input
        return together(g, weight, rows, inward=True)
    if pays(rows, g.shape[0], wanted, _lanes(g), _INWARD, skips=False):
        return masked(g, weight, rows, mask)
    return together(g, weight, rows, inward=True).mul_(unpack(mask, rows.n_in, g.dtype))


def masked(g: Tensor, weight: Tensor, rows: Rows, mask: Tensor) -> Tensor:
    """Return the gradient of the input, one row of synapses for each input in the mask."""
    samples, listed = g.shape[0], events(mask)
    g_x = buffer_pool.empty((samples, rows.n_in), g.dtype)
    call = masked_machine(REAL[g.dtype], INDEX[rows.post.dtype]).call
    arrays = [rows.starts, rows.post, *listed, weight.contiguous(), g, g_x]

    def part(first: int, last: int) -> None:
        call(*(t.data_ptr() for t in arrays), first, last, rows.n_in, rows.n_out)

    spread(part, samples, _grain(rows, listed[1].numel() / max(samples, 1)))
    return g_x


def _lanes(x: Tensor) -> int:
    return LANES[REAL[x.dtype]]


def _grain(rows: Rows, spikes: float) -> int:
    """Return how many rows of input a thread takes at least, each with this number of spikes."""
    return int(_WORTH_A_THREAD / max(spikes * rows.mean + rows.n_out, 1)) + 1


def pays(rows: Rows, samples: int, count: int, lanes: int, each: float, skips: bool = True) -> bool:
    """Whether one row of synapses for each of `count` spikes takes less time than `samples` in groups of `lanes`.

    The unit is the time that a spike takes for one synapse. A whole group takes `each` for one; where a group `skips`
    neurons without a spike in any of its samples, only the others count. Measured on one x86-64 processor with
    vectors of 32 bytes, of which a group fills two.
    """
    inputs = samples * rows.n_in
    together = -(-samples // lanes) * rows.n_in * each
    if skips and inputs:
        together *= 1 - (1 - count / inputs) ** lanes
    return count <= together and count < MOST
