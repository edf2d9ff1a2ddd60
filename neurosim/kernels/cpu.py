"""Running a plan on the CPU: memory for the results, neurons shared out over threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from neurosim.kernels.llvm import BLOCK, compiled
from neurosim.kernels.memory import shelf
from neurosim.kernels.plan import Plan

REAL = {torch.float32: "float", torch.float64: "double"}
_WORTH_A_THREAD = 1 << 15  # neuron-steps; below, handing work to a thread costs more than it saves

_pool: ThreadPoolExecutor | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(os.cpu_count() or 1, 1), thread_name_prefix="neurosim")
    return _pool


def _forget_threads() -> None:
    """Drop the pool in a forked child: its threads did not come along."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


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

    others = [_threads().submit(part, *bound) for bound in bounds[1:]]
    call(*addresses, *bounds[0], steps, width, *uniforms)
    for other in others:
        other.result()
