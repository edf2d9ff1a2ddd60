"""Running a convolution of spikes on the CPU: at the cost of the spikes where they are few, else torch's."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neurosim.compiler.llvm.threads import spread
from neurosim.kernels.common import decisions
from neurosim.kernels.common.bits import MOST, REAL, Packed, count, events, unpack
from neurosim.kernels.common.buffers import buffer_pool
from neurosim.kernels.conv.cpu_code import Backward, compiled_backward, compiled_forward
from neurosim.kernels.conv.layout import Axis, Layout

_VECTOR = 32  # bytes
_SHARES = 16  # of the samples, each with a sum of its own in the gradient of the weights
_PER_THREAD = 1 << 16  # vectors


class Settings(NamedTuple):
    """How a convolution is done; as in ``torch.nn.functional.conv2d``."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class Saved(NamedTuple):
    """What the backward pass reads.

    Attributes
    ----------
    size : (c_in, H, W)
    packed_bits : Tensor [R, W]
        Where the input is not 0.
    values : Tensor or None
        The input, if it has values other than 0 and 1.
    weight : Tensor
    settings : Settings
    mask : Tensor [R, W] or None
        Bits of the inputs whose gradient is needed, None for all.
    """

    size: tuple[int, ...]
    packed_bits: Tensor
    values: Tensor | None
    weight: Tensor
    settings: Settings
    mask: Tensor | None


@functools.cache
def _layout(size: tuple[int, ...], weight: tuple[int, ...], settings: Settings, lanes: int) -> Layout:
    along = (size[1:], weight[2:], settings.stride, settings.padding, settings.dilation)
    rows, columns = (Axis(*axis) for axis in zip(*along, strict=True))
    return Layout(size[0], weight[0], settings.groups, rows, columns, lanes)


def layout_of(size: Sequence[int], weight: Tensor, settings: Settings) -> Layout:
    """Return the layout for inputs of `size` (c_in, H, W)."""
    return _layout(tuple(size), tuple(weight.shape), settings, _VECTOR // weight.element_size())


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings, packed: Packed) -> Tensor:
    """Return the convolution of ``x`` [R, c_in, H, W], contiguous, of which `packed` is what is not 0."""
    rows, layout = x.shape[0], layout_of(x.shape[1:], weight, settings)
    is_dense = not pays(layout, rows, packed.count, layout.own)
    if decisions.observers:
        decisions.note_product("conv", "cpu", not is_dense, packed.count, x.numel())
    if is_dense:
        with torch.autocast("cpu", enabled=False):
            return functional.conv2d(x, weight, bias, *settings).contiguous()
    return by_spike(x, weight, bias, layout, packed)


def by_spike(x: Tensor, weight: Tensor, bias: Tensor | None, layout: Layout, packed: Packed) -> Tensor:
    """Return the convolution at the cost of its spikes."""
    rows = x.shape[0]
    out = buffer_pool.empty((rows, layout.c_out, layout.rows.places, layout.columns.places), x.dtype)
    call = compiled_forward(layout, REAL[x.dtype], not packed.is_binary).call
    given = [layout.window, layout.phase, *events(packed.bits, packed.count)]
    given += [] if packed.is_binary else [x]
    given += [layout.arranged(weight), layout.arranged_bias(bias, weight)]
    parts = _parts(layout, rows, packed.count)

    def part(first: int, last: int) -> None:
        room = torch.empty(layout.outputs, dtype=x.dtype)
        for each in range(first, last):
            call(*(t.data_ptr() for t in (*given, room, out)), each, rows, parts)

    spread(part, parts)
    return out


def backward(g: Tensor, saved: Saved, needs: Sequence[bool]) -> list[Tensor | None]:
    """Return the gradients of input, weight and bias, None for those that nobody needs."""
    need_x, need_weight, need_bias = needs
    g, layout = g.contiguous(), layout_of(saved.size, saved.weight, saved.settings)
    inputs = g.shape[0] * layout.c_in * layout.pixels
    looked_at = inputs if saved.mask is None else min(count(saved.mask), inputs)
    if looked_at == inputs:  # a mask of all may have bits beyond the last input
        saved = saved._replace(mask=None)
    scatter = need_weight and pays(layout, g.shape[0], count(saved.packed_bits), layout.own)
    gather = need_x and pays(layout, g.shape[0], looked_at, layout.own_in)
    found: list[Tensor | None] = [None, None, None]
    if scatter or gather:
        found = by_spike_backward(g, saved, (gather, scatter, scatter and need_bias))
    rest = [need and got is None for need, got in zip(needs, found, strict=True)]
    if any(rest):
        dense = _dense(g, saved, rest)
        found = [new if use else old for use, new, old in zip(rest, dense, found, strict=True)]
    return found


def by_spike_backward(g: Tensor, saved: Saved, needs: tuple[bool, bool, bool]) -> list[Tensor | None]:
    """Return the gradients of input, weight and bias at the cost of the spikes and of the inputs in the mask.

    Parameters
    ----------
    g : Tensor [R, c_out, H', W']
        Gradient of the outputs, contiguous.
    saved : Saved
    needs : (bool, bool, bool)
        Which are needed; that of the bias comes with that of the weight only.
    """
    inward, scatter, bias = needs
    rows, layout = g.shape[0], layout_of(saved.size, saved.weight, saved.settings)
    graded = scatter and saved.values is not None
    spikes = events(saved.packed_bits) if scatter else ()
    mask = events(saved.mask) if inward and saved.mask is not None else ()
    call = compiled_backward(layout, REAL[g.dtype], Backward(*needs, bool(mask), graded)).call
    blocks = sum(listed[1].numel() for listed in (spikes, mask) if listed)
    blocks += rows * layout.c_in * layout.pixels if inward and not mask else 0
    # The sums of the weights' gradient are shared out by sizes alone: the same bits for any number of threads.
    parts = _shares(layout, rows) if scatter else _parts(layout, rows, blocks)
    g_weight = g.new_zeros(parts, layout.weights if scatter else 0)
    g_bias = g.new_zeros(parts, layout.channels if bias else 0)
    g_x = buffer_pool.empty((rows, *saved.size), g.dtype) if inward else None
    given = [layout.window, layout.phase, *spikes, *([saved.values] if graded else [])]
    after = [layout.arranged(saved.weight), *mask, g_x] if inward else []

    def part(first: int, last: int) -> None:
        room = g.new_zeros(layout.outputs)
        for each in range(first, last):
            sums = [g_weight[each]] * scatter + [g_bias[each]] * bias
            call(*(t.data_ptr() for t in (*given, *sums, *after, g, room)), each, rows, parts)

    spread(part, parts, grain=max(parts * _PER_THREAD // max(_work(layout, rows, blocks), 1), 1))
    weight = layout.restored(_in_order(g_weight)) if scatter else None
    return [g_x, weight, layout.restored_bias(_in_order(g_bias)) if bias else None]


def _in_order(parts: Tensor) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def _dense(g: Tensor, saved: Saved, needs: list[bool]) -> tuple[Tensor, ...]:
    if not needs[1]:
        x = g.new_empty(1).expand(g.shape[0], *saved.size)  # its values are not read
    elif saved.values is None:
        x = unpack(saved.packed_bits, math.prod(saved.size), g.dtype).view(-1, *saved.size)
    else:
        x = saved.values
    stride, padding, dilation, groups = saved.settings
    settings = ([saved.weight.shape[0]], stride, padding, dilation, False, [0, 0], groups)
    g_x, *others = torch.ops.aten.convolution_backward(g, x, saved.weight, *settings, needs)
    if needs[0] and saved.mask is not None:
        g_x = g_x.mul_(unpack(saved.mask, math.prod(saved.size), g.dtype).view_as(g_x))
    return g_x, *others


def _work(layout: Layout, rows: int, blocks: int) -> int:
    return (2 * rows * layout.outputs + blocks * layout.block) // layout.lanes


def _parts(layout: Layout, rows: int, blocks: int) -> int:
    return max(min(torch.get_num_threads(), _work(layout, rows, blocks) // _PER_THREAD, rows), 1)


def _shares(layout: Layout, rows: int) -> int:
    return max(min(_SHARES, rows, max(4, rows * layout.outputs // (4 * layout.weights))), 1)


def pays(layout: Layout, rows: int, count: int, beside: int) -> bool:
    """Whether a product at the cost of `count` spikes takes less time than torch's over all of `rows` samples.

    Unit is the time in which a vector of weights is loaded, added to a vector in the first-level cache and stored. To
    clear and to write a vector of outputs takes three, to find the place of a spike six. Torch does 2.8 multiplications
    of a vector in it, and fewer with few channels `beside` each other in memory: half as many with 12; fresh memory for
    a vector of outputs takes it three. Measured on one x86-64 processor with vectors of 32 bytes; both sides gain in
    the same way from wider ones.
    """
    clear = layout.rows.extent * layout.columns.extent * layout.channels / layout.lanes
    by_spike = 3 * rows * clear + count * (6 + layout.block / layout.lanes)
    written = layout.rows.places * layout.columns.places * layout.c_out / layout.lanes
    dense = rows * (layout.products / layout.lanes * (1 + 12 / beside) / 2.8 + 3 * written)
    return by_spike < dense and count < MOST
