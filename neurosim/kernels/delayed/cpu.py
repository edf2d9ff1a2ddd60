"""The sparse product with delays on the CPU: spike by spike, or as many steps at once as a vector has lanes.

The currents of spikes 0/1 are always summed spike by spike, in order of the spikes' step, then of their neuron, those
of other input always several steps at once: splitting a run then gives the same bits. The gradient of the weights is
computed in the faster way.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from neurosim.compiler.llvm.threads import spread
from neurosim.kernels.common import decisions
from neurosim.kernels.common.bits import MOST, REAL, WORD, Packed, count, events, pack, unpack, words
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.common.event_product import ProductOutputs, graded_values
from neurosim.kernels.common.operator import Gradients, Needs
from neurosim.kernels.delayed.arguments import Call, Saved
from neurosim.kernels.delayed.cpu_code import (
    LANES,
    forward_kernel,
    forward_together_kernel,
    inward_kernel,
    weight_kernel,
    weight_together_kernel,
)
from neurosim.kernels.delayed.policy import is_event_driven
from neurosim.kernels.delayed.rows import DelayedRows
from neurosim.kernels.sparse.cpu_code import INDEX

_PER_THREAD = 1 << 15  # synapses, at least
_CACHE_LINE = 64  # bytes


def forward(call: Call) -> ProductOutputs:
    """Run the product."""
    line, rows = call.line.contiguous(), call.rows
    packed = pack(line.detach().flatten(0, 1))
    by_events = packed.is_binary and packed.count < MOST
    if not line.shape[1]:
        out = line.new_zeros((line.shape[0] - rows.span, 0, rows.n_out))
    elif by_events:
        out = by_spike(packed, line.shape[1], call.weight, rows)
    else:
        out = together(line, call.weight, rows)
    if decisions.observers and line.shape[1]:
        decisions.note("delayed", "cpu", "event-driven" if by_events else "dense", "event-driven for spikes 0/1")
    return ProductOutputs(out, packed.bits, None if packed.is_binary else line)


def by_spike(packed: Packed, batch: int, weight: Tensor, rows: DelayedRows) -> Tensor:
    """Return the currents, one part of a row of synapses for each spike.

    Parameters
    ----------
    packed : Packed
        Spikes 0/1 of ``span + T`` steps, a row for each step and sample.
    batch : int
        Samples, from 1.
    weight : Tensor [n]
        In float32 or float64.
    rows : DelayedRows

    Returns
    -------
    Tensor [T, B, n_out]
        The sum over spikes in order of their step, then of their neuron, from 0 on.
    """
    steps = packed.bits.shape[0] // batch - rows.span
    out = weight.new_zeros((steps, batch, rows.n_out))
    if not packed.count:
        return out
    bounds = [] if rows.bounds is None else [rows.bounds]
    kernel = forward_kernel(*_types(weight, rows), bool(bounds))
    arrays = [*rows[:3], *bounds, weight.contiguous(), *events(packed.bits, packed.count), out]
    work = packed.count * rows.post.numel() / (rows.n_in * batch)  # of a sample
    grain = int(_PER_THREAD / max(work, 1)) + 1
    kernel.run_parallel(batch, arrays, batch, steps, rows.span, rows.n_out, grain=grain)
    return out


def together(line: Tensor, weight: Tensor, rows: DelayedRows) -> Tensor:
    """Return the currents [T, B, n_out] of ``line`` [span + T, B, n_in], several steps at once."""
    batch, steps, lanes = line.shape[1], line.shape[0] - rows.span, _lanes(line)
    blocks = -(-steps // lanes)
    length = _row_length(rows.span + blocks * lanes, line)
    out = buffer_pool.empty((batch, blocks, rows.n_out, lanes), line.dtype)
    arrays = [*rows[:3], weight.contiguous(), _time_last(line, 0, length), out]
    call = forward_together_kernel(*_types(line, rows)).call

    def part(first: int, last: int) -> None:
        call(*(t.data_ptr() for t in arrays), first, last, blocks, length, rows.span, rows.n_in, rows.n_out)

    spread(part, batch * blocks, _grain(rows))
    return _time_first(out, steps)


def backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    """Return the gradients of line and weight."""
    (g,), rows = grads, saved.rows
    values = graded_values(saved.values, (-1, g.shape[1], rows.n_in))
    return [
        inward(g, saved.weight, rows) if needs[0] else None,
        weight_gradient(g, saved.input_bits, values, rows) if needs[1] else None,
    ]


def weight_gradient(g: Tensor, bits: Tensor, values: Tensor | None, rows: DelayedRows) -> Tensor:
    """Return the gradient of the weights [n]; a thread computes that of some of the presynaptic neurons."""
    inputs = bits.shape[0] * rows.n_in
    if is_event_driven(inputs, count(bits), _lanes(g)):
        return weight_by_spike(g.contiguous(), bits, values, rows)
    line = unpack(bits, rows.n_in, g.dtype) if values is None else values
    return weight_together(g, line.view(-1, g.shape[1], rows.n_in), rows)


def weight_by_spike(g: Tensor, bits: Tensor, values: Tensor | None, rows: DelayedRows) -> Tensor:
    """Return the gradient of the weights, one part of a row of synapses for each spike; `g` is contiguous."""
    steps, batch, _ = g.shape
    g_weight = g.new_zeros(rows.post.shape)
    bounds = [] if rows.bounds is None else [rows.bounds]
    kernel = weight_kernel(*_types(g, rows), bool(bounds), values is not None)
    arrays = [*rows[:3], *bounds, bits, *([] if values is None else [values]), g, g_weight]
    kernel.run_parallel(words(rows.n_in), arrays, batch, steps, rows.span, rows.n_in, rows.n_out)
    return g_weight


def weight_together(g: Tensor, line: Tensor, rows: DelayedRows) -> Tensor:
    """Return the gradient of the weights for ``line`` [span + T, B, n_in], several steps at once."""
    steps, batch, _ = g.shape
    blocks = -(-steps // _lanes(g))
    length = _row_length(rows.span + blocks * _lanes(g), g)
    width = _row_length(blocks * _lanes(g), g)
    g_weight = g.new_zeros(rows.post.shape)
    arrays = [*rows[:3], _time_last(line, 0, length), _time_last(g, 0, width), g_weight]
    call = weight_together_kernel(*_types(g, rows)).call
    sizes = batch, blocks, length, width, rows.span, rows.n_in, rows.n_out

    def part(first: int, last: int) -> None:
        call(*(t.data_ptr() for t in arrays), first * WORD, min(last * WORD, rows.n_in), *sizes)

    spread(part, words(rows.n_in))
    return g_weight


def inward(g: Tensor, weight: Tensor, rows: DelayedRows) -> Tensor:
    """Return the gradient of the line [span + T, B, n_in]."""
    steps, batch, _ = g.shape
    total, lanes = rows.span + steps, _lanes(g)
    blocks = -(-total // lanes)
    width = _row_length(blocks * lanes + rows.span, g)
    g_line = buffer_pool.empty((batch, blocks, rows.n_in, lanes), g.dtype)
    arrays = [*rows[:3], weight.contiguous(), _time_last(g, rows.span, width), g_line]
    call = inward_kernel(*_types(g, rows)).call

    def part(first: int, last: int) -> None:
        call(*(t.data_ptr() for t in arrays), first, last, blocks, width, rows.n_in, rows.n_out)

    spread(part, batch * blocks, _grain(rows))
    return _time_first(g_line, total)


def _types(like: Tensor, rows: DelayedRows) -> tuple[str, str, str]:
    return REAL[like.dtype], INDEX[rows.post.dtype], INDEX[rows.delay.dtype]


def _lanes(x: Tensor) -> int:
    return LANES[REAL[x.dtype]]


def _grain(rows: DelayedRows) -> int:
    """Return how many blocks of steps a thread takes at least."""
    return int(_PER_THREAD / max(rows.post.numel(), 1)) + 1


def _row_length(steps: int, like: Tensor) -> int:
    """Return a length from `steps` on that is an odd number of cache lines, so that rows spread over the cache."""
    per_line = _CACHE_LINE // like.dtype.itemsize
    return (-(-steps // per_line) | 1) * per_line


def _time_last(x: Tensor, before: int, length: int) -> Tensor:
    """Return ``x`` [T, B, n] as [B, n, length], with `before` zeros before the first step and zeros behind the last."""
    return functional.pad(x.permute(1, 2, 0), (before, length - before - x.shape[0])).contiguous()


def _time_first(x: Tensor, steps: int) -> Tensor:
    """Return ``x`` [B, blocks, n, lanes] as [steps, B, n]."""
    batch, blocks, neurons, lanes = x.shape
    return x.permute(1, 3, 0, 2).reshape(blocks * lanes, batch, neurons)[:steps]
