"""Running a plan on the CPU: memory for the results, neurons shared out over threads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import LINE
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.plan import Plan
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.neurons.cpu_code import BLOCK, compiled

REAL = {torch.float32: "float", torch.float64: "double"}
_STREAM = 4 << 20  # bytes of a result from which it is written past the caches
_WORTH_A_THREAD = 1 << 16  # neuron-steps; below, a thread that comes late costs more than it saves


def forward(
    plan: Plan,
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
) -> list[Tensor]:
    """Run `plan` over its `inputs` [T, ...]; return output [T, ...], final states [...], stored values [T, ...]."""
    inputs = [i.contiguous() for i in inputs]
    i = inputs[0]
    out = buffer_pool.empty_like(i)
    kernel = compiled(plan.key, REAL[i.dtype], False, streams(out))
    stored = [buffer_pool.empty_like(i) for _ in plan.stored]
    states = [s.contiguous().clone() for s in state]
    coefficients = [p.contiguous() for p in per_neuron]
    _run(kernel, [*inputs, out, *stored, *states, *coefficients], i, uniforms)
    return [out, *states, *stored]


def backward(
    plan: Plan,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    saved: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
) -> list[Tensor]:
    """Return the gradients of inputs [T, ...], initial states [...] and tensor coefficients [...]."""
    g_out = g_out.contiguous()
    g_inputs = [buffer_pool.empty_like(g_out) for _ in plan.program.inputs]
    kernel = compiled(plan.key, REAL[g_out.dtype], True, all(map(streams, g_inputs)))
    g_initial = [g.contiguous().clone() for g in g_states]
    coefficients = [p.contiguous() for p in per_neuron]
    shares = [torch.zeros_like(p) for p in coefficients]
    _run(kernel, [g_out, *g_inputs, *saved, *g_initial, *coefficients, *shares], g_out, uniforms)
    return [*g_inputs, *g_initial, *shares]


def streams(result: Tensor) -> bool:
    """Whether `result` is better written past the caches: it will not be there when it is read."""
    return result.numel() * result.element_size() >= _STREAM and fills_lines(result)


def fills_lines(result: Tensor) -> bool:
    """Whether the rows of `result` begin and end at lines of the caches."""
    row = result[0].numel() * result.element_size() if result.shape[0] else 1
    return row % LINE == 0 and result.data_ptr() % LINE == 0


def _run(machine: CompiledKernel, arrays: Sequence[Tensor], over_time: Tensor, uniforms: Sequence[float]) -> None:
    steps = over_time.shape[0]
    width = over_time[0].numel() if steps else 0
    large = width > 4 * BLOCK * torch.get_num_threads()
    whole = BLOCK if large else 64  # whole cache lines each
    grain = max(_WORTH_A_THREAD // max(steps, 1), 64)
    machine.run_parallel(width, arrays, steps, width, *uniforms, grain=grain, whole=whole)
