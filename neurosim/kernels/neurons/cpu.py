"""Neurons over time on the CPU: memory for the results, neurons divided among threads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import LINE
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.plan import find
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.neurons.arguments import Call, Gradients, Outputs, Saved
from neurosim.kernels.neurons.cpu_code import BLOCK, compiled

REAL = {torch.float32: "float", torch.float64: "double"}
STREAM = 4 << 20  # bytes of a result that is written past the caches, at least
_PER_THREAD = 1 << 16  # neuron-steps, at least: starting a thread for fewer takes longer than it saves


def forward(call: Call) -> Outputs:
    """Run the neurons."""
    plan = find(call.plan_key)
    inputs = [i.contiguous() for i in call.inputs]
    i = inputs[0]
    out = buffer_pool.empty_like(i)
    kernel = compiled(call.plan_key, REAL[i.dtype], False, streams(out))
    stored = [buffer_pool.empty_like(i) for _ in plan.stored]
    states = [s.contiguous().clone() for s in call.state]
    coefficients = [p.contiguous() for p in call.coefficients]
    _run(kernel, [*inputs, out, *stored, *states, *coefficients], i, call.forward_numbers)
    return Outputs(out, states, stored)


def backward(saved: Saved, grads: Sequence[Tensor]) -> Gradients:
    """Return the gradients, given those of the output and of the final states."""
    g_out, *g_states = grads
    g_out = g_out.contiguous()
    g_inputs = [buffer_pool.empty_like(g_out) for _ in find(saved.plan_key).program.inputs]
    kernel = compiled(saved.plan_key, REAL[g_out.dtype], True, all(map(streams, g_inputs)))
    g_initial = [g.contiguous().clone() for g in g_states]
    coefficients = [p.contiguous() for p in saved.coefficients]
    g_coefficients = [torch.zeros_like(p) for p in coefficients]
    arrays = [g_out, *g_inputs, *saved.stored, *g_initial, *coefficients, *g_coefficients]
    _run(kernel, arrays, g_out, saved.backward_numbers)
    return Gradients(g_inputs, g_initial, g_coefficients)


def streams(result: Tensor) -> bool:
    """Return whether to write `result` past the caches: it is too large to be there still when it is read."""
    return result.numel() * result.element_size() >= STREAM and fills_lines(result)


def fills_lines(result: Tensor) -> bool:
    """Return whether the rows of `result` begin and end at lines of the caches."""
    row = result[0].numel() * result.element_size() if result.shape[0] else 1
    return row % LINE == 0 and result.data_ptr() % LINE == 0


def _run(kernel: CompiledKernel, arrays: Sequence[Tensor], over_time: Tensor, numbers: Sequence[float]) -> None:
    steps = over_time.shape[0]
    width = over_time[0].numel() if steps else 0
    large = width > 4 * BLOCK * torch.get_num_threads()
    multiple = BLOCK if large else 64  # cache lines of one thread alone
    grain = max(_PER_THREAD // max(steps, 1), 64)
    kernel.run_parallel(width, arrays, steps, width, *numbers, grain=grain, multiple=multiple)
