"""A recurrent layer of ELM neurons on the CPU, in one call over time."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common.bits import REAL
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.common.operator import Gradients, Needs
from neurosim.kernels.elm.tiles import lanes, padded
from neurosim.kernels.elm_layer.arguments import Call, Outputs, Saved, Start, Weights
from neurosim.kernels.elm_layer.cpu_code_backward import backward_code
from neurosim.kernels.elm_layer.cpu_code_forward import forward_code
from neurosim.kernels.elm_layer.cpu_code_sums import outer_code, synapse_code
from neurosim.kernels.elm_layer.sample_lanes import Sizes

_FEWEST = 4  # samples of a vector


@functools.cache
def compiled_forward(sizes: Sizes) -> CompiledKernel:
    """Return the forward kernel's machine code."""
    return forward_code(sizes).compile()


@functools.cache
def compiled_backward(sizes: Sizes) -> CompiledKernel:
    """Return the backward kernel's machine code."""
    return backward_code(sizes).compile()


@functools.cache
def compiled_synapses(sizes: Sizes) -> CompiledKernel:
    """Return the machine code of the gradient of the synapses."""
    return synapse_code(sizes).compile()


@functools.cache
def compiled_outer(real: str, lanes: int, left: int, right: int) -> CompiledKernel:
    """Return the machine code of the gradient of a matrix of each neuron."""
    return outer_code(real, lanes, left, right).compile()


def _sizes(weights: Weights, batch: int, smooth: bool) -> Sizes:
    """Return the sizes; a vector has no more samples than a batch needs."""
    real = REAL[weights.synapse.dtype]
    width = lanes(real)
    while width // 2 >= max(batch, _FEWEST):
        width //= 2
    _, branches, synapses = weights.synapse.shape
    _, memory, hidden = weights.outward.shape
    return Sizes(real, width, branches, synapses, hidden, memory, smooth)


def _samples_last(values: Tensor, width: int) -> Tensor:
    """Return `values` [B, ...] as [..., P], padded with zeros."""
    turned = values.movedim(0, -1)
    filled = values.new_zeros((*turned.shape[:-1], width))
    filled[..., : turned.shape[-1]] = turned
    return filled


def _samples_first(values: Tensor, batch: int) -> Tensor:
    """Return `values` [..., P] as [B, ...], in memory of its own."""
    return values[..., :batch].movedim(-1, 0).clone(memory_format=torch.contiguous_format)


def forward(call: Call) -> Outputs:
    """Run the layer."""
    steps, batch, inputs = call.x.shape
    weights, start = Weights(*(w.contiguous() for w in call.weights)), Start(*call.start)
    sizes = _sizes(weights, batch, call.smooth)
    neurons, width = len(weights.synapse), padded(batch, sizes.lanes)
    empty, dtype = buffer_pool.empty, call.x.dtype
    sources = empty((steps + 1, inputs + neurons, width), dtype)
    sources[:steps, :inputs, :batch] = call.x.transpose(1, 2)
    sources[:steps, :inputs, batch:] = 0.0
    sources[steps, :inputs] = 0.0
    sources[0, inputs:] = _samples_last(start.activity * call.mask, width)
    stored = steps if call.trains else 0
    branches = empty((stored + 1, neurons, sizes.branches, width), dtype)
    values = empty((stored + 1, neurons, sizes.memory, width), dtype)
    branches[0], values[0] = _samples_last(start.branch, width), _samples_last(start.memory, width)
    slow, mask = _samples_last(start.slow, width), _samples_last(call.mask, width)
    hidden = empty((max(stored, 1), neurons, sizes.hidden, width), dtype)
    slope = empty(hidden.shape if call.smooth else (1,), dtype)
    squashed = empty((max(stored, 1), neurons, sizes.memory, width), dtype)
    activity = empty((steps, neurons, width), dtype)
    arrays = [sources, call.routes, *weights, mask, branches, values, slow, hidden, slope, squashed, activity]
    numbers = (steps, neurons, inputs, width, int(call.trains), call.kappa_s, call.kappa_r, call.bend)
    compiled_forward(sizes).run_parallel(width // sizes.lanes, arrays, *numbers)
    branch, memory, low = (_samples_first(each, batch) for each in (branches[-1], values[-1], slow))
    out = activity[..., :batch].transpose(1, 2).contiguous()
    return Outputs(out, branch, memory, low, sources, branches, values, hidden, slope, squashed)


def backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    """Return the gradients of x, start and weights."""
    weights = Weights(*(w.contiguous() for w in saved.weights))
    steps, batch, neurons = saved.activity.shape
    sizes = _sizes(weights, batch, saved.smooth)
    width, inputs = saved.sources.shape[2], saved.sources.shape[1] - neurons
    g_activity, activity = (_samples_last(each.movedim(1, 0), width) for each in (grads[0], saved.activity))
    g_branch, g_memory, g_slow = (_samples_last(each, width) for each in grads[1:])
    mask, empty, dtype = _samples_last(saved.mask, width), buffer_pool.empty, saved.activity.dtype
    g_sources = torch.zeros_like(saved.sources)
    g_branches = empty((steps, neurons, sizes.branches, width), dtype)
    g_hidden, g_squashed = empty(saved.hidden.shape, dtype), empty(saved.squashed.shape, dtype)
    g_output = empty((steps, neurons, 1, width), dtype)
    keep, gain = torch.zeros_like(g_memory), torch.zeros_like(g_memory)
    arrays = [g_activity, activity, saved.routes, weights.synapse, saved.values, saved.hidden, saved.slope]
    arrays += [saved.squashed, weights.inward, weights.outward, weights.keep, weights.gain, weights.read, mask]
    arrays += [g_sources, g_branches, g_hidden, g_squashed, g_output, g_branch, g_memory, g_slow, keep, gain]
    numbers = (steps, neurons, inputs, width, saved.kappa_s, saved.kappa_r, saved.bend)
    compiled_backward(sizes).run_parallel(width // sizes.lanes, arrays, *numbers)
    synapse = torch.empty_like(weights.synapse)
    compiled_synapses(sizes).run_parallel(
        neurons, [g_branches, saved.sources, saved.routes, synapse], steps, neurons, inputs + neurons, width
    )
    before, after = saved.values[:-1], saved.values[1:]
    through_memory = _outer(sizes, g_hidden, before) * weights.keep[:, None]
    found = Weights(
        synapse,
        torch.cat((_outer(sizes, g_hidden, saved.branches[1:]), through_memory), dim=2),
        g_hidden.sum((0, 3)),
        _outer(sizes, g_squashed, saved.hidden),
        g_squashed.sum((0, 3)),
        keep.sum(2),
        gain.sum(2),
        _outer(sizes, g_output, after)[:, 0],
        g_output.sum((0, 2, 3)),
    )
    of_start = [_samples_first(each, batch) for each in (g_branch, g_memory, g_slow)]
    of_activity = g_sources[0, inputs:, :batch].movedim(-1, 0) * saved.mask
    g_x = g_sources[:steps, :inputs, :batch].transpose(1, 2)
    return [g_x, *of_start, of_activity, *found]


def _outer(sizes: Sizes, left: Tensor, right: Tensor) -> Tensor:
    """Return the sum over steps and samples of ``left`` [T, N, i, P] times ``right`` [T, N, k, P] as [N, i, k]."""
    steps, neurons, rows, width = left.shape
    columns = right.shape[2]
    total = left.new_empty((neurons, rows, columns))
    kernel = compiled_outer(sizes.real, sizes.lanes, rows, columns)
    kernel.run_parallel(neurons, [left, right, total], steps, neurons, width)
    return total
