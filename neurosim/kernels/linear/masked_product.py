"""A matrix product computed only where a mask is set: the gradient of the input of a layer."""

from __future__ import annotations

import functools

from torch import Tensor

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common.bits import REAL
from neurosim.kernels.common.buffers import buffer_pool

_TOGETHER = 4  # sums that share the values loaded from a row
_COLUMN_BYTES = 64 << 10  # of a block of columns, which stays in the first-level cache
ROWS = 64  # of a block, each multiplied with the block of columns


def masked_product(g: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """Return ``g @ weight`` where the mask is set, and 0 elsewhere.

    Parameters
    ----------
    g : Tensor [R, N]
        Rows on the left.
    weight : Tensor [N, n]
        Matrix on the right.
    mask : Tensor [R, ceil(n / 64)] of int64
        A bit for each element of the product.
    """
    rows, width = g.shape
    columns = weight.T.contiguous()
    out = buffer_pool.empty((rows, weight.shape[1]), g.dtype)
    block = columns_of_block(width, REAL[g.dtype])
    arrays = (mask, g.contiguous(), columns, out)
    multiplying(REAL[g.dtype]).run_parallel(-(-rows // ROWS), arrays, rows, width, out.shape[1], block)
    return out


def columns_of_block(width: int, real: str) -> int:
    """Return how many columns of so many numbers stay in the first-level cache."""
    size = 4 if real == "float" else 8
    # A word has 64 bits, and a vector of zeros as many lanes.
    block = 128 // size
    while block > 4 and block * width * size > _COLUMN_BYTES:
        block //= 2
    return block


@functools.cache
def multiplying(real: str) -> CompiledKernel:
    """Return the kernel: a block of columns stays in the first-level cache while some rows pass by.

    Arguments: mask, g, columns, out; blocks of `ROWS` rows, rows, width, sources, block.
    """
    code = IRBuilder(real, 32 if real == "float" else 16)
    mask, g, columns, out = map(code.pointer_argument, ("mask", "g", "columns", "out"))
    names = ("first", "last", "rows", "width", "sources", "block")
    first, last, rows, width, sources, block = map(code.integer_argument, names)
    whole = code.integer("sub", width, code.integer("urem", width, str(code.lanes)))
    rest = code.first_lanes(code.integer("sub", width, whole))
    some_left = code.fresh(f"icmp slt i64 {whole}, {width}")
    words = code.integer("lshr", code.integer("add", sources, "63"), "6")
    totals = [code.variable() for _ in range(_TOGETHER)]
    left = code.variable("i64")

    def sums(row: str, close: str, result: str) -> None:
        """Write the products of a row with the next columns of those that are left; the last may stand in for more."""
        places = []
        for _ in totals:
            bits = code.load_variable(left, "i64")
            places.append(code.lowest_set_bit(bits))
            fewer = code.integer("and", bits, code.integer("sub", bits, "1"))
            none = code.fresh(f"icmp eq i64 {fewer}, 0")
            code.store_variable(left, code.fresh(f"select i1 {none}, i64 {bits}, i64 {fewer}"), "i64")
        starts_at = [code.address(close, code.integer("mul", j, width)) for j in places]

        def add(k: str, mask: str | None) -> None:
            value = code.load(row, k, mask)
            for total, column in zip(totals, starts_at, strict=True):
                code.store_variable(
                    total, code.multiply_add(value, code.load(column, k, mask), code.load_variable(total))
                )

        for total in totals:
            code.store_variable(total, code.literal(0.0))
        with code.loop("0", whole, str(code.lanes)) as k:
            add(k, None)
        with code.branch_if(some_left):
            add(whole, rest)
        for value, j in zip(code.lane_sums([code.load_variable(total) for total in totals]), places, strict=True):
            code.store_scalar(real, value, result, j)

    with code.loop(first, last) as unit:
        begin = code.integer("mul", unit, str(ROWS))
        end = code.minimum(code.integer("add", begin, str(ROWS)), rows)
        with code.loop("0", sources, block) as j:
            close = code.address(columns, code.integer("mul", j, width))
            word, low = code.integer("lshr", j, "6"), code.integer("and", j, "63")
            there = code.minimum(block, code.integer("sub", sources, j))
            inside = code.integer("sub", code.integer("shl", "1", there), "1")
            zeros = code.first_lanes(there)
            with code.loop(begin, end) as r:
                row = code.address(g, code.integer("mul", r, width))
                result = code.address(out, code.integer("add", code.integer("mul", r, sources), j))
                code.store(code.literal(0.0), result, "0", zeros)
                held = code.load_scalar("i64", mask, code.integer("add", code.integer("mul", r, words), word))
                held = code.integer("and", code.integer("lshr", held, low), inside)
                code.store_variable(left, held, "i64")
                some = code.integer("add", code.popcount(held), str(_TOGETHER - 1))
                with code.loop("0", code.integer("udiv", some, str(_TOGETHER))):
                    sums(row, close, result)
    return code.compile()
