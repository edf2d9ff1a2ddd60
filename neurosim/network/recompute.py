"""Less memory for the backward pass: keep inputs and the states at a few steps, and compute the steps between again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels.common import bits as cpu_spikes
from neurosim.kernels.common.availability import fused
from neurosim.synapses.norm import repeating

Work = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Tensor, Sequence[Tensor]]]


def chunk_length(steps: int) -> int:
    """Return the number of steps of a chunk: about sqrt(T), which minimises peak memory.

    The values of one chunk and the states at all chunk borders are in memory at the same time: with c steps a chunk,
    c + T / c values of each neuron.
    """
    return max(math.isqrt(max(steps, 1)), 1)


def recomputed(
    work: Work,
    xs: Sequence[Tensor],
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    spikes: Sequence[bool] | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `work` chunk by chunk in time, and again for each chunk in the backward pass.

    Parameters
    ----------
    work : callable
        From inputs [t, B, ...] and state [B, ...] to output [t, B, ...] and state, for any number of steps t.
    xs : sequence of Tensor [T, B, ...]
        Inputs.
    state : sequence of Tensor [B, ...]
        State before the first step.
    weights : sequence of Tensor
        Other tensors that `work` reads and that need gradients.
    spikes : sequence of bool, optional
        Whether each input is known to be zeros and ones, of which one bit each is kept. On the CPU inputs that are not
        known to be are examined.
    chunk : int, optional
        Steps of a chunk; `chunk_length` if left out.

    Returns
    -------
    out : Tensor [T, B, ...]
    state : tuple of Tensor [B, ...]
        After the last step.
    """
    known = tuple(spikes or [False] * len(xs))
    length = chunk_length(xs[0].shape[0]) if chunk is None else chunk
    out, *after = _Recomputed.apply(work, known, length, len(state), *xs, *state, *weights)
    return out, tuple(after)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, work: Work, known: tuple[bool, ...], chunk: int, states: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        inputs = len(known)
        xs = tensors[:inputs]
        state: Sequence[Tensor] = tensors[inputs : inputs + states]
        steps = xs[0].shape[0]
        ctx.chunk = chunk
        outputs, borders = [], []
        for first in range(0, steps, ctx.chunk):
            borders.append(tuple(state))
            out, state = work([x[first : first + ctx.chunk] for x in xs], state)
            outputs.append(out)
        kept = [_keep(x, is_spikes) for x, is_spikes in zip(xs, known, strict=True)]
        ctx.save_for_backward(*kept, *tensors[inputs:], *(s for border in borders for s in border))
        ctx.work, ctx.inputs, ctx.states, ctx.given = work, inputs, states, len(tensors)
        ctx.like = [(x.shape, x.dtype) for x in xs]
        kind = xs[0].device.type
        ctx.precision = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        ctx.set_materialize_grads(False)
        return torch.cat(outputs), *state

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        kept, weights = saved[: ctx.inputs], saved[ctx.inputs + ctx.states : ctx.given]
        borders = saved[ctx.given :]
        needs = ctx.needs_input_grad[4:]
        steps = ctx.like[0][0][0]
        g_out, g_states = grads[0], list(grads[1:])
        parts: list[list[Tensor]] = [[] for _ in range(ctx.inputs)]
        totals: list[Tensor | None] = [None] * len(weights)
        firsts = list(range(0, steps, ctx.chunk))
        for number in reversed(range(len(firsts))):
            span = slice(firsts[number], firsts[number] + ctx.chunk)
            xs = [
                _bring_back(k, shape, dtype, span).requires_grad_(need)
                for k, (shape, dtype), need in zip(kept, ctx.like, needs, strict=False)
            ]
            state = [s.detach().requires_grad_() for s in borders[number * ctx.states : (number + 1) * ctx.states]]
            with torch.enable_grad(), torch.autocast(*ctx.precision), repeating():
                out, after = ctx.work(xs, state)
            ends = [(out, None if g_out is None else g_out[span]), *zip(after, g_states, strict=True)]
            ends = [(end, g) for end, g in ends if g is not None and end.requires_grad]
            wanted = [t for t in (*xs, *state, *weights) if t.requires_grad]
            found = iter(
                torch.autograd.grad([e for e, _ in ends], wanted, [g for _, g in ends], allow_unused=True)
                if ends and wanted
                else [None] * len(wanted)
            )
            for part, x in zip(parts, xs, strict=True):
                if x.requires_grad:
                    g = next(found)
                    part.append(torch.zeros_like(x) if g is None else g)
            g_states = [next(found) for _ in state]
            for n, weight in enumerate(weights):
                g = next(found) if weight.requires_grad else None
                total = totals[n]
                totals[n] = total if g is None else g if total is None else total + g
        g_xs = [torch.cat(part[::-1]) if part else None for part in parts]
        return None, None, None, None, *g_xs, *g_states, *totals


def _keep(x: Tensor, is_spikes: bool) -> Tensor:
    """Return `x`, or its packed bits if every value is known to be 0 or 1."""
    if x.device.type == "cpu" and x.dtype in cpu_spikes.REAL:
        packed = cpu_spikes.pack(x.contiguous().flatten(0, 1).flatten(1))
        return packed.bits.view(*x.shape[:2], -1) if packed.ones else x
    if x.device.type == "cuda" and is_spikes and fused(x.device):
        from neurosim.kernels.linear import cuda_events

        return cuda_events.pack(x.flatten(0, 1).flatten(1))[0].view(*x.shape[:2], -1)
    return x


def _bring_back(kept: Tensor, shape: torch.Size, dtype: torch.dtype, span: slice) -> Tensor:
    """Return the steps of `span` of the tensor that `_keep` packed."""
    part = kept[span]
    if kept.dtype == dtype:
        return part.detach()
    functions: Any = cpu_spikes
    if kept.device.type == "cuda":
        from neurosim.kernels.linear import cuda_events

        functions = cuda_events
    x: Tensor = functions.unpack(part.flatten(0, 1), math.prod(shape[2:]), dtype)
    return x.view(-1, *shape[1:])
