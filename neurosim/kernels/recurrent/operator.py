"""A recurrent layer in one call over time: torch's operator and the straight way, for every core and device.

The current of a step is what comes from outside and what the neurons sent one step before, through a matrix, or through
one for each head: ``i_t = drive_t + W z_{t-1}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.compiler.plan import Plan, find
from neurosim.kernels.common import decisions
from neurosim.kernels.common.autograd import (
    DirectFunction,
    call_under_transform,
    can_call_directly,
    forbid_double_backward,
    under_transform,
)
from neurosim.kernels.common.bits import WORD, words
from neurosim.kernels.recurrent import cpu as recurrent_cpu
from neurosim.kernels.recurrent import cpu_recomputed as recurrent_chunks


def run(
    plan: str,
    drive: Tensor,
    weight: Tensor,
    z0: Tensor,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: list[float],
    backward_uniforms: list[float],
    chunk: int = 0,
) -> Sequence[Tensor]:
    """Run the plan with this key over time with a recurrent edge one step late.

    Parameters
    ----------
    plan : str
        Key of the plan.
    drive : Tensor [T, B, N]
        Current from outside.
    weight : Tensor [H, n, n]
        One matrix for each head, ``H n = N``; row = neuron after the synapse.
    z0 : Tensor [B, N]
        Output before the first step.
    state : sequence of Tensor [B, N]
        State before the first step.
    per_neuron : sequence of Tensor [B, N]
        Tensor coefficients, as the plan orders them.
    forward_uniforms, backward_uniforms : list of float
        Plain numbers of the two kernels.
    chunk : int
        Steps between two borders at which the state is kept for the backward pass, where that is possible (spikes, on
        the CPU, in plain eager code); 0 keeps values of each step. With chunks no values are returned as stored.

    Returns
    -------
    sequence of Tensor
        Output [T, B, N]; the last output [B, N]; final states [B, N]; stored values [T, B, N] each; of neurons that
        spike then the bits [T + 1, B, H, ceil(n / 64)] of the output before the first step and after each.
    """
    tensors = (drive, weight, z0, *state, *per_neuron)
    if not can_call_directly(tensors):
        return run_recurrent(
            plan, drive, weight, z0, list(state), list(per_neuron), forward_uniforms, backward_uniforms
        )
    if not torch.is_grad_enabled() and not under_transform():
        return _forward(find(plan), drive, weight, z0, state, per_neuron, forward_uniforms)
    if recurrent_chunks.serves(plan, drive, chunk) and not under_transform():
        numbers = (forward_uniforms, backward_uniforms)
        return recurrent_chunks.run(plan, chunk, *numbers, drive, weight, z0, state, per_neuron)
    return _Direct.run(plan, len(state), forward_uniforms, backward_uniforms, *tensors)


def bits_of(plan: str, weight: Tensor, stored: Sequence[Tensor]) -> Tensor | None:
    """Return the bits of the output [T B, ceil(N / 64)] as layers pass them on, given what `run` returned at the end.

    None where the output is no spikes, or where there are several heads whose bits do not fill whole words.
    """
    heads, n, _ = weight.shape
    if not find(plan).program.is_spiking or (heads > 1 and n % WORD):
        return None
    return stored[-1][1:].flatten(0, 1).flatten(1)


def _forward(
    plan: Plan,
    drive: Tensor,
    weight: Tensor,
    z0: Tensor,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
) -> list[Tensor]:
    """See `run`."""
    heads, n, _ = weight.shape
    if decisions.observers:
        decisions.note("recurrent", drive.device.type, "fused")
    if not drive.is_cuda:
        values, bits = recurrent_cpu.forward(plan, drive, weight, z0, state, per_neuron, uniforms)
    else:
        from neurosim.kernels.linear import cuda_events
        from neurosim.kernels.recurrent import cuda as cuda_recurrent

        values = cuda_recurrent.forward(plan, drive, weight, z0, state, per_neuron, uniforms)
        if plan.program.is_spiking:
            bits = cuda_events.pack(_all_outputs(z0, values[0]).view(-1, n))[0]
            bits = bits.view(len(drive) + 1, len(z0), heads, -1)
    out, *rest = values
    last = (out[-1] if len(out) else z0).clone()
    return [out, last, *rest, *([bits] if plan.program.is_spiking else [])]


def _all_outputs(z0: Tensor, out: Tensor) -> Tensor:
    return torch.cat((z0[None].to(out.dtype), out))


def _backward(
    learned: bool,
    plan: Plan,
    g_out: Tensor,
    g_last: Tensor | None,
    g_states: Sequence[Tensor],
    saved: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
    weight: Tensor,
    z0: Tensor,
    sent: Tensor,
) -> list[Tensor]:
    """Return the gradients of drive, weight, output before the first step, initial states and tensor coefficients.

    That of the weight is empty unless it is `learned`.
    """
    if not len(g_out):
        g_z0 = torch.zeros_like(z0) if g_last is None else g_last.clone()
        return [
            g_out,
            torch.zeros_like(weight),
            g_z0,
            *(g.clone() for g in g_states),
            *map(torch.zeros_like, per_neuron),
        ]
    given = (plan, g_out, g_states, g_last, saved, per_neuron, uniforms, weight)
    if not g_out.is_cuda:
        g_drive, *rest = recurrent_cpu.backward(*given)
    else:
        from neurosim.kernels.recurrent import cuda as cuda_recurrent

        g_drive, *rest = cuda_recurrent.backward(*given)
    g_weight = (
        _weight_gradient(plan, g_drive, z0, sent, len(weight)).to(weight.dtype) if learned else weight.new_empty(0)
    )
    return [g_drive, g_weight, *rest]


def _weight_gradient(plan: Plan, g_drive: Tensor, z0: Tensor, sent: Tensor, heads: int) -> Tensor:
    if not plan.program.is_spiking:
        return recurrent_cpu.dense_weight_gradient(g_drive, _all_outputs(z0, sent)[:-1], heads)
    if not g_drive.is_cuda:
        return recurrent_cpu.weight_gradient(g_drive, sent, z0)
    from neurosim.kernels.linear import cuda_events

    z = cuda_events.unpack(sent[:-1].flatten(0, 2), z0.shape[1] // heads, g_drive.dtype).view_as(g_drive)
    z[0] = z0
    return recurrent_cpu.dense_weight_gradient(g_drive, z, heads)


@torch.library.custom_op("neurosim::run_recurrent", mutates_args=(), device_types=("cpu", "cuda"))
def run_recurrent(
    plan: str,
    drive: Tensor,
    weight: Tensor,
    z0: Tensor,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: Sequence[float],
    backward_uniforms: Sequence[float],
) -> list[Tensor]:
    """See `run`."""
    return _forward(find(plan), drive, weight, z0, state, per_neuron, forward_uniforms)


@torch.library.custom_op("neurosim::run_recurrent_backward", mutates_args=(), device_types=("cpu", "cuda"))
def run_recurrent_backward(
    plan: str,
    g_out: Tensor,
    g_last: Tensor | None,
    g_states: Sequence[Tensor],
    saved: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
    weight: Tensor,
    z0: Tensor,
    sent: Tensor,
) -> list[Tensor]:
    """See `_backward`."""
    return _backward(True, find(plan), g_out, g_last, g_states, saved, per_neuron, uniforms, weight, z0, sent)


@run_recurrent.register_fake
def _(
    plan: str,
    drive: Tensor,
    weight: Tensor,
    z0: Tensor,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    forward_uniforms: Sequence[float],
    backward_uniforms: Sequence[float],
) -> list[Tensor]:
    steps, batch, _ = drive.shape
    heads, n, _ = weight.shape
    over_time = [drive.new_empty(drive.shape) for _ in find(plan).stored]
    bits = drive.new_empty((steps + 1, batch, heads, words(n)), dtype=torch.int64)
    one_step = [x.new_empty(x.shape) for x in (z0, *state)]
    return [drive.new_empty(drive.shape), *one_step, *over_time, *([bits] if find(plan).program.is_spiking else [])]


@run_recurrent_backward.register_fake
def _(
    plan: str,
    g_out: Tensor,
    g_last: Tensor | None,
    g_states: Sequence[Tensor],
    saved: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
    weight: Tensor,
    z0: Tensor,
    sent: Tensor,
) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in (g_out, weight, z0, *g_states, *per_neuron)]


def _remember(
    ctx: Any,
    key: str,
    given: tuple[Tensor, Tensor],
    states: int,
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
    output: Sequence[Tensor],
) -> None:
    """Keep in `ctx` what the backward pass of the plan with this key reads; `given` are weight and first output."""
    plan = find(key)
    stored = output[2 + states :]
    saved = [stored[plan.position(node)] for node in plan.saved]
    ctx.save_for_backward(*given, output[-1] if plan.program.is_spiking else output[0], *saved, *per_neuron)
    ctx.plan, ctx.uniforms, ctx.saved = key, uniforms, len(saved)
    ctx.shapes = [x.shape for x in output[: 2 + states]]
    ctx.set_materialize_grads(False)


def _recall(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """Return the arguments of the backward operator."""
    weight, z0, sent, *tensors = ctx.saved_tensors
    saved, per_neuron = tensors[: ctx.saved], tensors[ctx.saved :]
    g_out, g_last, *g_states = (
        z0.new_zeros(shape) if g is None and number != 1 else g
        for number, (g, shape) in enumerate(zip(grads, ctx.shapes, strict=False))
    )
    return ctx.plan, g_out, g_last, g_states, saved, per_neuron, ctx.uniforms, weight, z0, sent


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    key, _, weight, z0, state, per_neuron, forward, backward = inputs
    _remember(ctx, key, (weight, z0), len(state), per_neuron, backward, output)
    ctx.empty = (not forward, not backward)


def _operator_backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    g_drive, g_weight, g_z0, *rest = run_recurrent_backward(*_recall(ctx, grads))
    states = len(ctx.shapes) - 2
    # torch takes an empty list of numbers for a list of tensors and wants a list back.
    numbers: list[Any] = [[] if empty else None for empty in ctx.empty]
    return None, g_drive, g_weight, g_z0, rest[:states], rest[states:], *numbers


run_recurrent.register_autograd(_operator_backward, setup_context=_setup_context)
for _device in ("cpu", "cuda"):
    run_recurrent.register_autocast(_device, torch.float32)


class _Direct(DirectFunction):
    @staticmethod
    def forward(_: bool, plan: str, states: int, forward: list[float], back: list[float], *tensors: Tensor) -> Any:
        drive, weight, z0, *rest = tensors
        return tuple(_forward(find(plan), drive, weight, z0, rest[:states], rest[states:], forward))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, plan, states, _, backward, _, weight, z0, *rest = inputs
        _remember(ctx, plan, (weight, z0), states, rest[states:], backward, output)
        ctx.mark_non_differentiable(*output[2 + states :])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        plan, *arguments = _recall(ctx, grads)
        if under_transform():
            return None, None, None, None, None, *call_under_transform(_gradients, plan, *arguments)
        learned = ctx.needs_input_grad[6]
        with torch.no_grad():
            g_drive, g_weight, *rest = _backward(learned, find(plan), *arguments)
        return None, None, None, None, None, *forbid_double_backward([g_drive, g_weight if learned else None, *rest])


def _gradients(plan: str, *arguments: Any) -> list[Tensor]:
    return _backward(True, find(plan), *arguments)
