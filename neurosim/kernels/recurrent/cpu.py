"""Running a recurrent layer on the CPU: weights in panels, samples and heads shared out over threads."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.llvm.threads import spread
from neurosim.compiler.plan import Plan
from neurosim.kernels.common import matmul as dense
from neurosim.kernels.common.bits import REAL, pack, unpack, words
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.linear import product
from neurosim.kernels.neurons import cpu
from neurosim.kernels.recurrent.cpu_code import Shape
from neurosim.kernels.recurrent.cpu_code_backward import compiled_backward
from neurosim.kernels.recurrent.cpu_code_forward import compiled_forward

# Share of neurons near threshold from which a dense product back in time is faster than a sum for each of them.
FEW = 0.5
_LOOK = 16  # steps at which that share is measured
_SAMPLES = 32  # of a unit at most: their values stay in cache beside the weights, and a word has a bit for each
_PANEL = 128  # bytes of a row of a panel


def forward(
    plan: Plan,
    drive: Tensor,
    weight: Tensor,
    z0: Tensor,
    state: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
) -> tuple[list[Tensor], Tensor]:
    """Run `plan` over time with a recurrent edge one step late.

    Parameters
    ----------
    plan : Plan
        The step of one neuron.
    drive : Tensor [T, B, N]
        Current from outside.
    weight : Tensor [H, n, n]
        One matrix for each head, ``H n = N``; row = neuron after the synapse.
    z0 : Tensor [B, N]
        Output before the first step.
    state, per_neuron : sequence of Tensor [B, N]
        State before the first step and tensor coefficients.
    uniforms : sequence of float
        The plan's forward numbers.

    Returns
    -------
    values : list of Tensor
        Output [T, B, N], final states [B, N], stored values [T, B, N] each.
    bits : Tensor [T + 1, B, H, ceil(n / 64)] of int64
        Where the output before the first step and after each was not zero; no steps where the output is graded.
    """
    drive = drive.contiguous()
    steps, batch, _ = drive.shape
    heads, n, _ = weight.shape
    spiking = plan.program.is_spiking
    shape = _shape(plan, weight)
    out = buffer_pool.empty_like(drive)
    stored = [buffer_pool.empty_like(drive) for _ in plan.stored]
    states = [s.contiguous().clone() for s in state]
    coefficients = [p.contiguous() for p in per_neuron]
    before = z0.contiguous()
    bits = torch.zeros(steps + 1 if spiking else 0, batch, heads, words(n), dtype=torch.int64)
    arrays = [drive, out, *stored, *states, *coefficients, before, panels(weight.transpose(1, 2), shape.lanes)]
    if spiking:
        bits[0] = pack(before.view(batch * heads, n)).bits.view(bits.shape[1:])
        arrays.append(bits)
    _run(compiled_forward(shape), arrays, shape, (steps, batch, heads, n), uniforms, listing=spiking)
    return [out, *states, *stored], bits


def backward(
    plan: Plan,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    g_z_last: Tensor | None,
    saved: Sequence[Tensor],
    per_neuron: Sequence[Tensor],
    uniforms: Sequence[float],
    weight: Tensor,
    few: bool | None = None,
    shares: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Return the gradients of drive, output before the first step, initial states and tensor coefficients.

    Parameters
    ----------
    plan : Plan
        The step of one neuron; without ``through_time`` nothing passes from a step to the one before.
    g_out : Tensor [T, B, N]
        Gradient of the output; T is 1 or more.
    g_states : sequence of Tensor [B, N]
        Of the final states.
    g_z_last : Tensor [B, N] or None
        Of the last output as what the next run begins with.
    saved : sequence of Tensor [T, B, N]
        What the plan stored for this.
    per_neuron, uniforms, weight
        As in `forward`, the numbers being those of the backward kernel.
    few : bool, optional
        Whether so few neurons stand near threshold that their gradients are worked out one by one; looked up in what
        is saved if left out.
    shares : sequence of Tensor [B, N], optional
        Gradients of the coefficients from later steps, which those of these steps are added to.

    Returns
    -------
    list of Tensor
        [T, B, N], then [B, N] each.
    """
    if g_z_last is not None:
        g_out = torch.cat((g_out[:-1], (g_out[-1] + g_z_last)[None]))
    if not plan.through_time:  # nothing is then run in parts, so that there are no shares
        g_drive, *rest = cpu.backward(plan, g_out, g_states, saved, per_neuron, uniforms)
        return [g_drive, torch.zeros_like(g_out[0]), *rest]
    g_out = g_out.contiguous()
    steps, batch, _ = g_out.shape
    heads, n, _ = weight.shape
    shape = dataclasses.replace(_shape(plan, weight), few=_few(plan, saved) if few is None else few)
    g_drive, g_before = buffer_pool.empty_like(g_out), torch.empty_like(g_out[0])
    g_initial = [g.contiguous().clone() for g in g_states]
    coefficients = [p.contiguous() for p in per_neuron]
    shares = [torch.zeros_like(p) for p in coefficients] if shares is None else [s.clone() for s in shares]
    if shape.few:
        matrix = pad(weight.transpose(1, 2), (0, -n % shape.lanes)).contiguous()
    else:
        matrix = panels(weight, shape.lanes)
    kept = [s.contiguous() for s in saved]
    arrays = [g_out, g_drive, *kept, *g_initial, *coefficients, *shares, g_before, matrix]
    _run(compiled_backward(shape), arrays, shape, (steps, batch, heads, n), uniforms, listing=shape.few)
    return [g_drive, g_before, *g_initial, *shares]


def _few(plan: Plan, saved: Sequence[Tensor]) -> bool:
    """Whether so few neurons stand near threshold that their gradients are better worked out one by one."""
    return bool(saved) and near(plan, saved, 0, len(saved[0])) < FEW * looks(len(saved[0])) * saved[0][0].numel()


def looks(steps: int) -> int:
    """Return at how many of `steps` steps `near` counts."""
    return len(range(0, steps, -(-steps // _LOOK)))


def near(plan: Plan, saved: Sequence[Tensor], first: int, steps: int) -> float:
    """Return how many neurons stand near threshold at some of the steps from `first` on; infinity where it is open.

    The steps looked at are the same however a run of `steps` steps is cut.
    """
    if not plan.program.is_spiking:
        return math.inf
    distance, support = plan.program.output.args[0], plan.program.output.payload.support
    if support == math.inf or distance not in plan.saved:
        return math.inf
    each = -(-steps // _LOOK)
    some = saved[plan.saved.index(distance)][-first % each :: each]
    return int((some.abs() < support).sum())


def weight_gradient(g_drive: Tensor, bits: Tensor, z0: Tensor) -> Tensor:
    """Return the gradient of the weight of neurons that spike.

    Parameters
    ----------
    g_drive : Tensor [T, B, N]
        Gradient of the current.
    bits : Tensor [T + 1, B, H, ceil(n / 64)] of int64
        From `forward`.
    z0 : Tensor [B, N]
        Output before the first step.

    Returns
    -------
    Tensor [H, n, n]
        The same bits for any number of threads where spikes are few enough to be added up one by one.
    """
    heads = bits.shape[2]
    n = z0.shape[1] // heads
    parts = []
    for head, g in enumerate(g_drive.unflatten(2, (heads, n)).unbind(2)):
        came = bits[:-1, :, head].contiguous().flatten(0, 1)
        parts.append(product.weight_gradient(g.contiguous(), came, n))
    found = torch.stack(parts)
    ones = unpack(bits[0].flatten(0, 1), n, z0.dtype).view_as(z0)
    if not torch.equal(ones, z0):  # what came before the first step may be any numbers
        found += dense_weight_gradient(g_drive[:1], (z0 - ones)[None], heads)
    return found


def dense_weight_gradient(g_drive: Tensor, z: Tensor, heads: int) -> Tensor:
    """Return ``sum over t, b of g_drive[t, b, h, i] z[t, b, h, j]`` as [H, n, n], by one product for each head."""
    after, before = (x.reshape(-1, heads, x.shape[-1] // heads).transpose(0, 1) for x in (g_drive, z))
    if g_drive.is_cuda:
        return after.transpose(1, 2) @ before
    return torch.stack([dense.product(a.T, b) for a, b in zip(after, before, strict=True)])


def panels(weight: Tensor, lanes: int) -> Tensor:
    """Return ``weight`` [H, n, columns] as [H, panels, n, lanes], the last columns filled up with zeros."""
    heads, n, columns = weight.shape
    return pad(weight, (0, -columns % lanes)).view(heads, n, -1, lanes).transpose(1, 2).contiguous()


def _lanes(real: str) -> int:
    return _PANEL // (4 if real == "float" else 8)


def _shape(plan: Plan, weight: Tensor) -> Shape:
    real = REAL[weight.dtype]
    return Shape(plan.key, real, _lanes(real), weight.shape[1] % _lanes(real) != 0)


def _run(
    machine: CompiledKernel,
    arrays: Sequence[Tensor],
    shape: Shape,
    sizes: tuple[int, int, int, int],
    uniforms: Sequence[float],
    listing: bool = False,
) -> None:
    """Run a kernel over all units: some samples of a head each, and room for what is worked out about them."""
    steps, batch, heads, n = sizes
    if steps * batch * n == 0:
        return
    each = min(max(batch * heads // torch.get_num_threads(), 1), batch, _SAMPLES)
    each -= each % shape.rows if each > shape.rows else 0
    width = -(-n // shape.lanes) * shape.lanes
    addresses = [a.data_ptr() for a in arrays]

    def part(first: int, last: int, held: Sequence[Tensor] = arrays) -> None:
        current = torch.empty(each, width, dtype=arrays[0].dtype)
        listed = torch.empty(each + 1, width + 1 if listing else 0, dtype=torch.int32)
        room = [current.data_ptr(), listed.data_ptr()][: 2 if listing else 1]
        machine.call(*addresses, *room, first, last, steps, batch, heads, n, each, *uniforms)

    spread(part, heads * -(-batch // each))
