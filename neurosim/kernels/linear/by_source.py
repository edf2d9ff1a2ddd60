"""Spikes ordered by the neuron that sent them: for a weight gradient that is added up in registers.

A weight gradient needs, for each neuron before the synapse, the sum of the current's gradients over the steps at which
it spiked. In the order of time each spike reads and writes a row of the gradient; ordered by neuron, a row is read and
written once for many spikes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common.bits import REAL

_SPIKES = 16  # of a neuron in a group, about: enough that its row of the gradient is read and written seldom
_ROWS = 512  # of a group at most: what is added up should stay in the second-level cache
PER_THREAD = 1 << 14  # events


class BySource(NamedTuple):
    """The events of a layer's input by groups of samples, in a group by neuron, of a neuron by sample, latest first.

    Attributes
    ----------
    starts : Tensor [groups n + 1] of int32
        The events of neuron j in group g are those from ``starts[g n + j]`` up to before ``starts[g n + j + 1]``.
    rows : Tensor [count] of int32
        Of each event: ``b T + t``, its step t and its sample b of the group.
    values : Tensor [count]
        Of each event its value; empty if all are 1.
    group : int
        Samples of a group; the last may have fewer.
    """

    starts: Tensor
    rows: Tensor
    values: Tensor
    group: int


def by_source(starts: Tensor, index: Tensor, sizes: tuple[int, int, int], x: Tensor | None) -> BySource:
    """Order the events of an input.

    Parameters
    ----------
    starts, index : Tensor [T B + 1], [count] of int32
        As `spikes.events` lists them.
    sizes : tuple of int
        T, B and n.
    x : Tensor [T, B, n] or None
        The input, contiguous; None if it is 1 at each event.
    """
    steps, batch, n = sizes
    count = index.numel()
    group = group_size(steps, batch, n, count)
    groups = -(-batch // group)
    first = torch.zeros(groups * n + 1, dtype=torch.int32)
    grain = max(PER_THREAD * groups // max(count, 1), 1)
    counting().run_parallel(groups, (starts, index, first[1:]), steps, batch, n, group, grain=grain)
    first = first.cumsum(0, dtype=torch.int32)
    rows = torch.empty_like(index)
    real = None if x is None else REAL[x.dtype]
    values = torch.empty(0) if x is None else torch.empty(count, dtype=x.dtype)
    arrays = [starts, index, first[:-1].clone(), rows, *([] if x is None else [x, values])]
    placing(real).run_parallel(groups, arrays, steps, batch, n, group, grain=grain)
    return BySource(first, rows, values, group)


def group_size(steps: int, batch: int, n: int, count: int) -> int:
    """Return how many samples make a group: enough for some spikes of each neuron, few enough for the cache."""
    per_neuron = count / max(batch * n, 1)
    samples = min(_SPIKES / max(per_neuron, 1e-9), _ROWS / max(steps, 1))
    return min(max(int(samples), 1), max(batch, 1))


@functools.cache
def counting() -> CompiledKernel:
    """Return the kernel that counts events by neuron: starts, index, counts as i32; groups, steps, batch, n, group."""
    code = IRBuilder("float")
    starts, index, counts = map(code.pointer_argument, ("starts", "index", "counts"))
    with _events(code, starts, index) as (_, at, _):
        code.store_scalar("i32", code.fresh(f"add i32 {code.load_scalar('i32', counts, at)}, 1"), counts, at)
    return code.compile()


@functools.cache
def placing(real: str | None) -> CompiledKernel:
    """Return the kernel that places events: starts, index, cursors, rows, [x, values]; the numbers of `counting`."""
    code = IRBuilder(real or "float")
    starts, index, cursors, rows = map(code.pointer_argument, ("starts", "index", "cursors", "rows"))
    x, values = map(code.pointer_argument, ("x", "values")) if real else ("", "")
    with _events(code, starts, index) as (source, at, row):
        place = code.load_index(cursors, at)
        code.store_scalar("i32", code.fresh(f"trunc i64 {row} to i32"), rows, place)
        if real:
            code.store_scalar(real, code.load_scalar(real, x, source), values, place)
        code.store_scalar("i32", code.fresh(f"trunc i64 {code.integer('add', place, '1')} to i32"), cursors, at)
    return code.compile()


@contextmanager
def _events(code: IRBuilder, starts: str, index: str) -> Iterator[tuple[str, str, str]]:
    """Walk through the events: each one's place in the input, that of its neuron in its group, and its row there."""
    names = ("first", "last", "steps", "batch", "n", "group")
    first, last, steps, batch, n, group = map(code.integer_argument, names)
    with code.loop(first, last) as g:
        base, begin = code.integer("mul", g, n), code.integer("mul", g, group)
        with code.loop(begin, code.minimum(code.integer("add", begin, group), batch)) as b:
            before = code.integer("mul", code.integer("sub", b, begin), steps)
            with code.loop_backwards("0", steps) as t:
                row = code.integer("add", code.integer("mul", t, batch), b)
                first_value, here = code.integer("mul", row, n), code.integer("add", before, t)
                with code.loop_over_list(starts, index, row) as j:
                    yield code.integer("add", first_value, j), code.integer("add", base, j), here
