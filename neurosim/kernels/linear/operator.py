"""The torch operator that runs a linear layer with its neurons, and the straight call of the same two functions."""

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
from neurosim.kernels.common.bits import words
from neurosim.kernels.common.layer_output import LayerOutput, recorded_values
from neurosim.kernels.linear import cpu as layer
from neurosim.kernels.linear.cpu import Layer, Result


def run(
    plan: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: list[float],
    backward_uniforms: list[float],
    chunk: int = 0,
    packed_bits: Tensor | None = None,
    mask: Tensor | None = None,
) -> LayerOutput:
    """Run a linear layer and the neurons of a plan over time.

    Parameters
    ----------
    plan : str
        Key of the plan.
    x : Tensor [T, B, n]
        Spikes, or any other input.
    weight : Tensor [N, n]
    bias : Tensor [N], optional
    state : sequence of Tensor [B, N]
        State before the first step.
    per_neuron : sequence of Tensor [B, N]
        Tensor coefficients, as the plan orders them.
    forward_uniforms, backward_uniforms : list of float
        Plain numbers of the two kernels.
    chunk : int
        Steps between two borders at which the state is kept for the backward pass; 0 keeps values of each step.
    packed_bits : Tensor [T B, ceil(n / 64)] of int64, optional
        Bits of x, which is then 0 or 1 everywhere.
    mask : Tensor [T B, ceil(n / 64)] of int64, optional
        Where whoever made x needs its gradient; elsewhere it may be left 0.
    """
    tensors = (x, packed_bits, mask, weight, bias, *state, *per_neuron)
    numbers = (forward_uniforms, backward_uniforms)
    output: Sequence[Tensor]
    if not can_call_directly(tensors):
        output = run_layer(plan, x, packed_bits, mask, weight, bias, list(state), list(per_neuron), *numbers, chunk)
    elif torch.is_grad_enabled() or under_transform():
        output = _Direct.run(plan, chunk, len(state), *numbers, *tensors)
    else:
        made = Layer(find(plan), weight, bias, per_neuron, *numbers, chunk)
        output = _listed(_functions(x).forward(made, x, packed_bits, state))
    out, *rest = output
    states, (_, _, bits, active), stored = rest[: len(state)], rest[len(state) : len(state) + 4], rest[len(state) + 4 :]
    recorded = recorded_values(plan, stored)
    return LayerOutput(out, states, recorded, bits if bits.shape[0] else None, active if active.shape[0] else None)


def _functions(x: Tensor) -> ModuleType:
    if x.device.type == "cpu":
        return layer
    from neurosim.kernels.linear import cuda as cuda_layer

    return cuda_layer


def _listed(result: Result) -> list[Tensor]:
    """Return output, states, bits of the input, whether they say all, bits and active of the output, kept values."""
    ones = torch.tensor(result.ones)
    return [result.out, *result.states, result.input_bits, ones, result.bits, result.active, *result.kept]


@torch.library.custom_op("neurosim::run_layer", mutates_args=())
def run_layer(
    plan: str,
    x: Tensor,
    packed_bits: Tensor | None,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: Sequence[float],
    backward_uniforms: Sequence[float],
    chunk: int,
) -> list[Tensor]:
    """Return output, final states, bits of the input, whether they say all, bits and active of the output, kept."""
    made = Layer(find(plan), weight, bias, per_neuron, forward_uniforms, backward_uniforms, chunk)
    result = _functions(x).forward(made, x, packed_bits, state)
    if packed_bits is not None:  # an operator does not return what it was given
        result = result._replace(input_bits=packed_bits[:0].clone())
    return _listed(result)


@torch.library.custom_op("neurosim::run_layer_backward", mutates_args=())
def run_layer_backward(
    plan: str,
    x: Tensor | None,
    packed_bits: Tensor,
    sources: int,
    mask: Tensor | None,
    needed: bool,
    weight: Tensor,
    bias: Tensor | None,
    per_neuron: Sequence[Tensor],
    forward_uniforms: Sequence[float],
    backward_uniforms: Sequence[float],
    chunk: int,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    kept: Sequence[Tensor],
) -> list[Tensor]:
    """Return the gradients of input, weight, bias, initial states and tensor coefficients; without rows if none."""
    numbers = (forward_uniforms, backward_uniforms, chunk)
    tensors = (weight, bias, per_neuron, *numbers, g_out, g_states, kept)
    return _backward(plan, x, packed_bits, sources, mask, needed, *tensors)


def _backward(
    plan: str,
    x: Tensor | None,
    packed_bits: Tensor,
    sources: int,
    mask: Tensor | None,
    needed: bool,
    weight: Tensor,
    bias: Tensor | None,
    per_neuron: Sequence[Tensor],
    forward_uniforms: Sequence[float],
    backward_uniforms: Sequence[float],
    chunk: int,
    *gradients: Any,
) -> list[Tensor]:
    made = Layer(find(plan), weight, bias, per_neuron, forward_uniforms, backward_uniforms, chunk)
    found = _functions(weight).backward(made, x, packed_bits, sources, mask, needed, *gradients)
    g_x = weight.new_empty(0) if found.x is None else found.x
    g_bias = weight.new_empty(0) if found.bias is None else found.bias
    return [g_x, found.weight.contiguous(), g_bias, *found.states, *found.per_neuron]


@run_layer.register_fake
def _(
    plan: str,
    x: Tensor,
    packed_bits: Tensor | None,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: Sequence[float],
    backward_uniforms: Sequence[float],
    chunk: int,
) -> list[Tensor]:
    steps, batch, sources = x.shape
    width, rows, known = weight.shape[0], steps * batch, find(plan)
    lengths = [-(-steps // chunk)] * len(state) if chunk else [steps] * len(known.stored)

    def bits(there: bool, n: int) -> Tensor:
        return x.new_empty((rows if there else 0, words(n)), dtype=torch.int64)

    return [
        x.new_empty((steps, batch, width)),
        *(s.new_empty(s.shape) for s in state),
        bits(packed_bits is None, sources),
        x.new_empty((), dtype=torch.bool, device="cpu"),
        bits(layer.has_bits(known), width),
        bits(layer.has_active(known), width),
        *(x.new_empty((length, batch, width)) for length in lengths),
    ]


@run_layer_backward.register_fake
def _(
    plan: str,
    x: Tensor | None,
    packed_bits: Tensor,
    sources: int,
    mask: Tensor | None,
    needed: bool,
    weight: Tensor,
    bias: Tensor | None,
    per_neuron: Sequence[Tensor],
    forward_uniforms: Sequence[float],
    backward_uniforms: Sequence[float],
    chunk: int,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    kept: Sequence[Tensor],
) -> list[Tensor]:
    steps, batch, _ = g_out.shape
    g_x = g_out.new_empty((steps, batch, sources) if needed else 0)
    g_bias = weight.new_empty(0) if bias is None else bias.new_empty(bias.shape)
    others = [t.new_empty(t.shape) for t in (*g_states, *per_neuron)]
    return [g_x, weight.new_empty(weight.shape), g_bias, *others]


def _remember(
    ctx: Any,
    made: tuple[str, int, list[float], list[float]],
    tensors: tuple[Tensor | None, ...],
    states: int,
    output: Sequence[Tensor],
    ones: bool,
    listed: Sequence[Tensor] = (),
) -> None:
    """Keep in `ctx` what the backward pass reads: of an input of zeros and ones just its bits."""
    x, packed_bits, mask, weight, bias, *rest = tensors
    assert x is not None
    key, chunk, *_ = made
    plan, state, per_neuron = find(key), rest[:states], rest[states:]
    _, *after = output
    packed, _, _, _, *kept = after[states:]
    saved = kept if chunk else [kept[plan.position(node)] for node in plan.saved]
    ctx.save_for_backward(
        None if ones else x,
        packed if packed_bits is None else packed_bits,
        mask,
        weight,
        bias,
        *per_neuron,
        *saved,
        *listed,
    )
    ctx.listed = len(listed)
    ctx.made, ctx.sources, ctx.coefficients = made, x.shape[-1], len(per_neuron)
    ctx.out_shape, ctx.state_shapes = output[0].shape, [s.shape for s in state if s is not None]
    ctx.set_materialize_grads(False)


def _recall(ctx: Any, grads: Sequence[Tensor | None], needed: bool) -> tuple[Any, ...]:
    """Return the arguments of the backward operator."""
    x, packed_bits, mask, weight, bias, *rest = ctx.saved_tensors
    key, chunk, forward, backward = ctx.made
    per_neuron, kept = rest[: ctx.coefficients], rest[ctx.coefficients : len(rest) - ctx.listed]
    g_out = weight.new_zeros(ctx.out_shape) if grads[0] is None else grads[0]
    g_states = [
        weight.new_zeros(shape) if g is None else g for g, shape in zip(grads[1:], ctx.state_shapes, strict=False)
    ]
    numbers = (forward, backward, chunk)
    return key, x, packed_bits, ctx.sources, mask, needed, weight, bias, per_neuron, *numbers, g_out, g_states, kept


class _Direct(DirectFunction):
    @staticmethod
    def forward(
        plain: bool, key: str, chunk: int, states: int, numbers: list[float], back: list[float], *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        x, packed_bits, _, weight, bias, *rest = tensors
        assert x is not None and weight is not None
        made = Layer(find(key), weight, bias, rest[states:], numbers, back, chunk)  # type: ignore[arg-type]
        result = _functions(x).forward(made, x, packed_bits, rest[:states])
        if packed_bits is not None:
            result = result._replace(input_bits=packed_bits[:0])
        output = tuple(_listed(result))
        # Where all is kept, the list of events is small beside it; its length is not known to a transform.
        return (*output, *result.listed) if plain and not chunk and result.listed is not None else output

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, key, chunk, states, numbers, back, *tensors = inputs
        # Under a transform the bits cannot be asked: x is then kept unless its maker packed it.
        ones = tensors[1] is not None if under_transform() else bool(output[2 + states])
        listed = [t for t in output[-2:] if t.dtype is torch.int32]
        _remember(ctx, (key, chunk, numbers, back), tuple(tensors), states, output, ones, listed)
        ctx.mark_non_differentiable(*output[1 + states :])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        needed, biased = ctx.needs_input_grad[6], ctx.needs_input_grad[10]
        arguments = _recall(ctx, grads, needed)
        if under_transform():
            g_x, g_weight, g_bias, *others = call_under_transform(_backward, *arguments)
            given = (g_x if needed else None, None, None, g_weight, g_bias if biased else None, *others)
            return None, None, None, None, None, None, *given
        with torch.no_grad():
            listed = tuple(ctx.saved_tensors[-2:]) if ctx.listed else None
            g_x, g_weight, g_bias, *others = _backward(*arguments, listed)
        for_x, *for_others = forbid_double_backward(
            [g_x if needed else None, g_weight, g_bias if biased else None, *others]
        )
        return None, None, None, None, None, None, for_x, None, None, *for_others


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    key, x, packed_bits, mask, weight, bias, state, per_neuron, forward, backward, chunk = inputs
    tensors = (x, packed_bits, mask, weight, bias, *state, *per_neuron)
    # A compiler does not know what the bits will say, nor does an accelerator wait to hear it: x is kept unless its
    # maker packed it.
    _remember(ctx, (key, chunk, forward, backward), tensors, len(state), output, packed_bits is not None)
    ctx.empty = (not forward, not backward)


def _operator_backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    needed = ctx.needs_input_grad[1]
    g_x, g_weight, g_bias, *rest = run_layer_backward(*_recall(ctx, grads, needed))
    states = len(ctx.state_shapes)
    # torch takes an empty list of numbers for a list of tensors and wants a list back.
    numbers: list[Any] = [[] if empty else None for empty in ctx.empty]
    biased = ctx.needs_input_grad[5]
    return (
        None,
        g_x if needed else None,
        None,
        None,
        g_weight,
        g_bias if biased else None,
        rest[:states],
        rest[states:],
        *numbers,
        None,
    )


run_layer.register_autograd(_operator_backward, setup_context=_setup_context)
run_layer.register_autocast("cpu", torch.float32)
