"""Neurons over time as an operation: ``neurosim::run_core``, with one schema for every core."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from neurosim.compiler.plan import find
from neurosim.kernels.common.autograd import can_call_directly, under_transform
from neurosim.kernels.common.bits import bits_within
from neurosim.kernels.common.operator import Needs, Operator
from neurosim.kernels.neurons import cpu
from neurosim.kernels.neurons.arguments import Call, Outputs, Saved

__all__ = ["Call", "gradient_mask", "run_core"]


def gradient_mask(call: Call, outputs: Outputs) -> Tensor | None:
    """Return where the surrogate is not zero: bits [T B, ceil(N / 64)], or None if that is everywhere or not known.

    Read off the distance to threshold if the plan stores it for the backward pass, in plain code on the CPU.
    """
    out = outputs.out
    if not torch.is_grad_enabled() or not can_call_directly((out,)) or under_transform() or out.device.type != "cpu":
        return None
    plan = find(call.plan_key)
    spike = plan.program.output
    if not plan.train or not plan.program.is_limited or spike.args[0] not in plan.stored:
        return None
    distance = outputs.stored[plan.position(spike.args[0])]
    return bits_within(distance.flatten(0, 1).flatten(1), call.backward_numbers[-1])


def _kernels(like: Tensor) -> ModuleType:
    if like.device.type == "cpu":
        return cpu
    from neurosim.kernels.neurons import cuda

    return cuda


def _forward(call: Call) -> Outputs:
    outputs: Outputs = _kernels(call.inputs[0]).forward(call)
    return outputs


def _save(call: Call, outputs: Outputs) -> Saved:
    stored = find(call.plan_key).saved_among(outputs.stored)
    return Saved(call.plan_key, call.coefficients, call.backward_numbers, stored)


def _backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Sequence[Tensor]:
    found = _kernels(grads[0]).backward(saved, grads)
    return [*found.inputs, *found.state, *found.coefficients]


def _fake(call: Call) -> Outputs:
    i, plan = call.inputs[0], find(call.plan_key)
    kinds = [i.dtype for _ in plan.stored]
    if i.device.type == "cuda":
        from neurosim.kernels.neurons import cuda

        kinds = [cuda.stored_in(node, i.dtype) for node in plan.stored]
    stored = [i.new_empty(i.shape, dtype=kind) for kind in kinds]
    return Outputs(i.new_empty(i.shape), [s.new_empty(s.shape) for s in call.state], stored)


def _fake_gradients(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> list[Tensor]:
    g_out, *g_states = grads
    g_inputs = [g_out] * len(find(saved.plan_key).program.inputs)
    return [t.new_empty(t.shape) for t in (*g_inputs, *g_states, *saved.coefficients)]


run_core = Operator(
    "run_core",
    Call,
    Outputs,
    Saved,
    forward=_forward,
    save=_save,
    backward=_backward,
    inputs=("inputs", "state", "coefficients"),
    results=("out", "state"),
    fake=_fake,
    fake_gradients=_fake_gradients,  # autocast is for the CPU alone: the CUDA kernels take half precision as it is
)
