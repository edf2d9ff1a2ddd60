"""Running a plan on a CUDA device: memory for the results, one kernel launch.

Currents and outputs may be in half precision; state, coefficients and arithmetic are then in single precision, and so
is what the backward pass needs, apart from values that half precision holds exactly.

Nothing here waits for the device, and all memory is torch's own, so a call can be captured in a CUDA graph once it has
run outside of one.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.compiler.plan import Plan, find
from neurosim.compiler.printer import Kernel, backward_kernel, forward_kernel
from neurosim.compiler.triton import module_cache as generated
from neurosim.compiler.triton import source as triton_source
from neurosim.kernels.common import constants
from neurosim.kernels.neurons.arguments import Call, Gradients, Outputs, Saved
from neurosim.language.expression import Expression

REAL = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}
# Without fusion a product and a sum are two roundings, as in the reference.
OPTIONS = {"num_warps": triton_source.WARPS, "enable_fp_fusion": False}
# Neurons from which four to a thread leave two programs for each of the multiprocessors of a large device.
WIDE = 1 << 17


def forward(call: Call) -> Outputs:
    """Run the neurons.

    The inputs are all in the same half, single or double precision, and so is the output; state and coefficients are in
    the precision of `arithmetic`, or converted to it.
    """
    plan = find(call.plan_key)
    inputs = [i.contiguous() for i in call.inputs]
    i = inputs[0]
    real = arithmetic(i.dtype)
    out = torch.empty_like(i)
    stored = [torch.empty_like(i, dtype=stored_in(node, i.dtype)) for node in plan.stored]
    before = [s.to(real).contiguous() for s in call.state]
    after = [torch.empty_like(s) for s in before]
    coefficients = [p.to(real).contiguous() for p in call.coefficients]
    kernel = compiled(call.plan_key, REAL[i.dtype], False, interpreted())
    launch(kernel, [*inputs, out, *stored, *before, *coefficients, *after], call.forward_numbers)
    return Outputs(out, after, stored)


def backward(saved: Saved, grads: Sequence[Tensor]) -> Gradients:
    """Return the gradients, given those of the output and of the final states.

    The gradient of an input has the precision of that of the output, the others that of `arithmetic`.
    """
    g_out, *g_states = grads
    g_out = g_out.contiguous()
    real = arithmetic(g_out.dtype)
    g_inputs = [torch.empty_like(g_out) for _ in find(saved.plan_key).program.inputs]
    g_final = [g.to(real).contiguous() for g in g_states]
    g_initial = [torch.empty_like(g) for g in g_final]
    coefficients = [p.to(real).contiguous() for p in saved.coefficients]
    g_coefficients = [torch.empty_like(p) for p in coefficients]
    kernel = compiled(saved.plan_key, REAL[g_out.dtype], True, interpreted())
    values = [s.contiguous() for s in saved.stored]
    arrays = [g_out, *g_inputs, *values, *g_final, *coefficients, *g_coefficients, *g_initial]
    launch(kernel, arrays, saved.backward_numbers)
    return Gradients(g_inputs, g_initial, g_coefficients)


def arithmetic(dtype: torch.dtype) -> torch.dtype:
    """Return the precision of the arithmetic on inputs of `dtype`: single for half."""
    return torch.float32 if REAL[dtype] in triton_source.HALF else dtype


def stored_in(node: Expression, dtype: torch.dtype) -> torch.dtype:
    """Return the precision in which a value is stored for inputs of `dtype`: that of the input only if it is exact."""
    return dtype if node.op == "input" or node.is_binary else arithmetic(dtype)


def interpreted() -> bool:
    """Return whether Triton interprets its kernels, as the environment variable TRITON_INTERPRET says."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")


def kernel_of(plan: Plan, backwards: bool) -> Kernel:
    """Return one direction of `plan`."""
    return backward_kernel(plan) if backwards else forward_kernel(plan)


@functools.cache
def compiled(key: str, real: str, backwards: bool, interpreted: bool) -> Any:
    """Return the Triton function of the plan of this key; Triton compiles it at its first launch."""
    kernel = kernel_of(find(key), backwards)
    name = f"{key}_{'backward' if backwards else 'forward'}_{real}"
    return generated.module(name, triton_source.source(kernel, real, interpreted)).kernel


def tiling(width: int, dtype: torch.dtype) -> dict[str, int]:
    """Return the constants of a launch over `width` neurons with currents of `dtype`."""
    half = REAL[dtype] in triton_source.HALF
    each = 4 if width >= WIDE and width % 4 == 0 else 2 if half and width % 2 == 0 else 1
    return {"BLOCK": triton_source.THREADS * each, "AHEAD": triton_source.AHEAD, "EACH": each}


def launch(kernel: Any, arrays: Sequence[Tensor], uniforms: Sequence[float], **choices: int) -> None:
    """Launch `kernel`; the first of `arrays` is [T, ...]; `choices` replace those of `tiling` and `OPTIONS`."""
    first = arrays[0]
    width = math.prod(first.shape[1:])
    if width == 0:
        return
    settings = tiling(width, first.dtype) | OPTIONS | choices
    with torch.cuda.device_of(first):
        kernel[(-(-width // settings["BLOCK"]),)](
            *arrays,
            constants.numbers(uniforms, arithmetic(first.dtype), first.device),
            first.shape[0],
            width,
            **settings,
        )
