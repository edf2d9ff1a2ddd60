"""A linear layer with its neurons on the CPU: event-driven in one pass where spikes are few, else product and core."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.compiler.plan import Plan, find
from neurosim.kernels.common import decisions, matmul
from neurosim.kernels.common.bits import REAL, Packed, count, events, pack, pack_unless_known, unpack, words
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.common.operator import Gradients, Needs
from neurosim.kernels.linear.arguments import Call, Outputs, Saved, chunks, neurons_call, neurons_saved
from neurosim.kernels.linear.by_source import by_source
from neurosim.kernels.linear.cpu_code import Shape, compiled_backward, compiled_forward
from neurosim.kernels.linear.dense_product import dense_product, is_short
from neurosim.kernels.linear.masked_product import masked_product
from neurosim.kernels.linear.policy import CROSSOVER, is_event_driven, is_masked
from neurosim.kernels.linear.tiles import tiled, untiled
from neurosim.kernels.neurons import cpu as neurons

STEPS_PER_THREAD = 1 << 11  # of a tile, at least


def has_packed_bits(plan: Plan) -> bool:
    """Return whether the output of `plan` is spikes, which can be packed."""
    return plan.program.is_spiking


def has_mask(plan: Plan) -> bool:
    """Return whether the surrogate of `plan` is zero far from threshold, so that few neurons need a gradient."""
    return plan.train and plan.program.is_limited


def forward(call: Call) -> Outputs:
    """Run the layer."""
    call = call._replace(x=call.x.contiguous())
    rows = call.x.flatten(0, 1)
    packed = pack_unless_known(rows, call.packed_bits)
    by_events = is_event_driven(packed.count, rows.numel())
    if decisions.observers:
        decisions.note_product("linear", "cpu", by_events, packed.count, rows.numel(), limit=CROSSOVER)
    return _event_forward(call, packed) if by_events else _dense_forward(call, packed)


def backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    """Return the gradients of input, weight, bias, initial states and coefficients."""
    total = saved.events[1].numel() if saved.events else count(saved.input_bits)
    if is_event_driven(total, saved.input_bits.shape[0] * saved.n_in):
        return _event_backward(saved, needs, grads, total)
    return _dense_backward(saved, needs, grads)


def _shape(layer: Call | Saved, is_binary: bool) -> Shape:
    width, real, is_biased = layer.weight.shape[0], REAL[layer.weight.dtype], layer.bias is not None
    shape = shape_of(layer.plan_key, real, width, is_biased)
    return dataclasses.replace(shape, graded=not is_binary, borders=layer.chunk > 0)


def shape_of(plan_key: str, real: str, width: int, is_biased: bool) -> Shape:
    """Return what the code of a layer of `width` neurons with binary input is made for."""
    lanes = 64 if real == "float" else 32
    while lanes > 16 and width <= lanes // 2:
        lanes //= 2
    return Shape(plan_key, real, lanes, width % lanes != 0, False, is_biased, False)


def _event_forward(call: Call, packed: Packed) -> Outputs:
    plan, x, (steps, batch, n_in) = find(call.plan_key), call.x, call.x.shape
    rows, width = steps * batch, call.weight.shape[0]
    shape = _shape(call, packed.is_binary)
    weight = tiled(call.weight, shape.lanes)
    out = buffer_pool.empty((steps, batch, width), x.dtype)
    if call.chunk:
        length = len(chunks(steps, call.chunk))
        stored = [torch.empty((length, batch, width), dtype=x.dtype) for _ in call.state]
    else:
        stored = [buffer_pool.empty_like(out) for _ in plan.stored]
    results = (out, *(() if call.chunk else stored))
    shape = dataclasses.replace(shape, streamed=not shape.ragged and all(map(neurons.fills_lines, results)))
    past_caches = shape.streamed and all(map(neurons.streams, results))
    states = [s.contiguous().clone() for s in call.state]
    # Of a narrow layer the kernel writes parts of words.
    empty = torch.zeros if weight.shape[0] * shape.lanes < 64 * words(width) else torch.empty
    packed_bits = empty(rows if has_packed_bits(plan) else 0, words(width), dtype=torch.int64)
    mask = empty(rows if has_mask(plan) else 0, words(width), dtype=torch.int64)
    starts, index = events(packed.bits, packed.count)
    arrays = [starts, index, *([] if packed.is_binary else [x]), weight, *([] if call.bias is None else [call.bias])]
    arrays += [out, *stored, *states, *(p.contiguous() for p in call.coefficients)]
    arrays += [packed_bits] * has_packed_bits(plan) + [mask] * has_mask(plan)
    sizes = (steps, batch, width, n_in, call.chunk, int(past_caches))
    kernel = compiled_forward(shape)
    kernel.run_parallel(weight.shape[0] * batch, arrays, *sizes, *call.forward_numbers, grain=grain_of(steps))
    return Outputs(out, packed_bits, mask, states, stored, packed.bits, packed.is_binary, (starts, index))


def grain_of(steps: int) -> int:
    """Return how many walks of a tile through `steps` a thread does at least."""
    return max(STEPS_PER_THREAD // max(steps, 1), 1)


def _event_backward(saved: Saved, needs: Needs, grads: Sequence[Tensor], total: int) -> Gradients:
    plan, (g_out, *g_states), needs_x = find(saved.plan_key), grads, needs[0]
    starts, index = saved.events or events(saved.input_bits, total)
    g_out = g_out.contiguous()
    x = None if saved.x is None else saved.x.contiguous()
    (steps, batch, width), n_in = g_out.shape, saved.n_in
    shape = _shape(saved, x is None)
    tiles = -(-width // shape.lanes)
    g_weight = torch.zeros(tiles, n_in, shape.lanes, dtype=g_out.dtype)
    weight = tiled(saved.weight, shape.lanes) if saved.chunk else g_weight  # read with chunks alone
    g_i = buffer_pool.empty_like(g_out) if needs_x else None
    g_bias = None if saved.bias is None else torch.empty_like(saved.bias)
    g_initial = [g.contiguous().clone() for g in g_states]
    coefficients = [p.contiguous() for p in saved.coefficients]
    g_coefficients = [torch.zeros_like(p) for p in coefficients]
    ordered = by_source(starts, index, (steps, batch, n_in), x)
    currents = buffer_pool.empty((tiles, ordered.group * steps, shape.lanes), g_out.dtype)
    arrays = [starts, index, *([] if x is None else [x]), weight, *([] if saved.bias is None else [saved.bias])]
    arrays += [g_weight, *([] if g_bias is None else [g_bias]), ordered.starts, ordered.rows]
    arrays += [*([] if x is None else [ordered.values]), currents, g_out, *([] if g_i is None else [g_i])]
    arrays += saved.stored
    if saved.chunk:
        arrays.append(torch.empty(tiles, len(plan.saved), saved.chunk, shape.lanes, dtype=g_out.dtype))
    arrays += [*g_initial, *coefficients, *g_coefficients]
    numbers = [*saved.backward_numbers, *(saved.forward_numbers if saved.chunk else ())]
    sizes = (steps, batch, width, n_in, saved.chunk, ordered.group)
    compiled_backward(shape, needs_x).run_parallel(tiles, arrays, *sizes, *numbers, grain=grain_of(steps * batch))
    g_x = None
    if g_i is not None:
        g_x = _input_gradient(g_i.flatten(0, 1), saved.weight, saved.mask).view(steps, batch, n_in)
    return [g_x, untiled(g_weight, width), g_bias, *g_initial, *g_coefficients]


def _input_gradient(g: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
    """Return the gradient of the input from that of the current, ``g`` [R, N]."""
    if mask is not None and is_masked(mask, *weight.shape):
        return masked_product(g, weight, mask)
    return dense_product(g, weight) if is_short(weight) else matmul.product(g, weight)


def _dense_forward(call: Call, packed: Packed) -> Outputs:
    plan, x, (steps, batch, _) = find(call.plan_key), call.x, call.x.shape
    width = call.weight.shape[0]
    state: Sequence[Tensor] = call.state
    if call.chunk:
        out = buffer_pool.empty((steps, batch, width), x.dtype)
        checkpoints: list[list[Tensor]] = [[] for _ in state]
        for first, last in chunks(steps, call.chunk):
            for checkpoint, value in zip(checkpoints, state, strict=True):
                checkpoint.append(value)
            current = matmul.linear(x[first:last], call.weight, call.bias)
            part = neurons.forward(neurons_call(call, current, state))
            out[first:last], state = part.out, part.state
        stored: Sequence[Tensor] = [torch.stack(checkpoint) for checkpoint in checkpoints]
    else:
        current = matmul.linear(x, call.weight, call.bias)
        out, state, stored = neurons.forward(neurons_call(call, current, state))
    empty = packed.bits.new_empty(0, words(width))
    packed_bits = pack(out.flatten(0, 1)).bits if has_packed_bits(plan) else empty
    mask = packed.bits.new_full((steps * batch if has_mask(plan) else 0, words(width)), -1)
    return Outputs(out, packed_bits, mask, list(state), stored, packed.bits, packed.is_binary)


def _dense_backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    plan, (g_out, *g_states) = find(saved.plan_key), grads
    (steps, batch, width), n_in, weight = g_out.shape, saved.n_in, saved.weight

    def inputs(first: int, last: int) -> Tensor:
        if saved.x is not None:
            return saved.x[first:last].flatten(0, 1)
        return unpack(saved.input_bits[first * batch : last * batch], n_in, g_out.dtype)

    g_weight = torch.zeros_like(weight)
    g_bias = None if saved.bias is None else torch.zeros_like(saved.bias)
    g_x = g_out.new_empty((steps if saved.chunk else 0, batch, n_in))
    g_coefficients = [torch.zeros_like(p) for p in saved.coefficients]
    for number, (first, last) in reversed(list(enumerate(chunks(steps, saved.chunk or max(steps, 1))))):
        x = inputs(first, last)
        values = saved.stored
        if saved.chunk:
            current = matmul.linear(x, weight, saved.bias).view(-1, batch, width)
            state = [checkpoint[number] for checkpoint in saved.stored]
            again = neurons.forward(neurons_call(saved, current, state))
            values = plan.saved_among(again.stored)
        found = neurons.backward(neurons_saved(saved, values), [g_out[first:last], *g_states])
        g_states = list(found.state)
        g_coefficients = [a + b for a, b in zip(g_coefficients, found.coefficients, strict=True)]
        g_rows = found.inputs[0].flatten(0, 1)
        g_weight += matmul.sum_of_outer_products(g_rows, x)
        if g_bias is not None:
            g_bias += g_rows.sum(0)
        if needs[0]:
            mask = None if saved.mask is None else saved.mask[first * batch : last * batch]
            g_part = _input_gradient(g_rows, weight, mask).view(-1, batch, n_in)
            if saved.chunk:
                g_x[first:last] = g_part
            else:
                g_x = g_part
    return [g_x if needs[0] else None, g_weight, g_bias, *g_states, *g_coefficients]
