"""A linear layer with its neurons on the CPU: event-driven in one pass where spikes are few, else product and core."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.compiler.plan import Plan
from neurosim.kernels.common import decisions
from neurosim.kernels.common import matmul as dense
from neurosim.kernels.common.bits import REAL, count, events, given, pack, unpack, words
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.linear import masked_product
from neurosim.kernels.linear.by_source import by_source
from neurosim.kernels.linear.cpu_code import Shape, compiled_backward, compiled_forward
from neurosim.kernels.linear.tiles import tiled, untiled
from neurosim.kernels.neurons import cpu

# Rate of input spikes from which the dense product is cheaper: see docs/kernels.md for the plot.
CROSSOVER = 0.3

_WORTH_A_THREAD = 1 << 11  # steps of a tile


class Layer(NamedTuple):
    """What a layer is made of.

    Attributes
    ----------
    plan : Plan
        The neurons.
    weight : Tensor [N, n]
    bias : Tensor [N] or None
    per_neuron : sequence of Tensor [B, N]
        Tensor coefficients.
    forward_uniforms, backward_uniforms : sequence of float
        Plain numbers of the two kernels.
    chunk : int
        Steps between two borders at which the state is kept; 0 keeps the values of each step instead.
    """

    plan: Plan
    weight: Tensor
    bias: Tensor | None
    per_neuron: Sequence[Tensor]
    forward_uniforms: Sequence[float]
    backward_uniforms: Sequence[float]
    chunk: int


class Result(NamedTuple):
    """What a layer returns.

    Attributes
    ----------
    out : Tensor [T, B, N]
    states : list of Tensor [B, N]
        After the last step.
    input_bits : Tensor [T B, ceil(n / 64)] of int64
        Where the input is not zero, a bit each.
    ones : bool
        Whether it is 1 there: the bits then say all there is to say about it.
    bits, active : Tensor [T B, ceil(N / 64)] of int64
        Where the output is a spike, and where its surrogate is not zero; all set where that was not looked at.
        Without rows where the neurons send no spikes, or their surrogate is zero nowhere.
    kept : list of Tensor
        For the backward pass: values of each step [T, B, N], or states at the borders [chunks, B, N].
    listed : tuple of Tensor, optional
        The events of the input, if they were listed.
    """

    out: Tensor
    states: list[Tensor]
    input_bits: Tensor
    ones: bool
    bits: Tensor
    active: Tensor
    kept: list[Tensor]
    listed: tuple[Tensor, Tensor] | None = None


def chunks(steps: int, chunk: int) -> list[tuple[int, int]]:
    """Return where each chunk begins and ends."""
    return [(first, min(first + chunk, steps)) for first in range(0, steps, chunk)]


def has_bits(plan: Plan) -> bool:
    """Whether the output of `plan` is spikes that can be packed."""
    return plan.program.is_spiking


def has_active(plan: Plan) -> bool:
    """Whether the surrogate of `plan` is zero far from threshold, so that few neurons need a gradient."""
    return has_bits(plan) and plan.train and plan.program.output.payload.support < float("inf")


def forward(layer: Layer, x: Tensor, input_bits: Tensor | None, state: Sequence[Tensor]) -> Result:
    """Run the layer over ``x`` [T, B, n]; `input_bits` are its packed bits if known, every value then being 0 or 1."""
    x = x.contiguous()
    rows = x.flatten(0, 1)
    found = given(rows, input_bits)
    is_dense = found.count > CROSSOVER * rows.numel()
    if decisions.observers:
        decisions.note_product("linear", "cpu", not is_dense, found.count, rows.numel(), limit=CROSSOVER)
    if is_dense:
        return _dense_forward(layer, x, found.bits, found.ones, state)
    return _event_forward(layer, x, found.bits, found.ones, *events(found.bits, found.count), state)


def _shape(layer: Layer, ones: bool) -> Shape:
    width, real = layer.weight.shape[0], REAL[layer.weight.dtype]
    lanes = 64 if real == "float" else 32
    while lanes > 16 and width <= lanes // 2:
        lanes //= 2
    return Shape(layer.plan.key, real, lanes, width % lanes != 0, not ones, layer.bias is not None, layer.chunk > 0)


def _event_forward(
    layer: Layer, x: Tensor, input_bits: Tensor, ones: bool, starts: Tensor, index: Tensor, state: Sequence[Tensor]
) -> Result:
    steps, batch, sources = x.shape
    width = layer.weight.shape[0]
    shape = _shape(layer, ones)
    weight = tiled(layer.weight, shape.lanes)
    out = buffer_pool.empty((steps, batch, width), x.dtype)
    if layer.chunk:
        length = len(chunks(steps, layer.chunk))
        kept = [torch.empty((length, batch, width), dtype=x.dtype) for _ in state]
    else:
        kept = [buffer_pool.empty_like(out) for _ in layer.plan.stored]
    results = (out, *([] if layer.chunk else kept))
    shape = dataclasses.replace(shape, streamed=not shape.ragged and all(map(cpu.fills_lines, results)))
    past = shape.streamed and all(map(cpu.streams, results))
    machine = compiled_forward(shape)
    states = [s.contiguous().clone() for s in state]
    coefficients = [p.contiguous() for p in layer.per_neuron]
    narrow = weight.shape[0] * shape.lanes < 64 * words(width)
    make = torch.zeros if narrow else torch.empty
    rows = steps * batch
    bits = make(rows if has_bits(layer.plan) else 0, words(width), dtype=torch.int64)
    active = make(rows if has_active(layer.plan) else 0, words(width), dtype=torch.int64)
    arrays = [starts, index, *([] if ones else [x]), weight, *([] if layer.bias is None else [layer.bias])]
    arrays += [out, *kept, *states, *coefficients]
    arrays += [bits] * has_bits(layer.plan) + [active] * has_active(layer.plan)
    sizes = (steps, batch, width, sources, layer.chunk, int(past))
    machine.run_parallel(weight.shape[0] * batch, arrays, *sizes, *layer.forward_uniforms, grain=_grain(steps))
    return Result(out, states, input_bits, ones, bits, active, kept, (starts, index))


def _grain(steps: int) -> int:
    """Return how many walks of a tile through `steps` are worth a thread."""
    return max(_WORTH_A_THREAD // max(steps, 1), 1)


class Gradients(NamedTuple):
    """What the backward pass returns: one gradient for each thing the forward pass was given, or None."""

    x: Tensor | None
    weight: Tensor
    bias: Tensor | None
    states: list[Tensor]
    per_neuron: list[Tensor]


def backward(
    layer: Layer,
    x: Tensor | None,
    input_bits: Tensor,
    sources: int,
    mask: Tensor | None,
    needed: bool,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    kept: Sequence[Tensor],
    listed: tuple[Tensor, Tensor] | None = None,
) -> Gradients:
    """Return the gradients.

    Parameters
    ----------
    layer : Layer
        As in the forward pass.
    x : Tensor [T, B, n] or None
        Input; None where it is 0 or 1 and `input_bits` says which.
    input_bits : Tensor [T B, ceil(n / 64)]
        Its bits.
    sources : int
        n.
    mask : Tensor [T B, ceil(n / 64)] or None
        Where a gradient of the input is needed, a bit each; None for everywhere.
    needed : bool
        Whether a gradient of the input is needed at all.
    g_out, g_states : Tensor [T, B, N], sequence of Tensor [B, N]
        Gradients of output and last state.
    kept : sequence of Tensor
        As the forward pass left it.
    listed : tuple of Tensor, optional
        The events of `input_bits`, where they are still at hand.
    """
    found = count(input_bits) if listed is None else listed[1].numel()
    if found > CROSSOVER * input_bits.shape[0] * sources:
        return _dense_backward(layer, x, input_bits, sources, mask, needed, g_out, g_states, kept)
    starts, index = events(input_bits, found) if listed is None else listed
    g_out = g_out.contiguous()
    x = None if x is None else x.contiguous()
    steps, batch, width = g_out.shape
    shape = _shape(layer, x is None)
    machine = compiled_backward(shape, needed)
    tiles = -(-width // shape.lanes)
    g_weight = torch.zeros(tiles, sources, shape.lanes, dtype=g_out.dtype)
    weight = tiled(layer.weight, shape.lanes) if layer.chunk else g_weight  # not read then
    g_i = buffer_pool.empty_like(g_out) if needed else None
    g_bias = None if layer.bias is None else torch.empty_like(layer.bias)
    g_initial = [g.contiguous().clone() for g in g_states]
    coefficients = [p.contiguous() for p in layer.per_neuron]
    shares = [torch.zeros_like(p) for p in coefficients]
    arrays = [starts, index, *([] if x is None else [x]), weight, *([] if layer.bias is None else [layer.bias])]
    ordered = by_source(starts, index, (steps, batch, sources), x)
    currents = buffer_pool.empty((tiles, ordered.group * steps, shape.lanes), g_out.dtype)
    arrays += [g_weight, *([] if g_bias is None else [g_bias]), ordered.starts, ordered.rows]
    arrays += [*([] if x is None else [ordered.worth]), currents, g_out, *([] if g_i is None else [g_i]), *kept]
    if layer.chunk:
        arrays.append(torch.empty(tiles, len(layer.plan.saved), layer.chunk, shape.lanes, dtype=g_out.dtype))
    arrays += [*g_initial, *coefficients, *shares]
    numbers = [*layer.backward_uniforms, *(layer.forward_uniforms if layer.chunk else ())]
    sizes = (steps, batch, width, sources, layer.chunk, ordered.group)
    machine.run_parallel(tiles, arrays, *sizes, *numbers, grain=_grain(steps * batch))
    g_x = None
    if g_i is not None:
        g_x = _inward(g_i.flatten(0, 1), layer.weight, mask).view(steps, batch, sources)
    return Gradients(g_x, untiled(g_weight, width), g_bias, g_initial, shares)


def _inward(g: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
    """Return the gradient of the input from that of the current, ``g`` [R, N]."""
    if mask is not None and masked_product.pays(mask, *weight.shape):
        return masked_product.masked_product(g, weight, mask)
    return dense.product(g, weight)


def _dense_forward(layer: Layer, x: Tensor, input_bits: Tensor, ones: bool, state: Sequence[Tensor]) -> Result:
    plan, (steps, batch, _) = layer.plan, x.shape
    rows = steps * batch
    if layer.chunk:
        out = buffer_pool.empty((steps, batch, layer.weight.shape[0]), x.dtype)
        borders: list[list[Tensor]] = [[] for _ in state]
        for first, last in chunks(steps, layer.chunk):
            for border, value in zip(borders, state, strict=True):
                border.append(value)
            current = dense.linear(x[first:last], layer.weight, layer.bias)
            part, *rest = cpu.forward(plan, [current], state, layer.per_neuron, layer.forward_uniforms)
            out[first:last] = part
            state = rest[: len(state)]
        states, kept = list(state), [torch.stack(border) for border in borders]
    else:
        current = dense.linear(x, layer.weight, layer.bias)
        out, *rest = cpu.forward(plan, [current], state, layer.per_neuron, layer.forward_uniforms)
        states, kept = rest[: len(state)], rest[len(state) :]
    bits = pack(out.flatten(0, 1)).bits if has_bits(plan) else input_bits.new_empty(0, words(out.shape[-1]))
    active = input_bits.new_full((rows if has_active(plan) else 0, words(out.shape[-1])), -1)
    return Result(out, states, input_bits, ones, bits, active, kept)


def _dense_backward(
    layer: Layer,
    x: Tensor | None,
    input_bits: Tensor,
    sources: int,
    mask: Tensor | None,
    needed: bool,
    g_out: Tensor,
    g_states: Sequence[Tensor],
    kept: Sequence[Tensor],
) -> Gradients:
    plan, (steps, batch, width) = layer.plan, g_out.shape

    def inputs(first: int, last: int) -> Tensor:
        if x is not None:
            return x[first:last].flatten(0, 1)
        return unpack(input_bits[first * batch : last * batch], sources, g_out.dtype)

    g_weight = torch.zeros_like(layer.weight)
    g_bias = None if layer.bias is None else torch.zeros_like(layer.bias)
    g_x = g_out.new_empty((steps if layer.chunk else 0, batch, sources))
    g_states = list(g_states)
    shares = [torch.zeros_like(p) for p in layer.per_neuron]
    for number, (first, last) in reversed(list(enumerate(chunks(steps, layer.chunk or max(steps, 1))))):
        x_part = inputs(first, last)
        saved = list(kept)
        if layer.chunk:
            current = dense.linear(x_part, layer.weight, layer.bias).view(-1, batch, width)
            state = [border[number] for border in kept]
            stored = cpu.forward(plan, [current], state, layer.per_neuron, layer.forward_uniforms)[1 + len(state) :]
            saved = [stored[plan.position(node)] for node in plan.saved]
        g_i, *rest = cpu.backward(plan, g_out[first:last], g_states, saved, layer.per_neuron, layer.backward_uniforms)
        g_states = rest[: len(g_states)]
        shares = [a + b for a, b in zip(shares, rest[len(g_states) :], strict=True)]
        g_rows = g_i.flatten(0, 1)
        g_weight += dense.product(g_rows.T, x_part)
        if g_bias is not None:
            g_bias += g_rows.sum(0)
        if needed:
            near = None if mask is None else mask[first * batch : last * batch]
            g_part = _inward(g_rows, layer.weight, near).view(-1, batch, sources)
            if layer.chunk:
                g_x[first:last] = g_part
            else:
                g_x = g_part
    return Gradients(g_x if needed else None, g_weight, g_bias, list(g_states), shares)
