"""A convolution of spikes on the CPU: at the cost of the spikes where they are few, else torch's."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim.compiler.llvm.threads import spread, threads_for
from neurosim.kernels.common import decisions
from neurosim.kernels.common.bits import REAL, Packed, count, events, pack_unless_known, unpack
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.common.event_product import ProductOutputs, graded_values
from neurosim.kernels.common.operator import Gradients, Needs
from neurosim.kernels.conv import reference
from neurosim.kernels.conv.arguments import Call, Saved, Settings, settings_of
from neurosim.kernels.conv.cpu_code import Backward, compiled_backward, compiled_forward
from neurosim.kernels.conv.layout import Axis, Layout
from neurosim.kernels.conv.policy import is_event_driven

_VECTOR = 32  # bytes
_SHARES = 16  # of the samples, at most, each with a sum of its own in the gradient of the weights
_PER_THREAD = 1 << 16  # vectors, at least


@functools.cache
def _layout(size: tuple[int, ...], weight: tuple[int, ...], settings: Settings, lanes: int) -> Layout:
    along = (size[1:], weight[2:], settings.stride, settings.padding, settings.dilation)
    rows, columns = (Axis(*axis) for axis in zip(*along, strict=True))
    return Layout(size[0], weight[0], settings.groups, rows, columns, lanes)


def layout_of(size: Sequence[int], weight: Tensor, settings: Settings) -> Layout:
    """Return the layout for inputs of `size` (c_in, H, W)."""
    return _layout(tuple(size), tuple(weight.shape), settings, _VECTOR // weight.element_size())


def forward(call: Call) -> ProductOutputs:
    """Run the convolution."""
    x, settings = call.x.contiguous(), settings_of(call)
    packed = pack_unless_known(x.flatten(1), call.packed_bits)
    rows, layout = x.shape[0], layout_of(x.shape[1:], call.weight, settings)
    by_events = is_event_driven(layout, rows, packed.count, layout.own)
    if decisions.observers:
        decisions.note_product("conv", "cpu", by_events, packed.count, x.numel())
    if by_events:
        out = _event_forward(x, call.weight, call.bias, layout, packed)
    else:
        with torch.autocast("cpu", enabled=False):
            out = reference.convolve(x, call.weight, call.bias, settings).contiguous()
    return ProductOutputs(out, packed.bits, None if packed.is_binary else x)


def _event_forward(x: Tensor, weight: Tensor, bias: Tensor | None, layout: Layout, packed: Packed) -> Tensor:
    rows = x.shape[0]
    out = buffer_pool.empty((rows, layout.c_out, layout.rows.places, layout.columns.places), x.dtype)
    kernel = compiled_forward(layout, REAL[x.dtype], not packed.is_binary)
    arrays = [layout.window, layout.phase, *events(packed.bits, packed.count)]
    arrays += [] if packed.is_binary else [x]
    arrays += [layout.arranged(weight), layout.arranged_bias(bias, weight)]
    parts = _parts(layout, rows, packed.count)

    def part(first: int, last: int) -> None:
        room = torch.empty(layout.outputs, dtype=x.dtype)
        for each in range(first, last):
            kernel.call(*(t.data_ptr() for t in (*arrays, room, out)), each, rows, parts)

    spread(part, parts)
    return out


def backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    """Return the gradients of input, weight and bias."""
    needs_x, needs_weight, needs_bias = needs
    g, layout = grads[0].contiguous(), layout_of(saved.size, saved.weight, settings_of(saved))
    saved = saved._replace(values=graded_values(saved.values, (-1, *saved.size)))
    rows = g.shape[0]
    inputs = rows * layout.c_in * layout.pixels
    in_mask = inputs if saved.mask is None else min(count(saved.mask), inputs)
    if in_mask == inputs:  # a mask of all may have bits beyond the last input
        saved = saved._replace(mask=None)
    scatter = needs_weight and is_event_driven(layout, rows, count(saved.input_bits), layout.own)
    gather = needs_x and is_event_driven(layout, rows, in_mask, layout.own_in)
    found: list[Tensor | None] = [None, None, None]
    if scatter or gather:
        found = _event_backward(g, saved, layout, (gather, scatter, scatter and needs_bias))
    missing = [need and each is None for need, each in zip(needs, found, strict=True)]
    if any(missing):
        dense = _dense_backward(g, saved, missing)
        found = [new if is_missing else old for is_missing, new, old in zip(missing, dense, found, strict=True)]
    return found


def _event_backward(g: Tensor, saved: Saved, layout: Layout, needs: tuple[bool, bool, bool]) -> list[Tensor | None]:
    """Return the gradients that are needed; that of the bias comes with that of the weight only."""
    gather, scatter, bias = needs
    rows = g.shape[0]
    is_graded = scatter and saved.values is not None
    spikes = events(saved.input_bits) if scatter else ()
    mask = events(saved.mask) if gather and saved.mask is not None else ()
    kernel = compiled_backward(layout, REAL[g.dtype], Backward(*needs, bool(mask), is_graded))
    blocks = sum(each[1].numel() for each in (spikes, mask) if each)
    blocks += rows * layout.c_in * layout.pixels if gather and not mask else 0
    # The sums of the weights' gradient are divided by sizes alone: the same bits for any number of threads.
    parts = _shares(layout, rows) if scatter else _parts(layout, rows, blocks)
    g_weight = g.new_zeros(parts, layout.weights if scatter else 0)
    g_bias = g.new_zeros(parts, layout.channels if bias else 0)
    g_x = buffer_pool.empty((rows, *saved.size), g.dtype) if gather else None
    before = [layout.window, layout.phase, *spikes, *([saved.values] if is_graded else [])]
    after = [layout.arranged(saved.weight), *mask, g_x] if gather else []

    def part(first: int, last: int) -> None:
        room = g.new_zeros(layout.outputs)
        for each in range(first, last):
            sums = [g_weight[each]] * scatter + [g_bias[each]] * bias
            kernel.call(*(t.data_ptr() for t in (*before, *sums, *after, g, room)), each, rows, parts)

    spread(part, parts, grain=max(parts * _PER_THREAD // max(_work(layout, rows, blocks), 1), 1))
    weight = layout.restored(_in_order(g_weight)) if scatter else None
    return [g_x, weight, layout.restored_bias(_in_order(g_bias)) if bias else None]


def _in_order(parts: Tensor) -> Tensor:
    """Return the sum of `parts`, from the first to the last."""
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def _dense_backward(g: Tensor, saved: Saved, needs: list[bool]) -> tuple[Tensor, ...]:
    if not needs[1]:
        x = g.new_empty(1).expand(g.shape[0], *saved.size)  # for its shape; its values are not read
    elif saved.values is None:
        x = unpack(saved.input_bits, math.prod(saved.size), g.dtype).view(-1, *saved.size)
    else:
        x = saved.values
    stride, padding, dilation, groups = settings_of(saved)
    settings = ([saved.weight.shape[0]], stride, padding, dilation, False, [0, 0], groups)
    g_x, *others = torch.ops.aten.convolution_backward(g, x, saved.weight, *settings, needs)
    if needs[0] and saved.mask is not None:
        g_x = g_x.mul_(unpack(saved.mask, math.prod(saved.size), g.dtype).view_as(g_x))
    return g_x, *others


def _work(layout: Layout, rows: int, blocks: int) -> int:
    return (2 * rows * layout.outputs + blocks * layout.block) // layout.lanes


def _parts(layout: Layout, rows: int, blocks: int) -> int:
    return max(min(threads_for(_work(layout, rows, blocks), _PER_THREAD), rows), 1)


def _shares(layout: Layout, rows: int) -> int:
    return max(min(_SHARES, rows, max(4, rows * layout.outputs // (4 * layout.weights))), 1)
