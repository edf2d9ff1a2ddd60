"""A linear layer with its neurons as an operation: ``neurosim::run_layer``."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from neurosim.compiler.plan import find
from neurosim.kernels.common.autograd import check_devices
from neurosim.kernels.common.bits import words
from neurosim.kernels.common.layer_output import LayerOutput, recorded_values
from neurosim.kernels.common.operator import Needs, Operator
from neurosim.kernels.linear import cpu, single_step
from neurosim.kernels.linear.arguments import Call, Outputs, Saved
from neurosim.kernels.linear.policy import is_single_step

__all__ = ["Call", "run", "run_layer"]


def run(call: Call) -> LayerOutput:
    """Run a linear layer and its neurons over time."""
    if is_single_step(call):
        check_devices((call.x, call.weight, call.bias))
        return single_step.run(call)
    outputs = run_layer(call)
    packed_bits = outputs.packed_bits if outputs.packed_bits.shape[0] else None
    mask = outputs.mask if outputs.mask.shape[0] else None
    recorded = recorded_values(call.plan_key, outputs.stored)
    return LayerOutput(outputs.out, outputs.state, recorded, packed_bits, mask)


def _kernels(like: Tensor) -> ModuleType:
    if like.device.type == "cpu":
        return cpu
    from neurosim.kernels.linear import cuda

    return cuda


def _forward(call: Call) -> Outputs:
    outputs: Outputs = _kernels(call.x).forward(call)
    return outputs


def _save(call: Call, outputs: Outputs) -> Saved:
    plan, stored = find(call.plan_key), outputs.stored
    # A compiler does not know the bits, and an accelerator does not wait for them: x is kept unless it came packed.
    is_binary = outputs.is_binary or call.packed_bits is not None
    # Where the values of each step are kept, the events of the input are small beside them.
    events = () if call.chunk or outputs.events is None else outputs.events
    return Saved(
        plan_key=call.plan_key,
        x=None if is_binary else call.x,
        input_bits=outputs.input_bits if call.packed_bits is None else call.packed_bits,
        n_in=call.x.shape[-1],
        mask=call.mask,
        weight=call.weight,
        bias=call.bias,
        coefficients=call.coefficients,
        forward_numbers=call.forward_numbers,
        backward_numbers=call.backward_numbers,
        chunk=call.chunk,
        stored=stored if call.chunk else plan.saved_among(stored),
        events=events,
    )


def _backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Sequence[Tensor | None]:
    gradients: Sequence[Tensor | None] = _kernels(saved.weight).backward(saved, needs, grads)
    return gradients


def _unshared(call: Call, outputs: Outputs) -> Outputs:
    return outputs if call.packed_bits is None else outputs._replace(input_bits=call.packed_bits[:0].clone())


def _fake(call: Call) -> Outputs:
    (steps, batch, n_in), width, plan = call.x.shape, call.weight.shape[0], find(call.plan_key)

    def bits(exist: bool, n: int) -> Tensor:
        return call.x.new_empty((steps * batch if exist else 0, words(n)), dtype=torch.int64)

    has_bits, has_mask = cpu.has_packed_bits(plan), cpu.has_mask(plan)
    if call.x.device.type == "cuda":
        from neurosim.kernels.linear import cuda

        has_bits, has_mask = cuda.packs(plan, call.chunk, steps * batch * width), False
    lengths = [-(-steps // call.chunk)] * len(call.state) if call.chunk else [steps] * len(plan.stored)
    return Outputs(
        out=call.x.new_empty((steps, batch, width)),
        packed_bits=bits(has_bits, width),
        mask=bits(has_mask, width),
        state=[s.new_empty(s.shape) for s in call.state],
        stored=[call.x.new_empty((length, batch, width)) for length in lengths],
        input_bits=bits(call.packed_bits is None and call.x.device.type != "cuda", n_in),
    )


def _fake_gradients(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> list[Tensor]:
    steps, batch, _ = grads[0].shape
    weight, bias = saved.weight, saved.weight[:, 0] if saved.bias is None else saved.bias
    x = weight.new_empty((steps, batch, saved.n_in))
    return [x, *(t.new_empty(t.shape) for t in (weight, bias, *grads[1:], *saved.coefficients))]


run_layer = Operator(
    "run_layer",
    Call,
    Outputs,
    Saved,
    forward=_forward,
    save=_save,
    backward=_backward,
    inputs=("x", "weight", "bias", "state", "coefficients"),
    results=("out", "state"),
    private=("input_bits",),
    fake=_fake,
    fake_gradients=_fake_gradients,
    unshared=_unshared,
)
