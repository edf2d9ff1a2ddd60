"""A recurrent layer on the CPU that keeps its state at the borders of chunks of steps instead of values at each step.

The backward pass runs each chunk forward again before it goes back through it, and then works out the weight gradient
over all steps at once: gradients are those of the layer that keeps all, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.compiler.plan import Plan, find
from neurosim.kernels.common.autograd import forbid_double_backward
from neurosim.kernels.linear.cpu import chunks
from neurosim.kernels.recurrent import cpu as recurrent_cpu


def serves(plan: str, drive: Tensor, chunk: int) -> bool:
    """Whether a run of the plan with this key over `drive` [T, B, N] can be cut into chunks that are run again."""
    known = find(plan)
    return 0 < chunk < len(drive) and not drive.is_cuda and known.program.is_spiking and known.through_time


def run(
    plan: str,
    chunk: int,
    forward_uniforms: list[float],
    backward_uniforms: list[float],
    drive: Tensor,
    weight: Tensor,
    z0: Tensor,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
) -> Sequence[Tensor]:
    """Run as `recurrent.run` does; of the stored values the bits of the output alone are returned."""
    tensors = (drive, weight, z0, *state, *per_neuron)
    found: Sequence[Tensor] = _Chunked.apply(plan, chunk, len(state), forward_uniforms, backward_uniforms, *tensors)
    return found


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, key: str, chunk: int, states: int, uniforms: list[float], back: list[float], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        drive, weight, z0, *rest = tensors
        plan, state, per_neuron = find(key), rest[:states], rest[states:]
        spans = chunks(len(drive), chunk)
        out, near = torch.empty_like(drive), 0.0
        bits: list[Tensor] = []
        borders: list[Tensor] = []
        z: Tensor = z0
        for first, last in spans:
            borders += [z, *state]
            (part, *after), sent = recurrent_cpu.forward(
                plan, drive[first:last], weight, z, state, per_neuron, uniforms
            )
            out[first:last] = part
            state, stored = after[:states], after[states:]
            near += recurrent_cpu.near(plan, _saved(plan, stored), first, len(drive))
            bits.append(sent[1:] if bits else sent)
            z = part[-1].clone()
        sent = torch.cat(bits)
        ctx.save_for_backward(drive, weight, z0, sent, *per_neuron, *borders)
        ctx.few = near < recurrent_cpu.FEW * recurrent_cpu.looks(len(drive)) * z0.numel()
        ctx.made, ctx.chunk, ctx.states, ctx.coefficients = (key, uniforms, back), chunk, states, len(per_neuron)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(sent)
        return out, z, *state, sent

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        drive, weight, z0, sent, *rest = ctx.saved_tensors
        key, uniforms, back = ctx.made
        plan, each = find(key), 1 + ctx.states
        per_neuron, borders = rest[: ctx.coefficients], rest[ctx.coefficients :]
        g_out, g_last, *g_after = grads[: 1 + each]
        with torch.no_grad():
            g_out = torch.zeros_like(drive) if g_out is None else g_out
            g_states = [torch.zeros_like(z0) if g is None else g for g in g_after]
            g_drive = torch.empty_like(drive)
            shares = [torch.zeros_like(p) for p in per_neuron]
            for number, (first, last) in reversed(list(enumerate(chunks(len(drive), ctx.chunk)))):
                z, *state = borders[number * each : (number + 1) * each]
                part = drive[first:last]
                (_, *after), _ = recurrent_cpu.forward(plan, part, weight, z, state, per_neuron, uniforms)
                saved = _saved(plan, after[ctx.states :])
                ends = (g_out[first:last], g_states, g_last, saved, per_neuron, back, weight, ctx.few, shares)
                g_drive[first:last], g_last, *others = recurrent_cpu.backward(plan, *ends)
                g_states, shares = others[: ctx.states], others[ctx.states :]
            g_weight = recurrent_cpu.weight_gradient(g_drive, sent, z0) if ctx.needs_input_grad[6] else None
        return None, None, None, None, None, *forbid_double_backward([g_drive, g_weight, g_last, *g_states, *shares])


def _saved(plan: Plan, stored: Sequence[Tensor]) -> list[Tensor]:
    return [stored[plan.position(node)] for node in plan.saved]
