"""A dense product of rows with a matrix of few terms: the gradient of the input of a layer.

Its sums run over the terms in order, so that a row depends neither on how many there are nor on the number of threads.
For sums this short it is as fast as oneDNN, and a product of few rows does not wake other threads.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel, has_wide_vectors
from neurosim.kernels.common.bits import REAL
from neurosim.kernels.common.buffers import buffer_pool

LANES = {"float": 32, "double": 16}  # columns of a panel
BLOCK = 64  # rows that pass by a panel in the first-level cache
TERMS = 256  # of a sum, at most: a panel of more does not stay in the cache
_PER_THREAD = 1 << 20  # multiplications, at least
_COPIED = 1 << 10  # rows of panels that a thread lays out, at least


def is_short(weight: Tensor) -> bool:
    """Return whether products with ``weight`` [N, n] have few terms, N."""
    return weight.device.type == "cpu" and weight.dtype in REAL and 0 < weight.shape[0] <= TERMS


def dense_product(g: Tensor, weight: Tensor) -> Tensor:
    """Return ``g @ weight`` of ``g`` [R, N] and ``weight`` [N, n]."""
    (rows, width), columns = g.shape, weight.shape[1]
    real = REAL[g.dtype]
    count = panels_of(columns, real)
    panels = torch.empty((count, width, LANES[real]), dtype=g.dtype)
    laying_out(real).run_parallel(count * width, (weight.contiguous(), panels), width, columns, grain=_COPIED)
    out = buffer_pool.empty((rows, columns), g.dtype)
    arrays = (g.contiguous(), panels, out)
    multiplying(real).run_parallel(-(-rows // BLOCK), arrays, rows, width, columns, grain=grain_of(width, columns))
    return out


def panels_of(columns: int, real: str) -> int:
    """Return how many panels hold a matrix of so many columns."""
    return -(-columns // LANES[real])


def grain_of(width: int, columns: int) -> int:
    """Return how many blocks of rows a thread does at least."""
    return max(_PER_THREAD // max(BLOCK * width * columns, 1), 1)


@functools.cache
def laying_out(real: str) -> CompiledKernel:
    """Return the kernel that lays out a matrix [N, n] as [panels, N, lanes], with zeros behind the last column.

    Arguments: both; rows of panels, N, n.
    """
    code = IRBuilder(real, LANES[real])
    matrix, panels = map(code.pointer_argument, ("matrix", "panels"))
    first, last, width, columns = map(code.integer_argument, ("first", "last", "width", "columns"))
    with code.loop(first, last) as each:
        panel, row = code.integer("sdiv", each, width), code.integer("srem", each, width)
        column = code.integer("mul", panel, str(code.lanes))
        mask = code.first_lanes(code.integer("sub", columns, column))
        values = code.load(matrix, code.integer("add", code.integer("mul", row, columns), column), mask)
        code.store(values, panels, code.integer("mul", each, str(code.lanes)))
    return code.compile()


@functools.cache
def multiplying(real: str) -> CompiledKernel:
    """Return the kernel of the product. Arguments: g, panels, out; blocks of `BLOCK` rows, rows, N, n."""
    code = IRBuilder(real, LANES[real])
    g, panels, out = map(code.pointer_argument, ("g", "panels", "out"))
    names = ("first", "last", "rows", "width", "columns")
    first, last, rows, width, columns = map(code.integer_argument, names)
    lanes = str(code.lanes)
    size = code.integer("mul", width, lanes)
    count = code.integer("sdiv", code.integer("add", columns, str(code.lanes - 1)), lanes)

    def together(panel: str, row: str, column: str, mask: str, number: int) -> None:
        """Write the products of some rows, which share the values loaded from a panel."""
        each = [code.integer("add", row, str(k)) for k in range(number)]
        begins = [code.address(g, code.integer("mul", r, width)) for r in each]
        totals = [code.variable() for _ in each]
        for total in totals:
            code.store_variable(total, code.literal(0.0))
        with code.loop("0", width) as k:
            values = code.load(panel, code.integer("mul", k, lanes))
            for begin, total in zip(begins, totals, strict=True):
                factor = code.splat(code.load_scalar(real, begin, k))
                code.store_variable(total, code.multiply_add(factor, values, code.load_variable(total)))
        for r, total in zip(each, totals, strict=True):
            at = code.integer("add", code.integer("mul", r, columns), column)
            code.store(code.load_variable(total), out, at, mask)

    # As many rows as the registers hold sums for.
    most = 8 if has_wide_vectors() else 2
    with code.loop(first, last) as block:
        top = code.integer("mul", block, str(BLOCK))
        stop = code.minimum(code.integer("add", top, str(BLOCK)), rows)
        inside = code.integer("sub", stop, top)
        whole = code.integer("sub", stop, code.integer("urem", inside, str(most)))
        with code.loop("0", count) as number:
            panel = code.address(panels, code.integer("mul", number, size))
            column = code.integer("mul", number, lanes)
            mask = code.first_lanes(code.integer("sub", columns, column))
            with code.loop(top, whole, str(most)) as row:
                together(panel, row, column, mask, most)
            with code.loop(whole, stop) as row:
                together(panel, row, column, mask, 1)
    return code.compile()
