"""Running a plan on the CPU: memory for the results, neurons shared out over threads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from neurosim.kernels.llvm import BLOCK, compiled
from neurosim.kernels.memory import shelf
from neurosim.kernels.plan import Plan
from neurosim.kernels.threads import at_once

REAL = {torch.float32: "float", torch.float64: "double"}
_WORTH_A_THREAD = 1 << 15  # neuron-steps; below, handing work to a thread costs more than it saves


def forward(
    plan: Plan, i: Tensor, state: Sequence[Tensor], per_neuron: Sequence[Tensor], uniforms: Sequence[float]
) -> list[Tensor]:
    """Run `plan` over ``i`` [T, ...]; return output [T, ...], final states [...], stored values [T, ...] each."""
    i = i.contiguous()
    kernel = compiled(plan.key, REAL[i.dtype], False)
    out = shelf.empty_like(i)
    stored = [shelf.empty_like(i) for _ in plan.stored]
    states = [s.contiguous().clone() for s in state]
    coefficients = [p.contiguous() for p in per_neuron]
    _run(kernel.call, [i, out, *stored, *states, *coefficients], i, uniforms)
    return [out, *states, *stored]


def backward(
    plan: Plan,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    saved: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
) -> list[Tensor]:
    """Return the gradients of input [T, ...], initial states [...] and tensor coefficients [...]."""
    g_out = g_out.contiguous()
    kernel = compiled(plan.key, REAL[g_out.dtype], True)
    g_i = shelf.empty_like(g_out)
    g_initial = [g.contiguous().clone() for g in g_states]
    coefficients = [p.contiguous() for p in per_neuron]
    shares = [torch.zeros_like(p) for p in coefficients]
    _run(kernel.call, [g_out, g_i, *saved, *g_initial, *coefficients, *shares], g_out, uniforms)
    return [g_i, *g_initial, *shares]


def _run(call: Callable[..., None], arrays: Sequence[Tensor], over_time: Tensor, uniforms: Sequence[float]) -> None:
    steps = over_time.shape[0]
    width = over_time[0].numel() if steps else 0
    addresses = [a.data_ptr() for a in arrays]
    workers = min(torch.get_num_threads(), -(-width // 64), max(steps * width // _WORTH_A_THREAD, 1))
    if workers <= 1:
        call(*addresses, 0, width, steps, width, *uniforms)
        return
    share = -(-width // workers)
    share += -share % (BLOCK if share > 4 * BLOCK else 64)  # whole cache lines for each thread
    bounds = [(first, min(first + share, width)) for first in range(0, width, share)]

    def part(first: int, last: int, held: Sequence[Tensor] = arrays) -> None:
        # Holding the arrays: if the caller is interrupted while it waits, they must outlive the threads' work.
        call(*addresses, first, last, steps, width, *uniforms)

    at_once([functools.partial(part, *bound) for bound in bounds])
