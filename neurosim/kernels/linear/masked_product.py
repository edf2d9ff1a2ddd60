"""The gradient of a product's input, only where a mask asks for it."""

from __future__ import annotations

import functools

from torch import Tensor

from neurosim.compiler.llvm.ir import Assembly
from neurosim.compiler.llvm.jit import Machine
from neurosim.kernels.common.bits import REAL, count
from neurosim.kernels.common.buffers import shelf

# Share of places from which the dense product is cheaper, and terms of a sum below which it always is: see
# docs/kernels.md.
CROSSOVER = 0.4
SHORT = 100
_TOGETHER = 4  # sums that share what is read of a row
_CLOSE = 64 << 10  # bytes of the columns that rows pass by
_ROWS = 64  # that pass by them at a time


def pays(wanted: Tensor, width: int, columns: int) -> bool:
    """Whether so few places are `wanted` that sums for these alone cost less than a dense product.

    Parameters
    ----------
    wanted : Tensor [R, ceil(columns / 64)] of int64
        Where the product is wanted, a bit each.
    width : int
        Terms of a sum.
    columns : int
        Places of a row.
    """
    if width < SHORT:
        return False
    return count(wanted) < CROSSOVER * wanted.shape[0] * columns


def masked_product(g: Tensor, weight: Tensor, wanted: Tensor) -> Tensor:
    """Return ``g @ weight`` where it is wanted, and 0 elsewhere.

    Parameters
    ----------
    g : Tensor [R, N]
        Rows on the left.
    weight : Tensor [N, n]
        Matrix on the right.
    wanted : Tensor [R, ceil(n / 64)] of int64
        Where it is wanted, a bit each.
    """
    rows, width = g.shape
    columns = weight.T.contiguous()
    out = shelf.empty((rows, weight.shape[1]), g.dtype)
    # A word has 64 bits, and a vector of zeros as many lanes.
    block = 32 if g.element_size() == 4 else 16
    while block > 4 and block * width * g.element_size() > _CLOSE:
        block //= 2
    arrays = (wanted, g.contiguous(), columns, out)
    _machine(REAL[g.dtype]).shared(-(-rows // _ROWS), arrays, rows, width, out.shape[1], block)
    return out


@functools.cache
def _machine(real: str) -> Machine:
    """Return the kernel: a block of columns stays in the first-level cache while some rows pass by."""
    code = Assembly(real, 32 if real == "float" else 16)
    wanted, g, columns, out = map(code.pointer, ("wanted", "g", "columns", "out"))
    names = ("first", "last", "rows", "width", "sources", "block")
    first, last, rows, width, sources, block = map(code.number, names)
    whole = code.whole("sub", width, code.whole("urem", width, str(code.lanes)))
    rest = code.first_lanes(code.whole("sub", width, whole))
    some_left = code.fresh(f"icmp slt i64 {whole}, {width}")
    words = code.whole("lshr", code.whole("add", sources, "63"), "6")
    totals = [code.variable() for _ in range(_TOGETHER)]
    left = code.variable("i64")

    def sums(row: str, close: str, result: str) -> None:
        """Write the products of a row with the next columns of those that are left; the last may stand in for more."""
        places = []
        for _ in totals:
            bits = code.get(left, "i64")
            places.append(code.lowest_bit(bits))
            fewer = code.whole("and", bits, code.whole("sub", bits, "1"))
            none = code.fresh(f"icmp eq i64 {fewer}, 0")
            code.set(left, code.fresh(f"select i1 {none}, i64 {bits}, i64 {fewer}"), "i64")
        starts_at = [code.at(close, code.whole("mul", j, width)) for j in places]

        def add(k: str, mask: str | None) -> None:
            value = code.load(row, k, mask)
            for total, column in zip(totals, starts_at, strict=True):
                code.set(total, code.multiply_add(value, code.load(column, k, mask), code.get(total)))

        for total in totals:
            code.set(total, code.literal(0.0))
        with code.loop("0", whole, str(code.lanes)) as k:
            add(k, None)
        with code.when(some_left):
            add(whole, rest)
        for value, j in zip(code.totals([code.get(total) for total in totals]), places, strict=True):
            code.write(real, value, result, j)

    with code.loop(first, last) as unit:
        begin = code.whole("mul", unit, str(_ROWS))
        end = code.smaller(code.whole("add", begin, str(_ROWS)), rows)
        with code.loop("0", sources, block) as j:
            close = code.at(columns, code.whole("mul", j, width))
            word, low = code.whole("lshr", j, "6"), code.whole("and", j, "63")
            there = code.smaller(block, code.whole("sub", sources, j))
            inside = code.whole("sub", code.whole("shl", "1", there), "1")
            zeros = code.first_lanes(there)
            with code.loop(begin, end) as r:
                row = code.at(g, code.whole("mul", r, width))
                result = code.at(out, code.whole("add", code.whole("mul", r, sources), j))
                code.store(code.literal(0.0), result, "0", zeros)
                held = code.read("i64", wanted, code.whole("add", code.whole("mul", r, words), word))
                held = code.whole("and", code.whole("lshr", held, low), inside)
                code.set(left, held, "i64")
                some = code.whole("add", code.ones(held), str(_TOGETHER - 1))
                with code.loop("0", code.whole("udiv", some, str(_TOGETHER))):
                    sums(row, close, result)
    return code.compile()
