"""The torch operator that runs a plan: one schema for every core, a kernel per device, a registered backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.compiler.plan import find
from neurosim.kernels.neurons import cpu


@torch.library.custom_op("neurosim::run_core", mutates_args=(), device_types="cpu")
def run_core(
    plan: str,
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: Sequence[float],
    backward_uniforms: Sequence[float],
) -> list[Tensor]:
    """Return output [T, ...], final states [...] and stored values [T, ...] of the plan with this key."""
    return cpu.forward(find(plan), inputs, state, per_neuron, forward_uniforms)


@torch.library.custom_op("neurosim::run_core_backward", mutates_args=(), device_types="cpu")
def run_core_backward(
    plan: str,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    saved: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
) -> list[Tensor]:
    """Return the gradients of inputs [T, ...], initial states [...] and tensor coefficients [...]."""
    return cpu.backward(find(plan), g_out, g_states, saved, per_neuron, uniforms)


@run_core.register_fake
def _(
    plan: str,
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: Sequence[float],
    backward_uniforms: Sequence[float],
) -> list[Tensor]:
    i = inputs[0]
    kinds = [i.dtype for _ in find(plan).stored]
    if i.device.type == "cuda":
        from neurosim.kernels.neurons import cuda

        kinds = [cuda.stored_in(node, i.dtype) for node in find(plan).stored]
    stored = [i.new_empty(i.shape, dtype=kind) for kind in kinds]
    return [i.new_empty(i.shape), *(s.new_empty(s.shape) for s in state), *stored]


@run_core_backward.register_fake
def _(
    plan: str,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    saved: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
) -> list[Tensor]:
    g_inputs = [g_out] * len(find(plan).program.inputs)
    return [x.new_empty(x.shape) for x in (*g_inputs, *g_states, *per_neuron)]


@run_core.register_kernel("cuda")
def _(
    plan: str,
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: Sequence[float],
    backward_uniforms: Sequence[float],
) -> list[Tensor]:
    from neurosim.kernels.neurons import cuda

    return cuda.forward(find(plan), inputs, state, per_neuron, forward_uniforms)


@run_core_backward.register_kernel("cuda")
def _(
    plan: str,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    saved: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
) -> list[Tensor]:
    from neurosim.kernels.neurons import cuda

    return cuda.backward(find(plan), g_out, g_states, saved, per_neuron, uniforms)


def remember(
    ctx: Any,
    key: str,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
    output: Sequence[Tensor],
) -> None:
    """Keep in `ctx` what the backward pass of the plan with this key reads."""
    plan, stored = find(key), output[1 + len(state) :]
    saved = [stored[plan.position(node)] for node in plan.saved]
    ctx.save_for_backward(*saved, *per_neuron)
    ctx.plan, ctx.uniforms, ctx.saved = key, uniforms, len(saved)
    ctx.out_shape, ctx.out_dtype, ctx.state_shapes = output[0].shape, output[0].dtype, [s.shape for s in state]
    ctx.set_materialize_grads(False)


def recall(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """Return the arguments of the backward kernel: plan, g_out, g_states, saved, per_neuron, uniforms."""
    tensors = ctx.saved_tensors
    saved, per_neuron = list(tensors[: ctx.saved]), list(tensors[ctx.saved :])
    like = saved[0] if saved else next(g for g in grads if g is not None)
    g_out = like.new_zeros(ctx.out_shape, dtype=ctx.out_dtype) if grads[0] is None else grads[0]
    g_states = [
        like.new_zeros(shape) if g is None else g for g, shape in zip(grads[1:], ctx.state_shapes, strict=False)
    ]
    return ctx.plan, g_out, g_states, saved, per_neuron, ctx.uniforms


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    key, _, state, per_neuron, forward, backward = inputs
    remember(ctx, key, state, per_neuron, backward, output)
    ctx.empty = (not forward, not backward)


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    found = run_core_backward(*recall(ctx, grads))
    inputs = len(find(ctx.plan).program.inputs)
    states = inputs + len(ctx.state_shapes)
    # torch takes an empty list of numbers for a list of tensors and wants a list back.
    numbers: list[Any] = [[] if empty else None for empty in ctx.empty]
    return None, found[:inputs], found[inputs:states], found[states:], *numbers


run_core.register_autograd(_backward, setup_context=_setup_context)
run_core.register_autocast("cpu", torch.float32)  # on CUDA the kernels take half precision as it is
