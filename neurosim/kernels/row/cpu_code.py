"""Machine code of what stands between the kernels of a row of layers: sums of counts, checks, zeros."""

from __future__ import annotations

import functools

from neurosim.compiler.llvm.ir import LINE, IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel

NOT_BINARY, TOO_MANY = 1, 2  # status of a list of calls


@functools.cache
def summing(with_copy: bool = False) -> CompiledKernel:
    """Return the kernel that makes places of counts of i32, and stops the list if there are more than a limit.

    Arguments: counts [R + 1], each the number of events of the row before it, which become where the events of each row
    begin; their number, an i64; the status; [a copy of the places]; from 0 to 1; R, the limit.
    """
    code = IRBuilder("float")
    counts, total, status = map(code.pointer_argument, ("counts", "total", "status"))
    copy = code.pointer_argument("copy") if with_copy else ""
    first, last, rows, limit = map(code.integer_argument, ("first", "last", "rows", "limit"))
    so_far = code.variable("i64")
    with code.loop(first, last):
        code.store_variable(so_far, "0", "i64")
        code.store_scalar("i32", "0", counts, "0")
        if with_copy:
            code.store_scalar("i32", "0", copy, "0")
        with code.loop("0", rows) as row:
            at = code.integer("add", row, "1")
            held = code.integer("add", code.load_variable(so_far, "i64"), code.load_index(counts, at))
            code.store_variable(so_far, held, "i64")
            place = code.fresh(f"trunc i64 {held} to i32")
            code.store_scalar("i32", place, counts, at)
            if with_copy:
                code.store_scalar("i32", place, copy, at)
        held = code.load_variable(so_far, "i64")
        code.store_scalar("i64", held, total)
        with code.branch_if(code.fresh(f"icmp sgt i64 {held}, {limit}")):
            code.store_scalar("i64", str(TOO_MANY), status)
    return code.compile()


@functools.cache
def checking() -> CompiledKernel:
    """Return the kernel that stops the list if a value other than 0 and 1 was packed.

    Arguments: what `bits.packing` found [R, 2], the status; from 0 to 1; R.
    """
    code = IRBuilder("float")
    found, status = map(code.pointer_argument, ("found", "status"))
    first, last, rows = map(code.integer_argument, ("first", "last", "rows"))
    others = code.variable("i64")
    with code.loop(first, last):
        code.store_variable(others, "0", "i64")
        with code.loop("0", rows) as row:
            other = code.load_scalar("i64", found, code.integer("add", code.integer("shl", row, "1"), "1"))
            code.store_variable(others, code.integer("or", code.load_variable(others, "i64"), other), "i64")
        with code.branch_if(code.fresh(f"icmp ne i64 {code.load_variable(others, 'i64')}, 0")):
            code.store_scalar("i64", str(NOT_BINARY), status)
    return code.compile()


@functools.cache
def clearing() -> CompiledKernel:
    """Return the kernel that writes zeros to lines of the caches. Arguments: the array; lines."""
    code = IRBuilder("float", LINE // 4)
    array = code.pointer_argument("array")
    first, last = map(code.integer_argument, ("first", "last"))
    with code.loop(first, last) as line:
        code.store(code.literal(0.0), array, code.integer("mul", line, str(code.lanes)))
    return code.compile()


def adding(real: str) -> CompiledKernel:
    """Return the kernel that adds an array to another. Arguments: the other, the changed one; lines of the caches, n.

    The last line may have fewer than the numbers of a line; n is how many there are.
    """
    return _into(real, True)


def copying(real: str) -> CompiledKernel:
    """Return the kernel that copies an array. Arguments: from, to; lines of the caches, n, as in `adding`."""
    return _into(real, False)


@functools.cache
def _into(real: str, add: bool) -> CompiledKernel:
    code = IRBuilder(real, LINE // (4 if real == "float" else 8))
    array, to = map(code.pointer_argument, ("array", "to"))
    first, last, n = map(code.integer_argument, ("first", "last", "n"))
    with code.loop(first, last) as line:
        at = code.integer("mul", line, str(code.lanes))
        mask = code.first_lanes(code.integer("sub", n, at))
        values = code.load(array, at, mask)
        code.store(code.add(code.load(to, at, mask), values) if add else values, to, at, mask)
    return code.compile()


@functools.cache
def transposing(real: str) -> CompiledKernel:
    """Return the kernel that transposes a matrix [N, n]. Arguments: both; columns, N, n."""
    code = IRBuilder(real)
    matrix, transposed = map(code.pointer_argument, ("matrix", "transposed"))
    first, last, rows, columns = map(code.integer_argument, ("first", "last", "rows", "columns"))
    with code.loop(first, last) as column:
        begin = code.integer("mul", column, rows)
        with code.loop("0", rows) as row:
            value = code.load_scalar(real, matrix, code.integer("add", code.integer("mul", row, columns), column))
            code.store_scalar(real, value, transposed, code.integer("add", begin, row))
    return code.compile()
