"""Spikes packed one bit each, and the events that a word of bits lists."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel, has_wide_vectors
from neurosim.kernels.common.availability import fused
from neurosim.kernels.common.buffers import buffer_pool

WORD = 64  # bits
MOST = 1 << 31  # events that a list can hold
REAL = {torch.float32: "float", torch.float64: "double"}
_PER_THREAD = 1 << 18  # values, at least: starting a thread for fewer takes longer than it saves


class Packed(NamedTuple):
    """What was found in ``x`` [R, n].

    Attributes
    ----------
    bits : Tensor [R, ceil(n / 64)] of int64
        Bit ``j % 64`` of word ``j // 64`` is set where ``x[r, j]`` is not zero.
    count : int
        Number of bits set.
    is_binary : bool
        Whether every value that is not zero is 1.
    """

    bits: Tensor
    count: int  # type: ignore[assignment]  # as a name it hides tuple.count
    is_binary: bool


def words(n: int) -> int:
    """Return how many words hold `n` bits."""
    return -(-n // WORD)


def pack(x: Tensor) -> Packed:
    """Pack ``x`` [R, n], float32 or float64 and contiguous."""
    rows, n = x.shape
    bits = torch.empty(rows, words(n), dtype=torch.int64)
    found = torch.zeros(rows, 2, dtype=torch.int64)
    packing(REAL[x.dtype]).run_parallel(rows, (x, bits, found), n, grain=rows_per_thread(n))
    count, other = found.sum(0).tolist() if rows else (0, 0)
    return Packed(bits, count, other == 0)


def pack_unless_known(x: Tensor, packed_bits: Tensor | None) -> Packed:
    """Pack ``x`` [R, n], or take its bits from the layer that computed it: x is then 1 where they are set."""
    return pack(x) if packed_bits is None else Packed(packed_bits, count(packed_bits), True)


def events(bits: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
    """List what is set in ``bits`` [R, W].

    Returns
    -------
    starts : Tensor [R + 1] of int32
        The events of row r are those from ``starts[r]`` up to before ``starts[r + 1]``.
    index : Tensor [count] of int32
        Position of each event in its row, ascending.
    """
    rows, width = bits.shape
    grain = rows_per_thread(width * WORD // 4)
    starts = _counts(bits).cumsum(0, dtype=torch.int32)
    index = torch.empty(int(starts[-1]) if count is None else count, dtype=torch.int32)
    listing(has_wide_vectors()).run_parallel(rows, (bits, starts, index), width, grain=grain)
    return starts, index


def positions(x: Tensor) -> Tensor:
    """Return where ``x`` [T, B, ...] is not zero: places in the flat array, ascending, int64."""
    if x.device.type != "cpu" or x.dtype not in REAL or not fused(x.device):
        return x.flatten().nonzero().squeeze(1)
    rows = x.contiguous().flatten(0, 1).flatten(1)
    starts, index = events(pack(rows).bits)
    return torch.repeat_interleave(torch.arange(len(rows)) * rows.shape[1], starts.diff()) + index


def count(bits: Tensor) -> int:
    """Return how many of ``bits`` [R, W] are set."""
    return int(_counts(bits).sum())


def _counts(bits: Tensor) -> Tensor:
    """Return 0 and the number of bits set in each row: [R + 1] of int32."""
    rows, width = bits.shape
    counts = torch.zeros(rows + 1, dtype=torch.int32)
    counting().run_parallel(rows, (bits, counts[1:]), width, grain=rows_per_thread(width * WORD // 4))
    return counts


def unpack(bits: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """Return ``bits`` [R, ceil(n / 64)] as zeros and ones [R, n]."""
    x = buffer_pool.empty((bits.shape[0], n), dtype)
    _unpacking(REAL[dtype]).run_parallel(bits.shape[0], (bits, x), n, grain=rows_per_thread(n))
    return x


def bits_within(values: Tensor, bound: float) -> Tensor:
    """Return bits [R, ceil(n / 64)] of where ``values`` [R, n] lie strictly between `-bound` and `bound`."""
    rows, n = values.shape
    values = values.contiguous()
    bits = torch.empty(rows, words(n), dtype=torch.int64)
    _marking(REAL[values.dtype]).run_parallel(rows, (values, bits), n, bound, grain=rows_per_thread(n))
    return bits


def rows_per_thread(n: int) -> int:
    """Return how many rows of `n` values a thread does at least."""
    return max(_PER_THREAD // max(n, 1), 1)


@functools.cache
def packing(real: str) -> CompiledKernel:
    """Return the kernel that packs rows: x, bits, number and whether other than 1 of each row; rows, n."""
    code = IRBuilder(real, WORD)
    x, bits, found = map(code.pointer_argument, ("x", "bits", "found"))
    first, last, n = map(code.integer_argument, ("first", "last", "n"))
    width = code.integer("lshr", code.integer("add", n, str(WORD - 1)), "6")
    one, zero = code.literal(1.0), code.literal(0.0)
    with code.loop(first, last) as r:
        count, other = code.variable("i64"), code.variable("i64")
        code.store_variable(count, "0", "i64")
        code.store_variable(other, "0", "i64")
        row, start = code.integer("mul", r, n), code.integer("mul", r, width)

        def word(w: str, mask: str | None) -> None:
            value = code.load(x, code.integer("add", row, code.integer("shl", w, "6")), mask)
            held = code.bits_of_mask(code.fresh(code.compare("ne", value, zero)))
            graded = code.integer("and", held, code.bits_of_mask(code.fresh(code.compare("ne", value, one))))
            code.store_scalar("i64", held, bits, code.integer("add", start, w))
            code.store_variable(
                count, code.integer("add", code.load_variable(count, "i64"), code.popcount(held)), "i64"
            )
            code.store_variable(other, code.integer("or", code.load_variable(other, "i64"), graded), "i64")

        whole = code.integer("lshr", n, "6")
        with code.loop("0", whole) as w:
            word(w, None)
        with code.loop(whole, width) as w:
            word(w, code.first_lanes(code.integer("sub", n, code.integer("shl", w, "6"))))
        at = code.integer("shl", r, "1")
        code.store_scalar("i64", code.load_variable(count, "i64"), found, at)
        more = code.fresh(f"icmp ne i64 {code.load_variable(other, 'i64')}, 0")
        code.store_scalar("i64", code.fresh(f"zext i1 {more} to i64"), found, code.integer("add", at, "1"))
    return code.compile()


@functools.cache
def _marking(real: str) -> CompiledKernel:
    code = IRBuilder(real, WORD)
    x, bits = map(code.pointer_argument, ("x", "bits"))
    first, last, n = map(code.integer_argument, ("first", "last", "n"))
    bound = code.real_argument("bound")
    width = code.integer("lshr", code.integer("add", n, str(WORD - 1)), "6")
    with code.loop(first, last) as r:
        row, start = code.integer("mul", r, n), code.integer("mul", r, width)
        with code.loop("0", width) as w:
            done = code.integer("shl", w, "6")
            mask = code.first_lanes(code.integer("sub", n, done))
            distance = code.fresh(code.operation("abs", [code.load(x, code.integer("add", row, done), mask)]))
            within = code.fresh(code.compare("lt", distance, bound))
            marked = code.fresh(f"and {code.truths} {within}, {mask}")
            code.store_scalar("i64", code.bits_of_mask(marked), bits, code.integer("add", start, w))
    return code.compile()


@functools.cache
def _unpacking(real: str) -> CompiledKernel:
    code = IRBuilder(real, WORD)
    bits, x = map(code.pointer_argument, ("bits", "x"))
    first, last, n = map(code.integer_argument, ("first", "last", "n"))
    width = code.integer("lshr", code.integer("add", n, str(WORD - 1)), "6")
    with code.loop(first, last) as r:
        row, start = code.integer("mul", r, n), code.integer("mul", r, width)
        with code.loop("0", width) as w:
            held = code.fresh(
                f"bitcast i64 {code.load_scalar('i64', bits, code.integer('add', start, w))} to {code.truths}"
            )
            value = code.fresh(code.choice(held, code.literal(1.0), code.literal(0.0)))
            done = code.integer("shl", w, "6")
            mask = code.first_lanes(code.integer("sub", n, done))
            code.store(value, x, code.integer("add", row, done), mask)
    return code.compile()


@functools.cache
def counting() -> CompiledKernel:
    """Return the kernel that counts the bits of rows: bits, counts as i32; rows, words of a row."""
    code = IRBuilder("float")
    bits, counts = map(code.pointer_argument, ("bits", "counts"))
    first, last, width = map(code.integer_argument, ("first", "last", "width"))
    total = code.variable("i64")
    with code.loop(first, last) as r:
        code.store_variable(total, "0", "i64")
        start = code.integer("mul", r, width)
        with code.loop("0", width) as w:
            held = code.load_scalar("i64", bits, code.integer("add", start, w))
            code.store_variable(
                total, code.integer("add", code.load_variable(total, "i64"), code.popcount(held)), "i64"
            )
        code.store_scalar("i32", code.fresh(f"trunc i64 {code.load_variable(total, 'i64')} to i32"), counts, r)
    return code.compile()


@functools.cache
def listing(by_vectors: bool) -> CompiledKernel:
    """Return the kernel that lists bits: one by one, or sixteen at once where the processor can.

    Arguments: bits, starts, index; rows, words of a row.
    """
    code = IRBuilder("float", 16)
    bits, starts, index = map(code.pointer_argument, ("bits", "starts", "index"))
    first, last, width = map(code.integer_argument, ("first", "last", "width"))
    at, left = code.variable("i64"), code.variable("i64")

    def one_by_one(held: str, base: str) -> None:
        code.store_variable(left, held, "i64")
        with code.loop("0", code.popcount(held)):
            rest, place = code.load_variable(left, "i64"), code.load_variable(at, "i64")
            j = code.integer("add", base, code.lowest_set_bit(rest))
            code.store_scalar("i32", code.fresh(f"trunc i64 {j} to i32"), index, place)
            code.store_variable(left, code.integer("and", rest, code.integer("sub", rest, "1")), "i64")
            code.store_variable(at, code.integer("add", place, "1"), "i64")

    def at_once(held: str, base: str) -> None:
        for n in range(0, WORD, code.lanes):
            some = code.fresh(f"trunc i64 {code.integer('lshr', held, str(n))} to i{code.lanes}")
            numbers = code.selected_lanes(
                code.fresh(f"bitcast i{code.lanes} {some} to {code.truths}"), code.integer("add", base, str(n))
            )
            count, place = code.popcount(code.fresh(f"zext i{code.lanes} {some} to i64")), code.load_variable(at, "i64")
            code.store_first(numbers, count, index, place)
            code.store_variable(at, code.integer("add", place, count), "i64")

    with code.loop(first, last) as r:
        code.store_variable(at, code.load_index(starts, r), "i64")
        start = code.integer("mul", r, width)
        with code.loop("0", width) as w:
            held = code.load_scalar("i64", bits, code.integer("add", start, w))
            (at_once if by_vectors else one_by_one)(held, code.integer("shl", w, "6"))
    return code.compile()
