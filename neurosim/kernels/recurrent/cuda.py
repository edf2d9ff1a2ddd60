"""Recurrent layers on CUDA: all steps in one kernel where the matrix fits a multiprocessor, else step by step.

The output of a step comes back as current one step later through a matrix, or through one matrix for each head of a
layer: ``i_t = drive_t + W z_{t-1}``. A narrow layer runs as one program for each tile of the batch and head. A wide
one runs a matrix product and a kernel of one step in turn; on CUDA the launches of 32 steps are captured in a graph
when the same shapes come a second time, and replayed from then on, for a run of any length.
"""

from __future__ import annotations

import functools
import importlib.metadata
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

from neurosim.compiler.plan import Plan, find, known
from neurosim.compiler.triton import module_cache as generated
from neurosim.kernels.common import constants as shared_constants
from neurosim.kernels.common.bits import words
from neurosim.kernels.linear import cuda_events
from neurosim.kernels.linear.policy import packs_on_cuda
from neurosim.kernels.neurons import arguments, cuda
from neurosim.kernels.recurrent import cuda_code as cuda_recurrent_source
from neurosim.kernels.recurrent.arguments import Call, Outputs, Saved, driven_first, in_order, last_output
from neurosim.kernels.recurrent.cuda_code import ROWS, WIDEST, shared_bytes, width
from neurosim.kernels.recurrent.cuda_graphs import graphs, parts


def forward(call: Call) -> Outputs:
    """Run neurons over time with a recurrent edge.

    The drive and the output may be in half precision, and so may the weight: spikes then pass exactly and are summed in
    single precision; a graded output is rounded before it passes. Where the steps are launched one by one the current
    is rounded to half before the neuron's step; in one kernel it is not. `z0`, states and coefficients must broadcast
    to [B, N].
    """
    plan, drive = find(call.plan_key), call.drive.contiguous()
    one, real = drive.shape[1:], cuda.arithmetic(drive.dtype)
    z0 = call.z0.to(drive.dtype).expand(one).contiguous()
    state = [s.to(real).expand(one).contiguous() for s in call.state]
    coefficients = [p.to(real).expand(one).contiguous() for p in call.coefficients]
    others = [x.contiguous() for x in call.others]
    matrix = _matrix(call.weight, drive)
    out, stored = torch.empty_like(drive), _stored(plan, drive)
    after = [torch.empty_like(s) for s in state]
    arrays = [*in_order(drive, others, call.port), out, *stored, *state, *coefficients, *after]
    if not _in_one_kernel(plan, False, arrays, call.forward_numbers, [matrix, z0], call.port):
        after = [s.clone() for s in state]
        body = functools.partial(_steps_forward, call.plan_key, tuple(call.forward_numbers), len(state), call.port)
        z, matrix = z0, matrix.to(drive.dtype)
        for part in parts(len(drive)):
            arrays = [drive[part], matrix, z, *after, *coefficients, *(x[part] for x in others)]
            graphs.run(body, arrays, [out[part], *after, *(x[part] for x in stored)])
            z = out[part.stop - 1]
    return Outputs(out, last_output(out, z0), _packed(plan, call, out), after, stored)


def packs(drive: Tensor) -> bool:
    """Return whether the bits of the output are kept for the backward pass in place of the output itself."""
    return packs_on_cuda(drive.shape.numel())


def _packed(plan: Plan, call: Call, out: Tensor) -> Tensor:
    """Return the bits of the output before the first step and after each [T + 1, B, H, W], or none."""
    heads, n, _ = call.weight.shape
    rows = len(out) + 1 if plan.program.is_spiking and packs(out) else 0
    bits = out.new_empty((rows, out.shape[1], heads, words(n)), dtype=torch.int64)
    if rows:
        cuda_events.pack(call.z0.to(out.dtype).expand(out.shape[1:]).reshape(-1, n), bits[0].flatten(0, 1))
        cuda_events.pack(out.view(-1, n), bits[1:].flatten(0, 2))
    return bits


def backward(saved: Saved, grads: Sequence[Tensor | None]) -> list[Tensor]:
    """Return the gradients of drive, output before the first step, initial states, coefficients and other inputs.

    Parameters
    ----------
    saved : Saved
        In half precision the gradient is rounded to half on its way from step to step.
    grads : sequence of Tensor
        Gradients of the outputs [T, B, N], of the last output or None, and of the final states.

    Returns
    -------
    list of Tensor
        [T, B, N] in the precision of the gradient of the outputs, then [B, N] each, then [T, B, N] each.
    """
    plan, (g_out, g_last, *g_states), numbers = find(saved.plan_key), grads, saved.backward_numbers
    assert g_out is not None
    g_out = g_out.contiguous()
    one, real = g_out.shape[1:], cuda.arithmetic(g_out.dtype)
    last = g_out.new_zeros(one) if g_last is None else g_last.to(g_out.dtype).expand(one).contiguous()
    g_final = [g.to(real).expand(one).contiguous() for g in g_states if g is not None]
    coefficients = [p.to(real).expand(one).contiguous() for p in saved.coefficients]
    stored = [s.contiguous() for s in saved.stored]
    if not plan.through_time:
        if g_last is not None and len(g_out):
            g_out = torch.cat([g_out[:-1], (g_out[-1] + last)[None]])
        values = (saved.plan_key, coefficients, numbers, stored)
        found = cuda.backward(arguments.Saved(*values), [g_out, *g_final])
        g_drive, *g_others = driven_first(found.inputs, saved.port)
        return [g_drive, torch.zeros_like(last), *found.state, *found.coefficients, *g_others]
    matrix = _matrix(saved.weight, g_out)
    g_inputs = [torch.empty_like(g_out) for _ in plan.program.inputs]
    g_drive, *g_others = driven_first(g_inputs, saved.port)
    g_z0, g_initial = torch.empty_like(last), [torch.empty_like(g) for g in g_final]
    g_coefficients = [torch.empty_like(p) for p in coefficients]
    arrays = [g_out, *g_inputs, *stored, *g_final, *coefficients, *g_coefficients, *g_initial]
    if not _in_one_kernel(plan, True, arrays, numbers, [matrix, last, g_z0], saved.port):
        body = functools.partial(_steps_backward, saved.plan_key, tuple(numbers), len(stored), len(g_final), saved.port)
        matrix, g_z0, g_initial = matrix.to(g_out.dtype), last.clone(), [g.clone() for g in g_final]
        for g in g_coefficients:
            g.zero_()
        shares = [torch.empty_like(p) for p in coefficients]
        for part in reversed(list(parts(len(g_out)))):
            over_time = [x[part] for x in stored]
            results = [g_drive[part], g_z0, *g_initial, *shares, *(g[part] for g in g_others)]
            graphs.run(body, [g_out[part], matrix, g_z0, *over_time, *g_initial, *coefficients], results)
            for g, share in zip(g_coefficients, shares, strict=True):
                g += share
    return [g_drive, g_z0, *g_initial, *g_coefficients, *g_others]


def weight_gradient(saved: Saved, g_drive: Tensor) -> Tensor:
    """Return the gradient of the weight [H, n, n], given that of the current [T, B, N]."""
    heads, n, _ = saved.weight.shape
    z0, sent = saved.z0.to(g_drive.dtype).expand(g_drive.shape[1:]), saved.sent
    if sent.dtype == torch.int64:
        sent = cuda_events.unpack(sent[1:].flatten(0, 2), n, g_drive.dtype).view_as(g_drive)

    def by_head(x: Tensor) -> Tensor:
        return x.reshape(-1, heads, n).transpose(0, 1)

    total = by_head(g_drive[0]).transpose(1, 2) @ by_head(z0)
    if len(g_drive) > 1:
        total.baddbmm_(by_head(g_drive[1:]).transpose(1, 2), by_head(sent[:-1]))
    return total


def fits(n: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether heads of `n` neurons with a matrix of `dtype` run in one kernel over time on `device`."""
    real = cuda.REAL[dtype]
    if n > WIDEST[real] or (real == "float64" and not _multiplies_doubles()):
        return False
    return shared_bytes(n, real) <= shared_limit(device) and (width(n), real, device) not in _too_large


_too_large: set[tuple[int, str, torch.device]] = set()  # where a launch was refused in spite of that


@functools.cache
def _multiplies_doubles() -> bool:
    """Return whether this Triton has products in double precision, which came with 3.6."""
    return tuple(map(int, importlib.metadata.version("triton").split(".")[:2])) >= (3, 6)


@functools.cache
def shared_limit(device: torch.device) -> float:
    """Return the shared memory, in bytes, that a program of the recurrent kernels may have on `device`.

    None before compute capability 8.0, where the kernels spill their registers, nor on AMD, where Triton has no product
    in three parts of single precision.
    """
    if device.type != "cuda":
        return math.inf
    if torch.version.hip is not None:
        return 0.0
    device_properties: Any = torch.cuda.get_device_properties(device)
    if device_properties.major < 8:
        return 0.0
    return float(getattr(device_properties, "shared_memory_per_block_optin", 99 << 10))


def _in_one_kernel(
    plan: Plan,
    backwards: bool,
    arrays: Sequence[Tensor],
    uniforms: Sequence[float],
    recurrent: Sequence[Tensor],
    port: int,
) -> bool:
    """Launch the kernel over all steps, if it fits; return whether it was launched."""
    matrix, device = recurrent[0], arrays[0].device
    if not fits(matrix.shape[1], matrix.dtype, device):
        return False
    try:
        _launch(plan, backwards, arrays, uniforms, recurrent, port)
    except OutOfResources as error:
        _too_large.add((width(matrix.shape[1]), cuda.REAL[matrix.dtype], device))
        warnings.warn(
            f"recurrent layers of {matrix.shape[1]} neurons in {matrix.dtype} run step by step on {device}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


def _matrix(weight: Tensor, like: Tensor) -> Tensor:
    """Return `weight` in a precision that goes with arrays like `like`: half stays, else that of the arithmetic."""
    half = cuda.arithmetic(weight.dtype) != weight.dtype and like.dtype != torch.float64
    return weight.contiguous() if half else weight.to(cuda.arithmetic(like.dtype)).contiguous()


def _stored(plan: Plan, drive: Tensor) -> list[Tensor]:
    return [torch.empty_like(drive, dtype=cuda.stored_in(node, drive.dtype)) for node in plan.stored]


@functools.cache
def compiled(key: str, real: str, weight: str, backwards: bool, interpreted: bool, port: int = 0) -> Any:
    """Return the Triton function over time of the plan of this key; Triton compiles it at its first launch."""
    kernel = cuda.kernel_of(find(key), backwards)
    name = f"{key}_recurrent_{'backward' if backwards else 'forward'}_{real}_{weight}"
    return generated.module(name, cuda_recurrent_source.source(kernel, real, weight, interpreted, port)).kernel


def constants(n: int) -> dict[str, int]:
    """Return the constants of a launch for heads of `n` neurons."""
    return {"ROWS": ROWS, "WIDTH": width(n)}


def options(n: int) -> dict[str, Any]:
    """Return what Triton compiles for heads of `n` neurons."""
    return {"num_warps": 4 if n <= 64 else 8, "num_stages": 1, "enable_fp_fusion": False}


def _launch(
    plan: Plan,
    backwards: bool,
    arrays: Sequence[Tensor],
    uniforms: Sequence[float],
    recurrent: Sequence[Tensor],
    port: int,
) -> None:
    first, weight = arrays[0], recurrent[0]
    steps, batch, _ = first.shape
    heads, n, _ = weight.shape
    if first.shape[1:].numel() == 0:
        return
    reals = cuda.REAL[first.dtype], cuda.REAL[weight.dtype]
    kernel = compiled(known(plan), *reals, backwards, cuda.interpreted(), port)
    numbers = shared_constants.numbers(uniforms, cuda.arithmetic(first.dtype), first.device)
    with torch.cuda.device_of(first):
        kernel[(-(-batch // ROWS), heads)](
            *arrays, numbers, *recurrent, steps, batch, heads, n, **constants(n), **options(n)
        )


def _add(to: Tensor, sent: Tensor, matrix: Tensor) -> None:
    """Add what `sent` gives through `matrix`, head by head, to `to`; both [B, N]."""
    heads, n, _ = matrix.shape
    if heads == 1:
        to.addmm_(sent, matrix[0])
        return
    to, sent = (x.view(-1, heads, n).transpose(0, 1) for x in (to, sent))
    to.baddbmm_(sent, matrix)


def _steps_forward(
    key: str, uniforms: tuple[float, ...], states: int, port: int, arrays: Sequence[Tensor]
) -> list[Tensor]:
    drive, matrix, z, *rest = arrays
    plan = find(key)
    ends_at = len(rest) - len(plan.program.inputs) + 1
    state, coefficients, others = [s.clone() for s in rest[:states]], rest[states:ends_at], rest[ends_at:]
    out, stored = torch.empty_like(drive), _stored(plan, drive)
    kernel = cuda.compiled(key, cuda.REAL[drive.dtype], False, cuda.interpreted())
    current, turned = drive.clone(), matrix.transpose(1, 2)
    for t in range(len(drive)):
        _add(current[t], z, turned)
        inputs = in_order(current[t : t + 1], [x[t : t + 1] for x in others], port)
        written = [x[t : t + 1] for x in (out, *stored)]
        cuda.launch(kernel, [*inputs, *written, *state, *coefficients, *state], uniforms, AHEAD=1)
        z = out[t]
    return [out, *state, *stored]


def _steps_backward(
    key: str, uniforms: tuple[float, ...], saved: int, states: int, port: int, arrays: Sequence[Tensor]
) -> list[Tensor]:
    g_out, matrix, last, *rest = arrays
    kept, g_state, coefficients = rest[:saved], [g.clone() for g in rest[saved:][:states]], rest[saved + states :]
    g_inputs, g_z0 = [torch.empty_like(g_out) for _ in find(key).program.inputs], torch.zeros_like(last)
    g_drive, *g_others = driven_first(g_inputs, port)
    total, step_shares = [torch.zeros_like(p) for p in coefficients], [torch.empty_like(p) for p in coefficients]
    kernel = cuda.compiled(key, cuda.REAL[g_out.dtype], True, cuda.interpreted())
    g = g_out.clone()
    for t in reversed(range(len(g))):
        if t == len(g) - 1:
            g[t] += last
        else:
            _add(g[t], g_drive[t + 1], matrix)
        read = [x[t : t + 1] for x in kept]
        written = [x[t : t + 1] for x in g_inputs]
        of_step = [g[t : t + 1], *written, *read, *g_state, *coefficients, *step_shares, *g_state]
        cuda.launch(kernel, of_step, uniforms, AHEAD=1)
        for so_far, share in zip(total, step_shares, strict=True):
            so_far += share
    _add(g_z0, g_drive[0], matrix)
    return [g_drive, g_z0, *g_state, *total, *g_others]
