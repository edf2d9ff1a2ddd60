"""Running a plan on a CUDA device: memory for the results, one kernel launch."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels import generated, triton_source
from neurosim.kernels.plan import Plan, find, known
from neurosim.kernels.printer import backward_kernel, forward_kernel

REAL = {torch.float32: "float32", torch.float64: "float64"}
# Without fusion a product and a sum are two roundings, as in the reference.
OPTIONS = {"num_warps": triton_source.BLOCK // 32, "enable_fp_fusion": False}


def forward(
    plan: Plan, i: Tensor, state: Sequence[Tensor], per_neuron: Sequence[Tensor], uniforms: Sequence[float]
) -> list[Tensor]:
    """Run `plan` over ``i`` [T, ...]; return output [T, ...], final states [...], stored values [T, ...] each."""
    i = i.contiguous()
    out = torch.empty_like(i)
    stored = [torch.empty_like(i) for _ in plan.stored]
    before = [s.contiguous() for s in state]
    after = [torch.empty_like(s) for s in before]
    coefficients = [p.contiguous() for p in per_neuron]
    kernel = compiled(known(plan), REAL[i.dtype], False, interpreted())
    _launch(kernel, [i, out, *stored, *before, *coefficients, *after], uniforms)
    return [out, *after, *stored]


def backward(
    plan: Plan,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    saved: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
) -> list[Tensor]:
    """Return the gradients of input [T, ...], initial states [...] and tensor coefficients [...]."""
    g_out = g_out.contiguous()
    g_i = torch.empty_like(g_out)
    g_final = [g.contiguous() for g in g_states]
    g_initial = [torch.empty_like(g) for g in g_final]
    coefficients = [p.contiguous() for p in per_neuron]
    shares = [torch.empty_like(p) for p in coefficients]
    kernel = compiled(known(plan), REAL[g_out.dtype], True, interpreted())
    kept = [s.contiguous() for s in saved]
    _launch(kernel, [g_out, g_i, *kept, *g_final, *coefficients, *shares, *g_initial], uniforms)
    return [g_i, *g_initial, *shares]


def interpreted() -> bool:
    """Whether Triton runs its kernels in its interpreter, as the environment variable TRITON_INTERPRET asks."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")


@functools.cache
def compiled(key: str, real: str, backwards: bool, interpreted: bool) -> Any:
    """Return the Triton function of the plan of this key; Triton compiles it at its first launch."""
    plan = find(key)
    kernel = backward_kernel(plan) if backwards else forward_kernel(plan)
    name = f"{key}_{'backward' if backwards else 'forward'}_{real}"
    return generated.module(name, triton_source.source(kernel, real, interpreted)).kernel


def _launch(kernel: Any, arrays: Sequence[Tensor], uniforms: Sequence[float]) -> None:
    """Launch `kernel`; the first of `arrays` is [T, ...]."""
    first = arrays[0]
    width = math.prod(first.shape[1:])
    if width == 0:
        return
    numbers = _on_device(tuple(uniforms), first.dtype, first.device)
    with torch.cuda.device_of(first):
        kernel[(-(-width // triton_source.BLOCK),)](
            *arrays,
            numbers,
            first.shape[0],
            width,
            BLOCK=triton_source.BLOCK,
            AHEAD=triton_source.AHEAD,
            **OPTIONS,
        )


@functools.lru_cache(maxsize=1024)
def _on_device(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return `numbers` on `device`; kept, since a copy waits for the device and cannot be captured in a graph."""
    return torch.tensor(numbers, dtype=dtype, device=device)
