"""A linear layer with its neurons for a single small step: a dense product that does not read its input's spikes.

Online rules, which change weights at every step, call a network one step at a time. To list the spikes of one small
step, to lay the weights out in tiles and to bring their gradient back takes longer than the whole product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.compiler.plan import find
from neurosim.kernels.common import decisions, matmul
from neurosim.kernels.common.layer_output import LayerOutput, recorded_values
from neurosim.kernels.common.operator import Gradients, Needs, Operation
from neurosim.kernels.linear.arguments import Call, neurons_call
from neurosim.kernels.linear.policy import SMALL
from neurosim.kernels.neurons import arguments
from neurosim.kernels.neurons import cpu as neurons
from neurosim.kernels.neurons.arguments import Outputs


class Saved(NamedTuple):
    """What the backward pass reads: the fields of `neurons.Saved`, the input and the weight."""

    plan_key: str
    coefficients: Sequence[Tensor]
    backward_numbers: Sequence[float]
    stored: Sequence[Tensor]
    x: Tensor
    weight: Tensor


def run(call: Call) -> LayerOutput:
    """Run the step; see `operator.run`. The bits of the output are not known."""
    if decisions.observers:
        decisions.note("linear", "cpu", "dense", f"one step of at most {SMALL >> 20} million multiplications")
    outputs = _single_step(call)
    return LayerOutput(outputs.out, outputs.state, recorded_values(call.plan_key, outputs.stored))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b`` of two matrices in their own precision."""
    return matmul.product(a, b) if torch.is_autocast_enabled("cpu") else torch.mm(a, b)


def _forward(call: Call) -> Outputs:
    current = _product(call.x[0], call.weight.T)
    current = current[None] if call.bias is None else current.add_(call.bias)[None]
    return neurons.forward(neurons_call(call, current, call.state))


def _save(call: Call, outputs: Outputs) -> Saved:
    plan = find(call.plan_key)
    values = plan.saved_among(outputs.stored)
    return Saved(call.plan_key, call.coefficients, call.backward_numbers, values, call.x, call.weight)


def _backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    found = neurons.backward(arguments.Saved(*saved[:4]), grads)
    rows, (needs_x, needs_weight, needs_bias) = found.inputs[0][0], needs
    return [
        _product(rows, saved.weight)[None] if needs_x else None,
        _product(rows.T, saved.x[0]) if needs_weight else None,
        rows.sum(0) if needs_bias else None,
        *found.state,
        *found.coefficients,
    ]


_single_step = Operation(
    Call,
    Outputs,
    Saved,
    forward=_forward,
    save=_save,
    backward=_backward,
    inputs=("x", "weight", "bias", "state", "coefficients"),
    results=("out", "state"),
)
