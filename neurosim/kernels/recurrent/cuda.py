"""Recurrent layers on CUDA: all steps in one kernel where the matrix fits a multiprocessor, else step by step.

The output of a step comes back as current one step later through a matrix, or through one matrix for each head of a
layer: ``i_t = drive_t + W z_{t-1}``. A narrow layer runs as one program for each tile of the batch and head. A wide
one runs a matrix product and a kernel of one step in turn; on CUDA the launches of 32 steps are captured in a graph
when the same shapes come a second time, and replayed from then on, for a run of any length.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.compiler.plan import Plan, find, known
from neurosim.compiler.triton import module_cache as generated
from neurosim.kernels.common.bits import words
from neurosim.kernels.linear import cuda_events
from neurosim.kernels.neurons import arguments, cuda
from neurosim.kernels.recurrent import cuda_code as cuda_recurrent_source
from neurosim.kernels.recurrent.arguments import Call, Outputs, Saved, all_outputs, driven_first, in_order, last_output
from neurosim.kernels.recurrent.cpu import dense_weight_gradient
from neurosim.kernels.recurrent.cuda_code import NARROWEST, ROWS, WIDEST

STEPS = 32  # of a graph; what is left of a run at its end is a graph of its own
GRAPHS = 64  # kept at once; each holds its own arrays, of so many steps


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
    if fits(matrix.shape[1], matrix.dtype):
        out = torch.empty_like(drive)
        stored = _stored(plan, drive)
        after = [torch.empty_like(s) for s in state]
        arrays = [*in_order(drive, others, call.port), out, *stored, *state, *coefficients, *after]
        _launch(plan, False, arrays, call.forward_numbers, [matrix, z0], call.port)
        return Outputs(out, last_output(out, z0), _packed(plan, call, out), after, stored)
    body = functools.partial(_steps_forward, call.plan_key, tuple(call.forward_numbers), len(state), call.port)
    z, matrix, parts = z0, matrix.to(drive.dtype), []
    for part, *other_parts in zip(*(x.split(STEPS) for x in (drive, *others)), strict=True):
        out, *rest = replayed(body, [part, matrix, z, *state, *coefficients, *other_parts])
        z, state, stored = (out[-1] if len(out) else z), rest[: len(state)], rest[len(state) :]
        parts.append([out, *stored])
    out, *stored = map(torch.cat, zip(*parts, strict=True))
    return Outputs(out, last_output(out, z0), _packed(plan, call, out), state, stored)


def _packed(plan: Plan, call: Call, out: Tensor) -> Tensor:
    """Return the bits of the output before the first step and after each [T + 1, B, H, W], or none of a graded one."""
    heads, n, _ = call.weight.shape
    if not plan.program.is_spiking:
        return out.new_empty((0, out.shape[1], heads, words(n)), dtype=torch.int64)
    bits, _ = cuda_events.pack(all_outputs(call.z0.expand(out.shape[1:]), out).view(-1, n))
    return bits.view(len(out) + 1, out.shape[1], heads, -1)


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
    if fits(matrix.shape[1], matrix.dtype):
        g_inputs = [torch.empty_like(g_out) for _ in plan.program.inputs]
        g_z0 = torch.empty_like(last)
        g_initial = [torch.empty_like(g) for g in g_final]
        g_coefficients = [torch.empty_like(p) for p in coefficients]
        arrays = [g_out, *g_inputs, *stored, *g_final, *coefficients, *g_coefficients, *g_initial]
        _launch(plan, True, arrays, numbers, [matrix, last, g_z0], saved.port)
        g_drive, *g_others = driven_first(g_inputs, saved.port)
        return [g_drive, g_z0, *g_initial, *g_coefficients, *g_others]
    body = functools.partial(_steps_backward, saved.plan_key, tuple(numbers), len(stored), len(g_final), saved.port)
    matrix = matrix.to(g_out.dtype)
    g_drive, *g_others = [torch.empty_like(g_out) for _ in plan.program.inputs]
    g_coefficients = [torch.zeros_like(p) for p in coefficients]
    ends_at = len(g_final) + len(coefficients)
    for first in reversed(range(0, len(g_out), STEPS)):
        part = slice(first, first + STEPS)
        over_time = [x[part] for x in stored]
        arrays = [g_out[part], matrix, last, *over_time, *g_final, *coefficients]
        g_drive[part], last, *rest = replayed(body, arrays)
        g_final, of_part = rest[: len(g_final)], rest[len(g_final) : ends_at]
        g_coefficients = [a + b for a, b in zip(g_coefficients, of_part, strict=True)]
        for g, g_part in zip(g_others, rest[ends_at:], strict=True):
            g[part] = g_part
    return [g_drive, last, *g_final, *g_coefficients, *g_others]


def weight_gradient(saved: Saved, g_drive: Tensor) -> Tensor:
    """Return the gradient of the weight [H, n, n], given that of the current [T, B, N]."""
    heads, z0 = len(saved.weight), saved.z0
    if not find(saved.plan_key).program.is_spiking:
        return dense_weight_gradient(g_drive, all_outputs(z0, saved.sent)[:-1], heads)
    z = cuda_events.unpack(saved.sent[:-1].flatten(0, 2), z0.shape[1] // heads, g_drive.dtype).view_as(g_drive)
    z[0] = z0
    return dense_weight_gradient(g_drive, z, heads)


def fits(n: int, dtype: torch.dtype) -> bool:
    """Return whether heads of `n` neurons with a matrix of `dtype` run in one kernel over time."""
    return n <= WIDEST[cuda.REAL[dtype]]


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
    return {"ROWS": ROWS, "WIDTH": max(1 << (n - 1).bit_length(), NARROWEST)}


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
    numbers = cuda.on_device(uniforms, cuda.arithmetic(first.dtype), first.device)
    with torch.cuda.device_of(first):
        kernel[(-(-batch // ROWS), heads)](
            *arrays, numbers, *recurrent, steps, batch, heads, n, **constants(n), **options(n)
        )


def _through(start: Tensor, sent: Tensor, matrix: Tensor, out: Tensor) -> None:
    """Write `start` + what `sent` gives through `matrix`, head by head, to `out`; all [B, N]."""
    heads, n, _ = matrix.shape
    if heads == 1:
        torch.addmm(start, sent, matrix[0], out=out)
        return
    start, sent = (x.view(-1, heads, n).transpose(0, 1) for x in (start, sent))
    out.view(-1, heads, n).copy_(torch.baddbmm(start, sent, matrix).transpose(0, 1))


def _steps_forward(
    key: str, uniforms: tuple[float, ...], states: int, port: int, arrays: Sequence[Tensor]
) -> list[Tensor]:
    drive, matrix, z, *rest = arrays
    plan = find(key)
    ends_at = len(rest) - len(plan.program.inputs) + 1
    state, coefficients, others = [s.clone() for s in rest[:states]], rest[states:ends_at], rest[ends_at:]
    out, stored = torch.empty_like(drive), _stored(plan, drive)
    kernel = cuda.compiled(key, cuda.REAL[drive.dtype], False, cuda.interpreted())
    current, turned = torch.empty_like(drive[:1]), matrix.transpose(1, 2)
    for t in range(len(drive)):
        _through(drive[t], z, turned, current[0])
        inputs = in_order(current, [x[t : t + 1] for x in others], port)
        written = [x[t : t + 1] for x in (out, *stored)]
        cuda.launch(kernel, [*inputs, *written, *state, *coefficients, *state], uniforms)
        z = out[t]
    return [out, *state, *stored]


def _steps_backward(
    key: str, uniforms: tuple[float, ...], saved: int, states: int, port: int, arrays: Sequence[Tensor]
) -> list[Tensor]:
    g_out, matrix, last, *rest = arrays
    kept, g_state, coefficients = rest[:saved], [g.clone() for g in rest[saved:][:states]], rest[saved + states :]
    g_inputs, g_z0 = [torch.empty_like(g_out) for _ in find(key).program.inputs], last.clone()
    g_drive, *g_others = driven_first(g_inputs, port)
    total, step_shares = [torch.zeros_like(p) for p in coefficients], [torch.empty_like(p) for p in coefficients]
    kernel = cuda.compiled(key, cuda.REAL[g_out.dtype], True, cuda.interpreted())
    g = torch.empty_like(g_out[:1])
    for t in reversed(range(len(g_out))):
        if t == len(g_out) - 1:
            torch.add(g_out[t], last, out=g[0])
        else:
            _through(g_out[t], g_drive[t + 1], matrix, g[0])
        read = [x[t : t + 1] for x in kept]
        written = [x[t : t + 1] for x in g_inputs]
        cuda.launch(kernel, [g, *written, *read, *g_state, *coefficients, *step_shares, *g_state], uniforms)
        for so_far, share in zip(total, step_shares, strict=True):
            so_far += share
    _through(torch.zeros_like(last), g_drive[0], matrix, g_z0)
    return [g_drive, g_z0, *g_state, *total, *g_others]


Body = Callable[[Sequence[Tensor]], list[Tensor]]
Capture = Callable[[Callable[[], list[Tensor]]], tuple[list[Tensor], Callable[[], None]]]


class Graph:
    """A captured run of `body`, with arrays of its own for what goes in and comes out.

    Parameters
    ----------
    body : callable
        From a list of tensors to a list of tensors, by launches alone.
    arrays : sequence of Tensor
        An example of what goes in.
    capture : Capture
        Calls a function, records what it launches, and returns what it returned and what launches it again.
    """

    def __init__(self, body: Body, arrays: Sequence[Tensor], capture: Capture) -> None:
        self._inside = [x.clone() for x in arrays]
        self._outside, self._replay = capture(lambda: body(self._inside))

    def __call__(self, arrays: Sequence[Tensor]) -> list[Tensor]:
        """Run with these arrays."""
        for ours, theirs in zip(self._inside, arrays, strict=True):
            ours.copy_(theirs)
        self._replay()
        return [x.clone() for x in self._outside]


def _capture(once: Callable[[], list[Tensor]]) -> tuple[list[Tensor], Callable[[], None]]:
    graph = torch.cuda.CUDAGraph()
    # Backward runs in a thread of its own: what other threads do meanwhile is no part of this.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = once()
    return results, graph.replay


_seen: OrderedDict[Any, Graph | None] = OrderedDict()
_one_at_a_time = threading.Lock()


def replayed(body: functools.partial[list[Tensor]], arrays: Sequence[Tensor]) -> list[Tensor]:
    """Return ``body(arrays)``: on CUDA, from the second time that these shapes come, by replaying a graph.

    The first time warms up, as a capture demands: kernels are compiled and numbers brought to the device. Inside a
    capture of the caller's own, and on other devices, the body simply runs.
    """
    device = arrays[0].device
    if device.type != "cuda" or torch.cuda.is_current_stream_capturing():
        with torch.no_grad():
            return body(arrays)
    with torch.no_grad(), torch.cuda.device(device), _one_at_a_time:
        shapes = tuple((tuple(x.shape), x.dtype) for x in arrays)
        # Work on different streams must not share arrays.
        key = (body.func, body.args, shapes, device, torch.cuda.current_stream().cuda_stream)
        return _again(key, body, arrays, _capture)


def _again(key: Any, body: Body, arrays: Sequence[Tensor], capture: Capture) -> list[Tensor]:
    """Run `body` the first time that `key` comes; capture and replay it from the second time on."""
    if key not in _seen:
        _seen[key] = None
        while len(_seen) > GRAPHS:
            _seen.popitem(last=False)
        return body(arrays)
    _seen.move_to_end(key)
    graph = _seen[key]
    if graph is None:
        graph = _seen[key] = Graph(body, arrays, capture)
    return graph(arrays)
