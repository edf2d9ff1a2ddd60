"""Neurons with a recurrent edge one step late, in one call over time: ``neurosim::run_recurrent``."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from neurosim.compiler.plan import find
from neurosim.kernels.common import decisions
from neurosim.kernels.common.bits import WORD, words
from neurosim.kernels.common.layer_output import LayerOutput, recorded_values
from neurosim.kernels.common.operator import Needs, Operator
from neurosim.kernels.recurrent import cpu, cpu_recomputed
from neurosim.kernels.recurrent.arguments import Call, Outputs, Saved

__all__ = ["Call", "run", "run_recurrent"]


def run(call: Call) -> LayerOutput:
    """Run neurons over time with a recurrent edge."""
    if decisions.observers:
        decisions.note("recurrent", call.drive.device.type, "fused")
    outputs = cpu_recomputed.run(call) if cpu_recomputed.applies(call) else run_recurrent(call)
    heads, n, _ = call.weight.shape
    # Layers pass the bits of all neurons of a sample on: those of several heads must fill words.
    has_bits = outputs.packed_bits.shape[0] > 0 and (heads == 1 or n % WORD == 0)
    packed_bits = outputs.packed_bits[1:].flatten(0, 1).flatten(1) if has_bits else None
    recorded = recorded_values(call.plan_key, outputs.stored)
    return LayerOutput(outputs.out, outputs.state, recorded, packed_bits, None, outputs.last)


def _kernels(like: Tensor) -> ModuleType:
    if not like.is_cuda:
        return cpu
    from neurosim.kernels.recurrent import cuda

    return cuda


def _forward(call: Call) -> Outputs:
    outputs: Outputs = _kernels(call.drive).forward(call)
    return outputs


def _save(call: Call, outputs: Outputs) -> Saved:
    plan = find(call.plan_key)
    return Saved(
        plan_key=call.plan_key,
        weight=call.weight,
        z0=call.z0,
        sent=outputs.packed_bits if len(outputs.packed_bits) else outputs.out,
        coefficients=call.coefficients,
        backward_numbers=call.backward_numbers,
        stored=plan.saved_among(outputs.stored),
        port=call.port,
    )


def _backward(saved: Saved, needs: Needs, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    g_out, g_last, *g_states = grads
    assert g_out is not None
    if not len(g_out):
        g_z0 = torch.zeros_like(saved.z0) if g_last is None else g_last.clone()
        g_state = [g.clone() for g in g_states if g is not None]
        none = [torch.zeros_like(t) for t in (*saved.coefficients, *_others(saved, g_out))]
        return [g_out, torch.zeros_like(saved.weight), g_z0, *g_state, *none]
    kernels = _kernels(g_out)
    g_drive, *others = kernels.backward(saved, grads)
    g_weight = kernels.weight_gradient(saved, g_drive).to(saved.weight.dtype) if needs[1] else None
    return [g_drive, g_weight, *others]


def _fake(call: Call) -> Outputs:
    drive, plan, (steps, batch, _), (heads, n, _) = call.drive, find(call.plan_key), call.drive.shape, call.weight.shape
    sent, kinds = steps + 1 if plan.program.is_spiking else 0, [drive.dtype for _ in plan.stored]
    if drive.device.type == "cuda":
        from neurosim.kernels.neurons import cuda as neurons
        from neurosim.kernels.recurrent import cuda

        sent *= cuda.packs(drive)
        kinds = [neurons.stored_in(node, drive.dtype) for node in plan.stored]
    return Outputs(
        out=drive.new_empty(drive.shape),
        last=call.z0.new_empty(call.z0.shape),
        packed_bits=drive.new_empty((sent, batch, heads, words(n)), dtype=torch.int64),
        state=[s.new_empty(s.shape) for s in call.state],
        stored=[drive.new_empty(drive.shape, dtype=kind) for kind in kinds],
    )


def _fake_gradients(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> list[Tensor]:
    g_out, _, *g_states = grads
    tensors = (g_out, saved.weight, saved.z0, *g_states, *saved.coefficients, *_others(saved, g_out))
    return [t.new_empty(t.shape) for t in tensors]


def _others(saved: Saved, g_out: Tensor) -> list[Tensor]:
    """Return a tensor of the shape of each input but that of the recurrent edge."""
    return [g_out] * (len(find(saved.plan_key).program.inputs) - 1)


run_recurrent = Operator(
    "run_recurrent",
    Call,
    Outputs,
    Saved,
    forward=_forward,
    save=_save,
    backward=_backward,
    inputs=("drive", "weight", "z0", "state", "coefficients", "others"),
    results=("out", "last", "state"),
    absent=(1,),
    fake=_fake,
    fake_gradients=_fake_gradients,
    devices=("cpu", "cuda"),
)
