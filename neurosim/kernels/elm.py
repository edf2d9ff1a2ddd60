"""The leaky memory of an ELM neuron over time in one call: a perceptron in a recurrent loop, on the CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neurosim.kernels.availability import DTYPES, fused
from neurosim.kernels.elm_code import Sizes, backward_machine, forward_machine, lanes, most_rows
from neurosim.kernels.memory import shelf
from neurosim.kernels.spikes import REAL
from neurosim.kernels.straight import plain, transformed


class Weights(NamedTuple):
    """What a call needs of N neurons with d memory units and h hidden units each.

    Attributes
    ----------
    inward : Tensor [N, h, d]
        Memory before the step to hidden units, with the decay in it.
    offset : Tensor [N, h]
    outward : Tensor [N, d, h]
        Hidden units to the argument of the tanh.
    middle : Tensor [N, d]
    keep, gain : Tensor [N, d]
        Decay of the memory over a step, and what it takes of the tanh.
    """

    inward: Tensor
    offset: Tensor
    outward: Tensor
    middle: Tensor
    keep: Tensor
    gain: Tensor


def available(*tensors: Tensor) -> bool:
    """Whether the machine code can run with these tensors: plain, on the CPU, in single or double precision."""
    first = tensors[0]
    if first.device.type != "cpu" or first.dtype not in DTYPES or not plain(tensors) or transformed():
        return False
    return all(t.dtype == first.dtype and t.device == first.device for t in tensors) and fused(first.device)


def filled(count: int, dtype: torch.dtype) -> int:
    """Return `count` filled up to whole vectors of the machine code."""
    width = lanes(REAL[dtype])
    return -(-count // width) * width


def memory(drive: Tensor, trace: Tensor, start: Tensor, weights: Weights, kappa: float, *, smooth: bool) -> Tensor:
    r"""Return the memory after every step.

    .. math::
        f_t = \kappa f_{t-1} + \mathrm{drive}_t, \quad
        m_t = \mathrm{keep}\, m_{t-1} + \mathrm{gain} \tanh(W_{out}\, \phi(f_t + W_{in} m_{t-1} + b_1) + b_2)

    Parameters
    ----------
    drive : Tensor [T, B, N, h]
        What the synapses of the step give to the hidden units; T and B are 1 or more.
    trace : Tensor [B, N, h]
        f before the first step.
    start : Tensor [B, N, d]
        m before the first step.
    weights : Weights
        With h and d filled up by zeros to whole vectors, see `filled`.
    kappa : float
        Decay of the trace over a step.
    smooth : bool
        Whether :math:`\phi` is SiLU (else ReLU).

    Returns
    -------
    Tensor [T, B, N, d]
    """
    found: Tensor = _Memory.apply(kappa, smooth, drive, trace, start, *weights)
    return found


def _sizes(drive: Tensor, start: Tensor, smooth: bool) -> Sizes:
    _, batch, neurons, hidden = drive.shape
    share = max(batch * neurons // torch.get_num_threads(), 1)
    most = min(most_rows(), batch, share)
    groups = -(-batch // most)
    return Sizes(REAL[drive.dtype], start.shape[-1], hidden, -(-batch // groups), smooth)


def _units(drive: Tensor, sizes: Sizes) -> int:
    return drive.shape[2] * -(-drive.shape[1] // sizes.rows)


class _Memory(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kappa: float, smooth: bool, *given: Tensor) -> Tensor:
        drive, trace, start, inward, offset, outward, middle, keep, gain = (t.contiguous() for t in given)
        sizes = _sizes(drive, start, smooth)
        steps, batch, neurons, _ = drive.shape
        kept = any(ctx.needs_input_grad)
        held = steps if kept else 1
        values = shelf.empty((steps + 1, *start.shape), drive.dtype)
        values[0] = start
        hidden = shelf.empty((held, *drive.shape[1:]), drive.dtype)
        slope = shelf.empty(hidden.shape if smooth else (1,), drive.dtype)
        squashed = shelf.empty((held, *start.shape), drive.dtype)
        into, out = (w.transpose(1, 2).contiguous() for w in (inward, outward))
        arrays = [drive, trace, values, into, offset, out, middle, keep, gain, hidden, slope, squashed]
        numbers = (steps, batch, neurons, int(kept), kappa)
        forward_machine(sizes).shared(_units(drive, sizes), arrays, *numbers)
        ctx.save_for_backward(values, hidden, slope, squashed, inward, outward, keep, gain)
        ctx.kappa, ctx.sizes = kappa, sizes
        return values[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_memory: Tensor) -> tuple[Tensor | None, ...]:
        values, hidden, slope, squashed, inward, outward, keep, gain = ctx.saved_tensors
        g_memory = g_memory.contiguous()
        steps, batch, neurons, _ = g_memory.shape
        g_drive, g_hidden = shelf.empty_like(hidden), shelf.empty_like(hidden)
        g_squashed = shelf.empty_like(squashed)
        g_trace = torch.empty_like(hidden[0])
        g_start, share_keep, share_gain = (torch.empty_like(squashed[0]) for _ in range(3))
        arrays = [g_memory, values, hidden, slope, squashed, inward, outward, keep, gain]
        arrays += [g_drive, g_hidden, g_squashed, g_trace, g_start, share_keep, share_gain]
        units = _units(g_drive, ctx.sizes)
        backward_machine(ctx.sizes).shared(units, arrays, steps, batch, neurons, 1, ctx.kappa)
        g_inward, g_outward = _outer(g_hidden, values[:-1]), _outer(g_squashed, hidden)
        return (
            None,
            None,
            g_drive,
            g_trace,
            g_start,
            g_inward,
            g_hidden.sum((0, 1)),
            g_outward,
            g_squashed.sum((0, 1)),
            share_keep.sum(0),
            share_gain.sum(0),
        )


def _outer(after: Tensor, before: Tensor) -> Tensor:
    """Return the sum over steps and samples of ``after`` [T, B, N, i] times ``before`` [T, B, N, j] as [N, i, j]."""
    left, right = after.flatten(0, 1), before.flatten(0, 1)
    return torch.bmm(left.permute(1, 2, 0), right.transpose(0, 1))
