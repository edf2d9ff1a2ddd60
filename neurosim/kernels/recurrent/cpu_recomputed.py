"""Neurons with a recurrent edge on the CPU that keep their state at checkpoints instead of values of each step.

The backward pass runs each chunk forward again before it goes back through it, and then computes the weight gradient
over all steps at once: gradients are the same bits as where the values of each step are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.compiler.plan import find
from neurosim.kernels.common.autograd import can_call_directly, under_transform
from neurosim.kernels.common.operator import Gradients, Needs, Operation
from neurosim.kernels.linear.arguments import chunks
from neurosim.kernels.recurrent import arguments, cpu, policy
from neurosim.kernels.recurrent.arguments import Call


class Outputs(NamedTuple):
    """Results of a call, as in `arguments.Outputs`; nothing is stored for the caller.

    Attributes
    ----------
    checkpoints : sequence of Tensor [B, N]
        For each chunk the output and the states before its first step.
    few : bool
        Whether few neurons are near threshold; see `policy`.
    """

    out: Tensor
    last: Tensor
    packed_bits: Tensor
    state: Sequence[Tensor]
    checkpoints: Sequence[Tensor]
    few: bool = False
    stored: tuple[()] = ()


class Saved(NamedTuple):
    """What the backward pass reads; see `Call` and `Outputs`."""

    plan_key: str
    drive: Tensor
    weight: Tensor
    z0: Tensor
    packed_bits: Tensor
    coefficients: Sequence[Tensor]
    checkpoints: Sequence[Tensor]
    forward_numbers: Sequence[float]
    backward_numbers: Sequence[float]
    chunk: int
    few: bool
    others: Sequence[Tensor]
    port: int


def applies(call: Call) -> bool:
    """Return whether a call is to be cut into chunks, and can be: in plain code that trains, where neurons spike."""
    if not 0 < call.chunk < len(call.drive) or not torch.is_grad_enabled() or call.drive.is_cuda:
        return False
    tensors = (call.drive, call.weight, call.z0, *call.state, *call.coefficients, *call.others)
    plan = find(call.plan_key)
    return plan.program.is_spiking and plan.through_time and can_call_directly(tensors) and not under_transform()


def _forward(call: Call) -> Outputs:
    plan, spans = find(call.plan_key), chunks(len(call.drive), call.chunk)
    out, near = torch.empty_like(call.drive), 0.0
    packed_bits: list[Tensor] = []
    checkpoints: list[Tensor] = []
    z, state = call.z0, call.state
    for first, last in spans:
        checkpoints += [z, *state]
        others = [x[first:last] for x in call.others]
        part = cpu.forward(call._replace(drive=call.drive[first:last], z0=z, state=state, others=others))
        out[first:last], z, state = part.out, part.last, part.state
        saved = plan.saved_among(part.stored)
        near += policy.count_near(plan, saved, call.backward_numbers, first, len(call.drive))
        packed_bits.append(part.packed_bits[1:] if packed_bits else part.packed_bits)
    few = policy.is_few(near, len(call.drive), call.z0.numel())
    return Outputs(out, z, torch.cat(packed_bits), state, checkpoints, few)


def _save(call: Call, outputs: Outputs) -> Saved:
    return Saved(
        plan_key=call.plan_key,
        drive=call.drive,
        weight=call.weight,
        z0=call.z0,
        packed_bits=outputs.packed_bits,
        coefficients=call.coefficients,
        checkpoints=outputs.checkpoints,
        forward_numbers=call.forward_numbers,
        backward_numbers=call.backward_numbers,
        chunk=call.chunk,
        few=outputs.few,
        others=call.others,
        port=call.port,
    )


def _backward(saved: Saved, needs: Needs, grads: Sequence[Tensor | None]) -> Gradients:
    g_out, g_last, *g_states = grads
    assert g_out is not None
    plan, states = find(saved.plan_key), len(g_states)
    g_drive = torch.empty_like(saved.drive)
    g_coefficients = [torch.zeros_like(p) for p in saved.coefficients]
    g_others = [torch.empty_like(x) for x in saved.others]
    ends_at = states + len(g_coefficients)
    whole = arguments.Saved(
        saved.plan_key,
        saved.weight,
        saved.z0,
        saved.packed_bits,
        saved.coefficients,
        saved.backward_numbers,
        (),
        saved.port,
    )
    for number, (first, last) in reversed(list(enumerate(chunks(len(saved.drive), saved.chunk)))):
        z, *state = saved.checkpoints[number * (1 + states) :][: 1 + states]
        again = Call(
            saved.plan_key,
            saved.drive[first:last],
            saved.weight,
            z,
            state,
            saved.coefficients,
            saved.forward_numbers,
            (),
            others=[x[first:last] for x in saved.others],
            port=saved.port,
        )
        part = whole._replace(stored=plan.saved_among(cpu.forward(again).stored))
        ends = [g_out[first:last], g_last, *g_states]
        g_drive[first:last], g_last, *rest = cpu.backward(part, ends, saved.few, g_coefficients)
        g_states[:], g_coefficients = rest[:states], rest[states:ends_at]
        for g, g_part in zip(g_others, rest[ends_at:], strict=True):
            g[first:last] = g_part
    g_weight = cpu.weight_gradient(whole, g_drive) if needs[1] else None
    return [g_drive, g_weight, g_last, *g_states, *g_coefficients, *g_others]


run = Operation(
    Call,
    Outputs,
    Saved,
    forward=_forward,
    save=_save,
    backward=_backward,
    inputs=("drive", "weight", "z0", "state", "coefficients", "others"),
    results=("out", "last", "state"),
    private=("checkpoints",),
    absent=(1,),
)
