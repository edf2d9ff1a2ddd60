"""Calling a plan: through torch's operator where a compiler looks on, else straight, without the operator's overhead.

The operator's wrapper costs more than the kernels of a small layer. In plain eager code on plain tensors nobody needs
what it offers, so the same two kernels and the same gradients are called by an autograd function.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from neurosim.compiler.plan import find
from neurosim.kernels.common.autograd import (
    DirectFunction,
    call_under_transform,
    can_call_directly,
    forbid_double_backward,
    under_transform,
)
from neurosim.kernels.common.bits import near
from neurosim.kernels.neurons import cpu, operator


def run(
    plan: str,
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: list[float],
    backward_uniforms: list[float],
) -> Sequence[Tensor]:
    """Return output [T, ...], final states [...] and stored values [T, ...] of the plan with this key.

    Parameters
    ----------
    plan : str
        Key of the plan.
    inputs : sequence of Tensor [T, ...]
        What feeds each port, as the plan orders them.
    state : sequence of Tensor [...]
        State before the first step.
    per_neuron : sequence of Tensor [...]
        Tensor coefficients, as the plan orders them.
    forward_uniforms, backward_uniforms : list of float
        Plain numbers of the two kernels.
    """
    tensors = (*inputs, *state, *per_neuron)
    if not can_call_directly(tensors):
        return operator.run_core(plan, list(inputs), list(state), list(per_neuron), forward_uniforms, backward_uniforms)
    if not torch.is_grad_enabled() and not under_transform():
        return _kernels(inputs[0]).forward(find(plan), inputs, state, per_neuron, forward_uniforms)
    return _Direct.run(plan, len(state), forward_uniforms, backward_uniforms, *tensors)


def active(plan: str, stored: Sequence[Tensor]) -> Tensor | None:
    """Return the bits [T B, ceil(N / 64)] of where the surrogate of the plan with this key is not zero.

    Worked out from the distance to threshold, if that is among the values stored [T, B, ...]; else None.
    """
    known = find(plan)
    output = known.program.output
    if output.op != "spike" or output.args[0] not in known.stored:
        return None
    distance = stored[known.position(output.args[0])]
    return near(distance.flatten(0, 1).flatten(1), output.payload.support)


def _kernels(i: Tensor) -> ModuleType:
    if i.device.type == "cpu":
        return cpu
    from neurosim.kernels.neurons import cuda

    return cuda


class _Direct(DirectFunction):
    @staticmethod
    def forward(_: bool, key: str, states: int, forward: list[float], back: list[float], *tensors: Tensor) -> Any:
        plan = find(key)
        first = len(plan.program.inputs)
        last = first + states
        inputs, state, per_neuron = tensors[:first], tensors[first:last], tensors[last:]
        return tuple(_kernels(tensors[0]).forward(plan, inputs, state, per_neuron, forward))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, plan, states, _, backward, *tensors = inputs
        first = len(find(plan).program.inputs)
        last = first + states
        operator.remember(ctx, plan, tensors[first:last], tensors[last:], backward, output)
        ctx.mark_non_differentiable(*output[1 + states :])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        arguments = operator.recall(ctx, grads)
        if under_transform():
            return None, None, None, None, None, *call_under_transform(_backward, *arguments)
        with torch.no_grad():
            found = _backward(*arguments)
        return None, None, None, None, None, *forbid_double_backward(found)


def _backward(plan: str, g_out: Tensor, *others: Any) -> list[Tensor]:
    return _kernels(g_out).backward(find(plan), g_out, *others)
