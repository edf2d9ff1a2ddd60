"""Neurons with a recurrent edge on the CPU: weights in panels, samples and heads divided among threads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.llvm.threads import number_of_threads, spread
from neurosim.compiler.plan import Plan, find
from neurosim.kernels.common import matmul
from neurosim.kernels.common.bits import REAL, pack, unpack, words
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.linear import product
from neurosim.kernels.neurons import arguments
from neurosim.kernels.neurons import cpu as neurons
from neurosim.kernels.recurrent.arguments import Call, Outputs, Saved, all_outputs, driven_first, in_order, last_output
from neurosim.kernels.recurrent.cpu_code import Shape
from neurosim.kernels.recurrent.cpu_code_backward import compiled_backward
from neurosim.kernels.recurrent.cpu_code_forward import compiled_forward
from neurosim.kernels.recurrent.policy import few_near_threshold

_SAMPLES = 32  # of a unit at most: their values stay in cache beside the weights, and a word has a bit for each
_PANEL = 128  # bytes of a row of a panel


def forward(call: Call) -> Outputs:
    """Run neurons over time with a recurrent edge."""
    plan, drive, weight = find(call.plan_key), call.drive.contiguous(), call.weight
    (steps, batch, _), (heads, n, _) = drive.shape, weight.shape
    spiking = plan.program.is_spiking
    shape = _shape(plan, weight, call.port)
    inputs = in_order(drive, [x.contiguous() for x in call.others], call.port)
    out = buffer_pool.empty_like(drive)
    stored = [buffer_pool.empty_like(drive) for _ in plan.stored]
    states = [s.contiguous().clone() for s in call.state]
    coefficients = [p.contiguous() for p in call.coefficients]
    z0 = call.z0.contiguous()
    packed_bits = torch.zeros(steps + 1 if spiking else 0, batch, heads, words(n), dtype=torch.int64)
    arrays = [*inputs, out, *stored, *states, *coefficients, z0, panels(weight.transpose(1, 2), shape.lanes)]
    if spiking:
        packed_bits[0] = pack(z0.view(batch * heads, n)).bits.view(packed_bits.shape[1:])
        arrays.append(packed_bits)
    _run(compiled_forward(shape), arrays, shape, (steps, batch, heads, n), call.forward_numbers, lists=spiking)
    return Outputs(out, last_output(out, z0), packed_bits, states, stored)


def backward(
    saved: Saved,
    grads: Sequence[Tensor | None],
    few: bool | None = None,
    g_coefficients: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Return the gradients of drive, output before the first step, initial states, coefficients and other inputs.

    Parameters
    ----------
    saved : Saved
    grads : sequence of Tensor
        Gradients of the outputs [T, B, N], T being 1 or more, of the last output or None, and of the final states.
    few : bool, optional
        Whether few neurons are near threshold; measured if left out.
    g_coefficients : sequence of Tensor [B, N], optional
        Gradients of the coefficients from later steps, to which those of these steps are added.
    """
    plan, weight, (g_out, g_last, *g_states) = find(saved.plan_key), saved.weight, grads
    assert g_out is not None
    if g_last is not None:
        g_out = torch.cat((g_out[:-1], (g_out[-1] + g_last)[None]))
    g_final = [g for g in g_states if g is not None]
    if not plan.through_time:  # then not run in chunks: there are no later steps
        values = (saved.plan_key, saved.coefficients, saved.backward_numbers, saved.stored)
        found = neurons.backward(arguments.Saved(*values), [g_out, *g_final])
        g_drive, *g_others = driven_first(found.inputs, saved.port)
        return [g_drive, torch.zeros_like(g_out[0]), *found.state, *found.coefficients, *g_others]
    g_out = g_out.contiguous()
    (steps, batch, _), (heads, n, _) = g_out.shape, weight.shape
    shape = _shape(
        plan, weight, saved.port, few_near_threshold(plan, saved.stored, saved.backward_numbers) if few is None else few
    )
    g_inputs, g_z0 = [buffer_pool.empty_like(g_out) for _ in plan.program.inputs], torch.empty_like(g_out[0])
    g_initial = [g.contiguous().clone() for g in g_final]
    coefficients = [p.contiguous() for p in saved.coefficients]
    if g_coefficients is None:
        sums = [torch.zeros_like(p) for p in coefficients]
    else:
        sums = [g.clone() for g in g_coefficients]
    if shape.few:
        matrix = pad(weight.transpose(1, 2), (0, -n % shape.lanes)).contiguous()
    else:
        matrix = panels(weight, shape.lanes)
    stored = [s.contiguous() for s in saved.stored]
    arrays = [g_out, *g_inputs, *stored, *g_initial, *coefficients, *sums, g_z0, matrix]
    _run(compiled_backward(shape), arrays, shape, (steps, batch, heads, n), saved.backward_numbers, lists=shape.few)
    g_drive, *g_others = driven_first(g_inputs, saved.port)
    return [g_drive, g_z0, *g_initial, *sums, *g_others]


def weight_gradient(saved: Saved, g_drive: Tensor) -> Tensor:
    """Return the gradient of the weight [H, n, n], given that of the current [T, B, N].

    The same bits for any number of threads where spikes are few enough to be summed one by one.
    """
    heads, z0 = len(saved.weight), saved.z0
    if not find(saved.plan_key).program.is_spiking:
        return dense_weight_gradient(g_drive, all_outputs(z0, saved.sent)[:-1], heads)
    n = z0.shape[1] // heads
    parts = []
    for head, g in enumerate(g_drive.unflatten(2, (heads, n)).unbind(2)):
        input_bits = saved.sent[:-1, :, head].contiguous().flatten(0, 1)
        parts.append(product.weight_gradient(g.contiguous(), input_bits, n))
    g_weight = torch.stack(parts)
    ones = unpack(saved.sent[0].flatten(0, 1), n, z0.dtype).view_as(z0)
    if not torch.equal(ones, z0):  # the output before the first step may be any numbers
        g_weight += dense_weight_gradient(g_drive[:1], (z0 - ones)[None], heads)
    return g_weight


def dense_weight_gradient(g_drive: Tensor, z: Tensor, heads: int) -> Tensor:
    """Return ``sum over t, b of g_drive[t, b, h, i] z[t, b, h, j]`` as [H, n, n], by one product for each head."""
    post, pre = (x.reshape(-1, heads, x.shape[-1] // heads).transpose(0, 1) for x in (g_drive, z))
    return torch.stack([matmul.sum_of_outer_products(a, b) for a, b in zip(post, pre, strict=True)])


def panels(weight: Tensor, lanes: int) -> Tensor:
    """Return ``weight`` [H, n, columns] as [H, panels, n, lanes], the last columns padded with zeros."""
    heads, n, columns = weight.shape
    return pad(weight, (0, -columns % lanes)).view(heads, n, -1, lanes).transpose(1, 2).contiguous()


def samples_of_unit(batch: int, heads: int, shape: Shape) -> int:
    """Return how many samples a unit has, so that every thread has work."""
    samples = min(max(batch * heads // number_of_threads(), 1), batch, _SAMPLES)
    return samples - samples % shape.rows if samples > shape.rows else samples


def _lanes(real: str) -> int:
    return _PANEL // (4 if real == "float" else 8)


def _shape(plan: Plan, weight: Tensor, port: int, few: bool = False) -> Shape:
    return shape_of(plan.key, REAL[weight.dtype], weight.shape[1], port, few)


def shape_of(key: str, real: str, n: int, port: int = 0, few: bool = False) -> Shape:
    """Return what the code of a layer with `n` neurons of a head is made for."""
    return Shape(key, real, _lanes(real), n % _lanes(real) != 0, port, few)


def _run(
    kernel: CompiledKernel,
    arrays: Sequence[Tensor],
    shape: Shape,
    sizes: tuple[int, int, int, int],
    numbers: Sequence[float],
    lists: bool = False,
) -> None:
    """Run a kernel over all units, each of some samples of a head, with room for its currents [and lists of events]."""
    steps, batch, heads, n = sizes
    if steps * batch * n == 0:
        return
    samples, width = samples_of_unit(batch, heads, shape), -(-n // shape.lanes) * shape.lanes
    addresses = [a.data_ptr() for a in arrays]

    def part(first: int, last: int, held: Sequence[Tensor] = arrays) -> None:
        # Holding the arrays: if the caller is interrupted while it waits, they must outlive the threads' work.
        current = torch.empty(samples, width, dtype=arrays[0].dtype)
        events = torch.empty(samples + 1, width + 1 if lists else 0, dtype=torch.int32)
        room = [current.data_ptr(), events.data_ptr()][: 2 if lists else 1]
        kernel.call(*addresses, *room, first, last, steps, batch, heads, n, samples, *numbers)

    spread(part, heads * -(-batch // samples))
