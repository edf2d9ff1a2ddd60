"""Calling a plan: through torch's operator where a compiler looks on, else straight, without the operator's overhead.

The operator's wrapper costs more than the kernels of a small layer. In plain eager code on plain tensors nobody needs
what it offers, so the same two kernels and the same gradients are called by an autograd function.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from neurosim.errors import InputError
from neurosim.kernels import cpu, operator
from neurosim.kernels.plan import find

_PLAIN = (Tensor, nn.Parameter)


def run(
    plan: str,
    i: Tensor,
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
    i : Tensor [T, ...]
        Input current.
    state : sequence of Tensor [...]
        State before the first step.
    per_neuron : sequence of Tensor [...]
        Tensor coefficients, as the plan orders them.
    forward_uniforms, backward_uniforms : list of float
        Plain numbers of the two kernels.
    """
    tensors = (i, *state, *per_neuron)
    transformed = torch._C._are_functorch_transforms_active()
    if transformed or torch.compiler.is_compiling() or any(type(t) not in _PLAIN for t in tensors):
        return operator.run_core(plan, i, list(state), list(per_neuron), forward_uniforms, backward_uniforms)
    if not torch.is_grad_enabled():
        return _kernels(i).forward(find(plan), i, state, per_neuron, forward_uniforms)
    return _Straight.apply(plan, len(state), forward_uniforms, backward_uniforms, *tensors)


def _kernels(i: Tensor) -> ModuleType:
    if i.device.type == "cpu":
        return cpu
    from neurosim.kernels import cuda

    return cuda


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: str, states: int, forward: list[float], backward: list[float], i: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        state, per_neuron = tensors[:states], tensors[states:]
        output = _kernels(i).forward(find(plan), i, state, per_neuron, forward)
        operator.remember(ctx, plan, state, per_neuron, backward, output)
        ctx.mark_non_differentiable(*output[1 + states :])
        return tuple(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        plan, *arguments = operator.recall(ctx, grads)
        with torch.no_grad():
            found = _kernels(arguments[0]).backward(find(plan), *arguments)
        if torch.is_grad_enabled():  # create_graph=True: the caller may go on to differentiate these
            found = _Once.apply(torch.ones((), requires_grad=True), *found)
        return None, None, None, None, *found


class _Once(torch.autograd.Function):
    """Values that may be used but not differentiated again."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        return tuple(value.clone() for value in values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise InputError("the fused kernels give no gradient of a gradient; use Neuron.reference(i, state) instead.")
