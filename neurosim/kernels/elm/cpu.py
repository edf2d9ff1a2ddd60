"""The leaky memory of ELM neurons on the CPU: a perceptron in a recurrent loop, in one call over time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from neurosim.compiler.llvm.threads import number_of_threads
from neurosim.kernels.common.bits import REAL
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.common.operator import Gradients, Needs
from neurosim.kernels.elm.arguments import Call, Outputs, Saved, Weights
from neurosim.kernels.elm.cpu_code import compiled_backward, compiled_forward, compiled_outer
from neurosim.kernels.elm.tiles import Sizes, lanes, most_rows, padded


def padded_size(count: int, dtype: torch.dtype) -> int:
    """Return `count` rounded up to full vectors of the kernel."""
    return padded(count, lanes(REAL[dtype]))


def _sizes(memory: Tensor, weights: Weights, hidden: int, smooth: bool) -> Sizes:
    """Return the sizes for memory [..., B, N, d'] and `hidden` padded hidden units."""
    *_, batch, neurons, d = memory.shape
    _, outputs, units = weights.read.shape
    most = min(most_rows(), batch, max(batch * neurons // number_of_threads(), 1))
    groups = -(-batch // most)
    return Sizes(REAL[memory.dtype], d, hidden, (units, weights.inward.shape[1]), outputs, -(-batch // groups), smooth)


def _units(batch: int, neurons: int, sizes: Sizes) -> int:
    return neurons * -(-batch // sizes.rows)


def forward(call: Call) -> Outputs:
    """Run the neurons."""
    drive, trace, start = call.drive.contiguous(), call.trace.contiguous(), call.start.contiguous()
    weights = Weights(*call.weights)
    steps, batch, neurons, h = drive.shape
    sizes = _sizes(start, weights, h, call.smooth)
    d, o = sizes.memory, padded_size(sizes.outputs, drive.dtype)
    stored_steps = steps if call.trains else 1
    values = buffer_pool.empty((steps + 1, *start.shape), drive.dtype)
    values[0] = start
    hidden = buffer_pool.empty((stored_steps, *drive.shape[1:]), drive.dtype)
    slope = buffer_pool.empty(hidden.shape if call.smooth else (1,), drive.dtype)
    squashed = buffer_pool.empty((stored_steps, *start.shape), drive.dtype)
    output = buffer_pool.empty((steps, batch, neurons, sizes.outputs), drive.dtype)
    into, out = _padded(weights.inward.mT, h), _padded(weights.outward.mT, d)
    arrays = [drive, trace, values, into, _padded(weights.offset, h), out, _padded(weights.middle, d)]
    arrays += [_padded(weights.keep, d), _padded(weights.gain, d)]
    arrays += [_padded(weights.read.mT, o), _padded(weights.shift, o), hidden, slope, squashed, output]
    numbers = (steps, batch, neurons, int(call.trains), call.kappa, call.bend)
    compiled_forward(sizes).run_parallel(_units(batch, neurons, sizes), arrays, *numbers)
    return Outputs(output, values[-1].clone(), values[1:], values, hidden, slope, squashed)


def backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    """Return the gradients of drive, trace, start and weights."""
    weights, values, hidden, squashed = Weights(*saved.weights), saved.values, saved.hidden, saved.squashed
    g_output, g_last = (g.contiguous() for g in grads)
    steps, batch, neurons, d = squashed.shape
    sizes = _sizes(squashed, weights, hidden.shape[-1], saved.smooth)
    memories, hiddens = sizes.units
    g_drive, g_hidden = buffer_pool.empty_like(hidden), buffer_pool.empty_like(hidden)
    g_squashed = buffer_pool.empty_like(squashed)
    g_trace, offsets = (torch.empty_like(hidden[0]) for _ in range(2))
    g_start, *others = (torch.empty_like(squashed[0]) for _ in range(4))
    into, out = _padded(weights.inward, d), _padded(weights.outward, sizes.hidden)
    arrays = [g_output, g_last, values, hidden, saved.slope, squashed, into, out]
    arrays += [_padded(weights.keep, d), _padded(weights.gain, d), _padded(weights.read, d)]
    arrays += [g_drive, g_hidden, g_squashed, g_trace, g_start, offsets, *others]
    numbers = (steps, batch, neurons, 1, saved.kappa, saved.bend)
    compiled_backward(sizes).run_parallel(_units(batch, neurons, sizes), arrays, *numbers)
    inward = _outer(g_hidden, values[:-1])[:, :hiddens, :memories] * weights.keep[:, None]
    outward = _outer(g_squashed, hidden)[:, :memories, :hiddens]
    offset = offsets.sum(0)[:, :hiddens]
    middle, keep, gain = (each.sum(0)[:, :memories] for each in others)
    read = _outer(_padded(g_output, padded(sizes.outputs, most_rows())), values[1:])
    read, shift = read[:, : sizes.outputs, :memories], g_output.sum((0, 1))
    return [g_drive, g_trace, g_start, *Weights(inward, offset, outward, middle, keep, gain, read, shift)]


def _padded(rows: Tensor, width: int) -> Tensor:
    """Return ``rows`` [..., n] padded with zeros to `width`."""
    return (rows if rows.shape[-1] == width else pad(rows, (0, width - rows.shape[-1]))).contiguous()


def _outer(post: Tensor, pre: Tensor) -> Tensor:
    """Return the sum over steps and samples of ``post`` [T, B, N, i] times ``pre`` [T, B, N, j] as [N, i, j]."""
    steps, batch, neurons, left = post.shape
    right = pre.shape[3]
    total = post.new_zeros((neurons, left, right))
    units = neurons * (left // most_rows())
    kernel = compiled_outer(REAL[post.dtype], left, right)
    kernel.run_parallel(units, [post, pre, total], steps * batch, 1, neurons, 0, 0.0, 0.0)
    return total
