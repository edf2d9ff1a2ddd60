"""The leaky memory of an ELM neuron over time in one call: a perceptron in a recurrent loop, on the CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from neurosim.kernels.common.autograd import can_call_directly, forbid_double_backward, under_transform
from neurosim.kernels.common.availability import DTYPES, fused
from neurosim.kernels.common.bits import REAL
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.elm import cpu_code as elm_code
from neurosim.kernels.elm.cpu_code import Sizes, compiled_backward, compiled_forward, compiled_outer, lanes, most_rows


class Weights(NamedTuple):
    """What a call needs of N neurons with d memory units and h hidden units each.

    Attributes
    ----------
    inward : Tensor [N, h, d]
        Memory, once decayed, to hidden units.
    offset : Tensor [N, h]
    outward : Tensor [N, d, h]
        Hidden units to the argument of the tanh, but for a factor.
    middle : Tensor [N, d]
    keep, gain : Tensor [N, d]
        Decay of the memory over a step, and what it takes of the tanh.
    read : Tensor [N, o, d]
        Memory after the step to outputs.
    shift : Tensor [N, o]
    """

    inward: Tensor
    offset: Tensor
    outward: Tensor
    middle: Tensor
    keep: Tensor
    gain: Tensor
    read: Tensor
    shift: Tensor


class Result(NamedTuple):
    """What a call returns.

    Attributes
    ----------
    output : Tensor [T, B, N, o]
        What is read out after each step.
    last : Tensor [B, N, d']
        The memory after the last step.
    memory : Tensor [T, B, N, d']
        The memory after each step, without gradient.
    """

    output: Tensor
    last: Tensor
    memory: Tensor


def available(*tensors: Tensor) -> bool:
    """Whether the machine code can run with these tensors: plain, on the CPU, in single or double precision."""
    first = tensors[0]
    if first.device.type != "cpu" or first.dtype not in DTYPES or not can_call_directly(tensors) or under_transform():
        return False
    return all(t.dtype == first.dtype and t.device == first.device for t in tensors) and fused(first.device)


def filled(count: int, dtype: torch.dtype) -> int:
    """Return `count` filled up to whole vectors of the machine code."""
    return elm_code.filled(count, lanes(REAL[dtype]))


def run(
    drive: Tensor, trace: Tensor, start: Tensor, weights: Weights, kappa: float, bend: float, *, smooth: bool
) -> Result:
    r"""Return the outputs after every step, and the memory.

    .. math::
        f_t &= \kappa f_{t-1} + \mathrm{drive}_t \\
        d_t &= \mathrm{keep}\, m_{t-1} \\
        m_t &= d_t + \mathrm{gain} \tanh(s (W_{out}\, \phi(f_t + W_{in} d_t + b_1) + b_2)) \\
        y_t &= W_y m_t + b_y

    Parameters
    ----------
    drive : Tensor [T, B, N, h']
        What the synapses of the step give to the hidden units; T and B are 1 or more. h' is h filled up by zeros to
        whole vectors, see `filled`, and so is d'.
    trace : Tensor [B, N, h']
        f before the first step.
    start : Tensor [B, N, d']
        m before the first step.
    weights : Weights
        Not filled up.
    kappa : float
        Decay of the trace over a step.
    bend : float
        s.
    smooth : bool
        Whether :math:`\phi` is SiLU (else ReLU).

    """
    tensors = (drive, trace, start, *weights)
    kept = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return Result(*_Memory.apply((kappa, bend), smooth, kept, *tensors))


def _sizes(drive: Tensor, start: Tensor, units: tuple[int, int], outputs: int, smooth: bool) -> Sizes:
    _, batch, neurons, hidden = drive.shape
    share = max(batch * neurons // torch.get_num_threads(), 1)
    most = min(most_rows(), batch, share)
    groups = -(-batch // most)
    return Sizes(REAL[drive.dtype], start.shape[-1], hidden, units, outputs, -(-batch // groups), smooth)


def _units(drive: Tensor, sizes: Sizes) -> int:
    return drive.shape[2] * -(-drive.shape[1] // sizes.rows)


class _Memory(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, numbers: tuple[float, float], smooth: bool, kept: bool, *given: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        drive, trace, start = (t.contiguous() for t in given[:3])
        weights = Weights(*given[3:])
        outputs, memories = weights.read.shape[1:]
        sizes = _sizes(drive, start, (memories, weights.inward.shape[1]), outputs, smooth)
        steps, batch, neurons, h = drive.shape
        d, o = sizes.memory, filled(outputs, drive.dtype)
        held = steps if kept else 1
        values = buffer_pool.empty((steps + 1, *start.shape), drive.dtype)
        values[0] = start
        hidden = buffer_pool.empty((held, *drive.shape[1:]), drive.dtype)
        slope = buffer_pool.empty(hidden.shape if smooth else (1,), drive.dtype)
        squashed = buffer_pool.empty((held, *start.shape), drive.dtype)
        output = buffer_pool.empty((steps, batch, neurons, outputs), drive.dtype)
        into, out = _full(weights.inward.mT, h), _full(weights.outward.mT, d)
        arrays = [drive, trace, values, into, _full(weights.offset, h), out, _full(weights.middle, d)]
        arrays += [_full(weights.keep, d), _full(weights.gain, d)]
        arrays += [_full(weights.read.mT, o), _full(weights.shift, o), hidden, slope, squashed, output]
        compiled_forward(sizes).run_parallel(_units(drive, sizes), arrays, steps, batch, neurons, int(kept), *numbers)
        ctx.save_for_backward(values, hidden, slope, squashed, *weights)
        ctx.numbers, ctx.sizes = numbers, sizes
        memory = values[1:]
        ctx.mark_non_differentiable(memory)
        ctx.set_materialize_grads(False)
        return output, values[-1].clone(), memory

    @staticmethod
    def backward(ctx: Any, g_output: Tensor | None, g_last: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            found = _gradients(ctx, g_output, g_last)
        return None, None, None, *forbid_double_backward(found)


def _gradients(ctx: Any, g_output: Tensor | None, g_last: Tensor | None) -> list[Tensor]:
    """Return the gradients of drive, trace, start and weights."""
    values, hidden, slope, squashed, *saved = ctx.saved_tensors
    weights, sizes = Weights(*saved), ctx.sizes
    memories, hiddens = sizes.units
    steps, batch, neurons, d = squashed.shape
    g_output = values.new_zeros((*squashed.shape[:3], sizes.outputs)) if g_output is None else g_output.contiguous()
    g_last = torch.zeros_like(values[0]) if g_last is None else g_last.contiguous()
    g_drive, g_hidden = buffer_pool.empty_like(hidden), buffer_pool.empty_like(hidden)
    g_squashed = buffer_pool.empty_like(squashed)
    g_trace, share_offset = (torch.empty_like(hidden[0]) for _ in range(2))
    g_start, *others = (torch.empty_like(squashed[0]) for _ in range(4))
    into, out = _full(weights.inward, d), _full(weights.outward, sizes.hidden)
    arrays = [g_output, g_last, values, hidden, slope, squashed, into, out]
    arrays += [_full(weights.keep, d), _full(weights.gain, d), _full(weights.read, d)]
    arrays += [g_drive, g_hidden, g_squashed, g_trace, g_start, share_offset, *others]
    compiled_backward(sizes).run_parallel(_units(g_drive, sizes), arrays, steps, batch, neurons, 1, *ctx.numbers)
    inward = _outer(g_hidden, values[:-1])[:, :hiddens, :memories] * weights.keep[:, None]
    outward = _outer(g_squashed, hidden)[:, :memories, :hiddens]
    offset = share_offset.sum(0)[:, :hiddens]
    middle, keep, gain = (share.sum(0)[:, :memories] for share in others)
    read = _outer(_full(g_output, elm_code.filled(sizes.outputs, most_rows())), values[1:])
    read, shift = read[:, : sizes.outputs, :memories], g_output.sum((0, 1))
    return [g_drive, g_trace, g_start, *Weights(inward, offset, outward, middle, keep, gain, read, shift)]


def _full(rows: Tensor, width: int) -> Tensor:
    """Return ``rows`` [..., n] filled up with zeros to `width`."""
    return (rows if rows.shape[-1] == width else pad(rows, (0, width - rows.shape[-1]))).contiguous()


def _outer(after: Tensor, before: Tensor) -> Tensor:
    """Return the sum over steps and samples of ``after`` [T, B, N, i] times ``before`` [T, B, N, j] as [N, i, j]."""
    steps, batch, neurons, left = after.shape
    right = before.shape[3]
    found = after.new_zeros((neurons, left, right))
    units = neurons * (left // most_rows())
    compiled_outer(REAL[after.dtype], left, right).run_parallel(
        units, [after, before, found], steps * batch, 1, neurons, 0, 0.0, 0.0
    )
    return found
