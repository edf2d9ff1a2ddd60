"""A linear layer with its neurons for a single step of little work: a dense product, and no look at the input.

Rules that move weights at every step call a network one step at a time. To list the spikes of one small step, to bring
the weights into tiles and their gradient back takes longer than the whole product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.compiler.plan import find
from neurosim.kernels.common import decisions
from neurosim.kernels.common import matmul as dense
from neurosim.kernels.common.autograd import can_call_directly, forbid_double_backward, under_transform
from neurosim.kernels.common.layer_output import LayerOutput, recorded_values
from neurosim.kernels.neurons import cpu

# Multiplications of a product that is dense whatever its input; docs/kernels.md has the times of both ways.
SMALL = 4 << 20


def serves(x: Tensor, weight: Tensor, *others: Tensor | None) -> bool:
    """Whether ``x`` [T, B, n] is a plain single step on the CPU whose product with ``weight`` [N, n] is small."""
    if (
        not can_call_directly((x, weight, *others)) or under_transform()
    ):  # first: a compiler would guard what is asked of a size
        return False
    return x.shape[0] == 1 and x.numel() * weight.shape[0] <= SMALL and x.device.type == "cpu"


def run(
    plan: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: list[float],
    backward_uniforms: list[float],
) -> LayerOutput:
    """Run the step; see `layer_operator.run`. Nothing is known of the output's bits."""
    found: Sequence[Tensor]
    if decisions.observers:
        decisions.note("linear", "cpu", "dense", f"one step of at most {SMALL >> 20} million multiplications")
    if torch.is_grad_enabled():
        numbers = (forward_uniforms, backward_uniforms)
        found = _OneStep.apply(plan, len(state), *numbers, x, weight, bias, *state, *per_neuron)
    else:
        found = cpu.forward(find(plan), [_current(x, weight, bias)], state, per_neuron, forward_uniforms)
    out, *rest = found
    return LayerOutput(out, rest[: len(state)], recorded_values(plan, rest[len(state) :]))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` of two matrices in their own precision."""
    return dense.product(a, b) if torch.is_autocast_enabled("cpu") else torch.mm(a, b)


def _current(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    current = _product(x[0], weight.T)
    return current[None] if bias is None else current.add_(bias)[None]


class _OneStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        key: str,
        states: int,
        numbers: list[float],
        back: list[float],
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        plan, per_neuron = find(key), rest[states:]
        out, *others = cpu.forward(plan, [_current(x, weight, bias)], rest[:states], per_neuron, numbers)
        after, stored = others[:states], others[states:]
        ctx.save_for_backward(x, weight, *per_neuron, *(stored[plan.position(node)] for node in plan.saved))
        ctx.made, ctx.sizes = (key, back), (states, len(per_neuron))
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*stored)
        return (out, *after, *stored)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, *held = ctx.saved_tensors
        (key, back), (states, coefficients) = ctx.made, ctx.sizes
        per_neuron, saved = held[:coefficients], held[coefficients:]
        shape = (x.shape[1], weight.shape[0])
        with torch.no_grad():
            g_out, *g_states = (
                weight.new_zeros(size) if g is None else g
                for g, size in zip(grads, ((1, *shape), *[shape] * states), strict=False)
            )
            g_i, *others = cpu.backward(find(key), g_out, g_states, saved, per_neuron, back)
            rows = g_i[0]
            g_x = _product(rows, weight)[None] if ctx.needs_input_grad[4] else None
            g_weight = _product(rows.T, x[0]) if ctx.needs_input_grad[5] else None
            g_bias = rows.sum(0) if ctx.needs_input_grad[6] else None
        return None, None, None, None, *forbid_double_backward([g_x, g_weight, g_bias, *others])
