"""The sparse product of spikes on the CPU: spike by spike where they are few, else several rows of input at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.compiler.llvm.threads import spread
from neurosim.kernels.common import decisions
from neurosim.kernels.common.bits import REAL, WORD, Packed, count, events, pack_unless_known, unpack, words
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.common.event_product import ProductOutputs, graded_values
from neurosim.kernels.common.operator import Gradients, Needs
from neurosim.kernels.sparse.arguments import Call, Saved
from neurosim.kernels.sparse.cpu_code import (
    INDEX,
    LANES,
    forward_machine,
    masked_machine,
    together_machine,
    weight_machine,
    weight_together_machine,
)
from neurosim.kernels.sparse.policy import FORWARD, INWARD, WEIGHT, is_event_driven
from neurosim.kernels.sparse.rows import Rows

_PER_THREAD = 1 << 15  # synapses, at least


def forward(call: Call) -> ProductOutputs:
    """Run the product."""
    x, rows = call.x.contiguous(), call.rows
    packed = pack_unless_known(x, call.packed_bits)
    by_events = is_event_driven(rows, x.shape[0], packed.count, _lanes(x), FORWARD)
    if decisions.observers:
        decisions.note_product("sparse", "cpu", by_events, packed.count, x.numel())
    out = by_spike(x, call.weight, rows, packed) if by_events else together(x, call.weight, rows, inward=False)
    return ProductOutputs(out, packed.bits, None if packed.is_binary else x)


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


def backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    """Return the gradients of input and weight."""
    g, rows = grads[0].contiguous(), saved.rows
    values = graded_values(saved.values, (-1, rows.n_in))
    return [
        inward(g, saved.weight, rows, saved.mask) if needs[0] else None,
        weight_gradient(g, saved.input_bits, values, rows) if needs[1] else None,
    ]


def weight_gradient(g: Tensor, bits: Tensor, values: Tensor | None, rows: Rows) -> Tensor:
    """Return the gradient of the weights [n]; a thread computes that of some of the presynaptic neurons."""
    g_weight = g.new_zeros(rows.post.shape)
    if is_event_driven(rows, g.shape[0], count(bits), _lanes(g), WEIGHT):
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
    in_mask = inputs if mask is None else count(mask)
    if mask is None or in_mask >= inputs:  # a mask of all may have bits beyond the last input
        return together(g, weight, rows, inward=True)
    if is_event_driven(rows, g.shape[0], in_mask, _lanes(g), INWARD, skips=False):
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
    return int(_PER_THREAD / max(spikes * rows.mean + rows.n_out, 1)) + 1
