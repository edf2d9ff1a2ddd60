"""Weights laid out for event-driven products: one row of a tile of neurons for each source, and back again."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common.bits import REAL
from neurosim.kernels.common.buffers import buffer_pool

SQUARE = {"float": 16, "double": 8}  # rows and columns that are turned at a time: one line of the caches each
_PER_THREAD = 1 << 14


def tiled(weight: Tensor, lanes: int) -> Tensor:
    """Return ``weight`` [N, n] as [tiles, n, lanes], with zeros behind the last neuron.

    `lanes` is a multiple of 16, or of 8 in double precision.
    """
    weight = weight.contiguous()
    width, sources = weight.shape
    tiles = -(-width // lanes)
    out = buffer_pool.empty((tiles, sources, lanes), weight.dtype)
    _turn(weight, out, True, width)
    return out


def untiled(weight: Tensor, width: int) -> Tensor:
    """Return [tiles, n, lanes] as ``weight`` [N, n], N = `width`."""
    out = torch.empty(width, weight.shape[1], dtype=weight.dtype)
    _turn(out, weight, False, width)
    return out


def _turn(flat: Tensor, tiles: Tensor, inward: bool, width: int) -> None:
    real = REAL[flat.dtype]
    count, sources, lanes = tiles.shape
    total = count * lanes // SQUARE[real]
    turning(real, inward).run_parallel(total, (flat, tiles), width, sources, lanes, grain=grain_of(sources, real))


def grain_of(sources: int, real: str) -> int:
    """Return how many groups of `SQUARE` neurons a thread does at least."""
    return max(_PER_THREAD // max(sources * SQUARE[real], 1), 1)


@functools.cache
def turning(real: str, inward: bool) -> CompiledKernel:
    """Return the kernel: flat, tiles; groups of `SQUARE` neurons, width, sources, lanes."""
    side = SQUARE[real]
    code = IRBuilder(real, side)
    flat, tiles = code.pointer_argument("flat"), code.pointer_argument("tiles")
    first, last, width, sources, lanes = map(code.integer_argument, ("first", "last", "width", "sources", "lanes"))

    def some(left: str, there: str) -> str:
        """Return the mask of the first `left` lanes, of none where `there` does not hold."""
        return code.first_lanes(code.fresh(f"select i1 {there}, i64 {left}, i64 0"))

    with code.loop(first, last) as group:
        column = code.integer("mul", group, str(side))
        tile = code.integer("sdiv", column, lanes)
        inside = code.integer("sub", column, code.integer("mul", tile, lanes))
        block = code.integer("add", code.integer("mul", tile, code.integer("mul", sources, lanes)), inside)
        with code.loop("0", sources, str(side)) as j:
            left = code.integer("sub", sources, j)
            rows, lines = [], []
            for n in range(side):
                neuron, source = code.integer("add", column, str(n)), code.integer("add", j, str(n))
                exists = code.fresh(f"icmp slt i64 {neuron}, {width}")
                rows.append((code.integer("add", code.integer("mul", neuron, sources), j), some(left, exists)))
                known = code.fresh(f"icmp slt i64 {source}, {sources}")
                lines.append((code.integer("add", block, code.integer("mul", source, lanes)), some(str(side), known)))
            given, taken = ((flat, rows), (tiles, lines)) if inward else ((tiles, lines), (flat, rows))
            square = [code.load(given[0], at, mask) for at, mask in given[1]]
            for (at, mask), line in zip(taken[1], code.transposed(square), strict=True):
                code.store(line, taken[0], at, mask)
    return code.compile()
