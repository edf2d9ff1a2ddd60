"""The leaky memory of an ELM neuron over time in one call: a perceptron in a recurrent loop, on the CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from neurosim.kernels.availability import DTYPES, fused
from neurosim.kernels.elm_code import Sizes, backward_machine, forward_machine, lanes, most_rows, outer_machine, tile
from neurosim.kernels.memory import shelf
from neurosim.kernels.spikes import REAL
from neurosim.kernels.straight import once, plain, transformed


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
    smooth : bool
        Whether :math:`\phi` is SiLU (else ReLU).

    Returns
    -------
    Tensor [T, B, N, d']
    """
    tensors = (drive, trace, start, *weights)
    kept = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    found: Tensor = _Memory.apply(kappa, smooth, kept, *tensors)
    return found


def _sizes(drive: Tensor, start: Tensor, units: tuple[int, int], smooth: bool) -> Sizes:
    _, batch, neurons, hidden = drive.shape
    share = max(batch * neurons // torch.get_num_threads(), 1)
    most = min(most_rows(), batch, share)
    groups = -(-batch // most)
    return Sizes(REAL[drive.dtype], start.shape[-1], hidden, units, -(-batch // groups), smooth)


def _panels(weight: Tensor, outer: int, sizes: Sizes) -> Tensor:
    """Return ``weight`` [N, inner, ...], filled up to `outer` columns, as a product reads it: panel after panel."""
    weight = pad(weight, (0, outer - weight.shape[2]))
    width, whole = tile(sizes, outer)
    first = weight[..., :whole].unflatten(2, (-1, width)).transpose(1, 2)
    return torch.cat((first.flatten(1), weight[..., whole:].flatten(1)), dim=1)


def _units(drive: Tensor, sizes: Sizes) -> int:
    return drive.shape[2] * -(-drive.shape[1] // sizes.rows)


class _Memory(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kappa: float, smooth: bool, kept: bool, *given: Tensor) -> Tensor:
        drive, trace, start = (t.contiguous() for t in given[:3])
        weights = Weights(*given[3:])
        sizes = _sizes(drive, start, (weights.inward.shape[2], weights.inward.shape[1]), smooth)
        steps, batch, neurons, h = drive.shape
        d = sizes.memory
        held = steps if kept else 1
        values = shelf.empty((steps + 1, *start.shape), drive.dtype)
        values[0] = start
        hidden = shelf.empty((held, *drive.shape[1:]), drive.dtype)
        slope = shelf.empty(hidden.shape if smooth else (1,), drive.dtype)
        squashed = shelf.empty((held, *start.shape), drive.dtype)
        into, out = _panels(weights.inward.mT, h, sizes), _panels(weights.outward.mT, d, sizes)
        offset, middle = _full(weights.offset, h), _full(weights.middle, d)
        keep, gain = _full(weights.keep, d), _full(weights.gain, d)
        arrays = [drive, trace, values, into, offset, out, middle, keep, gain, hidden, slope, squashed]
        forward_machine(sizes).shared(_units(drive, sizes), arrays, steps, batch, neurons, int(kept), kappa)
        ctx.save_for_backward(values, hidden, slope, squashed, *weights)
        ctx.kappa, ctx.sizes = kappa, sizes
        return values[1:]

    @staticmethod
    def backward(ctx: Any, g_memory: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            found = _gradients(ctx, g_memory)
        return None, None, None, *once(found)


def _gradients(ctx: Any, g_memory: Tensor) -> list[Tensor]:
    """Return the gradients of drive, trace, start and weights."""
    values, hidden, slope, squashed, *saved = ctx.saved_tensors
    weights, sizes = Weights(*saved), ctx.sizes
    memories, hiddens = sizes.units
    g_memory = g_memory.contiguous()
    steps, batch, neurons, d = g_memory.shape
    g_drive, g_hidden = shelf.empty_like(hidden), shelf.empty_like(hidden)
    g_squashed = shelf.empty_like(squashed)
    g_trace = torch.empty_like(hidden[0])
    g_start, share_keep, share_gain = (torch.empty_like(squashed[0]) for _ in range(3))
    into, out = _panels(weights.inward, d, sizes), _panels(weights.outward, sizes.hidden, sizes)
    arrays = [g_memory, values, hidden, slope, squashed, into, out, _full(weights.keep, d), _full(weights.gain, d)]
    arrays += [g_drive, g_hidden, g_squashed, g_trace, g_start, share_keep, share_gain]
    backward_machine(sizes).shared(_units(g_drive, sizes), arrays, steps, batch, neurons, 1, ctx.kappa)
    given = (g_drive, g_trace, g_start)
    inward = _outer(g_hidden, values[:-1])[:, :hiddens, :memories]
    outward = _outer(g_squashed, hidden)[:, :memories, :hiddens]
    offset, middle = g_hidden.sum((0, 1))[:, :hiddens], g_squashed.sum((0, 1))[:, :memories]
    keep, gain = (share.sum(0)[..., :memories] for share in (share_keep, share_gain))
    return [*given, *Weights(inward, offset, outward, middle, keep, gain)]


def _full(row: Tensor, width: int) -> Tensor:
    """Return ``row`` [N, n] filled up with zeros to `width`."""
    return pad(row, (0, width - row.shape[1])).contiguous()


def _outer(after: Tensor, before: Tensor) -> Tensor:
    """Return the sum over steps and samples of ``after`` [T, B, N, i] times ``before`` [T, B, N, j] as [N, i, j]."""
    steps, batch, neurons, left = after.shape
    right = before.shape[3]
    found = after.new_zeros((neurons, left, right))
    units = neurons * (left // most_rows())
    outer_machine(REAL[after.dtype], left, right).shared(
        units, [after, before, found], steps * batch, 1, neurons, 0, 0.0
    )
    return found
