"""Calling a plan: through torch's operator where a compiler looks on, else straight, without the operator's overhead.

The operator costs about 0.2 ms a call, as much as the kernels of a small layer. In plain eager code on plain tensors
nobody needs what it offers, so the same two kernels and the same gradients are called by an autograd function.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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
    if torch.compiler.is_compiling() or any(type(t) not in _PLAIN for t in tensors):
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
        plan: str, states: int, forward: list[float], backward: list[float], i: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        return tuple(_kernels(i).forward(find(plan), i, tensors[:states], tensors[states:], forward))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        key, states, _, uniforms, _, *tensors = inputs
        operator.remember(ctx, key, tensors[:states], tensors[states:], uniforms, output)
        ctx.mark_non_differentiable(*output[1 + states :])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        plan, *arguments = operator.recall(ctx, grads)
        return None, None, None, None, *_kernels(arguments[0]).backward(find(plan), *arguments)
