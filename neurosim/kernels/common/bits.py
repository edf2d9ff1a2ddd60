"""Spikes packed one bit each, and the events that a word of bits lists."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import Assembly
from neurosim.compiler.llvm.jit import Machine, has_wide_vectors
from neurosim.kernels.common.availability import fused
from neurosim.kernels.common.buffers import shelf

WORD = 64  # bits
MOST = 1 << 31  # events that a list can hold
REAL = {torch.float32: "float", torch.float64: "double"}
_WORTH_A_THREAD = 1 << 18  # values; below, a thread that comes late costs more than it saves


class Packed(NamedTuple):
    """What was found in ``x`` [R, n].

    Attributes
    ----------
    bits : Tensor [R, ceil(n / 64)] of int64
        Bit ``j % 64`` of word ``j // 64`` is set where ``x[r, j]`` is not zero.
    count : int
        Number of bits set.
    ones : bool
        Whether every value that is not zero is 1.
    """

    bits: Tensor
    count: int  # type: ignore[assignment]  # as a name it hides tuple.count
    ones: bool


def words(n: int) -> int:
    """Return how many words hold `n` bits."""
    return -(-n // WORD)


def pack(x: Tensor) -> Packed:
    """Pack ``x`` [R, n], float32 or float64 and contiguous."""
    rows, n = x.shape
    bits = torch.empty(rows, words(n), dtype=torch.int64)
    found = torch.zeros(rows, 2, dtype=torch.int64)
    _packing(REAL[x.dtype]).shared(rows, (x, bits, found), n, grain=_grain(n))
    count, other = found.sum(0).tolist() if rows else (0, 0)
    return Packed(bits, count, other == 0)


def given(x: Tensor, bits: Tensor | None) -> Packed:
    """Pack ``x`` [R, n], or take its `bits` from whoever made it: it is then 1 where they are set."""
    return pack(x) if bits is None else Packed(bits, count(bits), True)


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
    grain = _grain(width * WORD // 4)
    starts = _counts(bits).cumsum(0, dtype=torch.int32)
    index = torch.empty(int(starts[-1]) if count is None else count, dtype=torch.int32)
    _listing(has_wide_vectors()).shared(rows, (bits, starts, index), width, grain=grain)
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
    _counting().shared(rows, (bits, counts[1:]), width, grain=_grain(width * WORD // 4))
    return counts


def unpack(bits: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """Return ``bits`` [R, ceil(n / 64)] as zeros and ones [R, n]."""
    x = shelf.empty((bits.shape[0], n), dtype)
    _unpacking(REAL[dtype]).shared(bits.shape[0], (bits, x), n, grain=_grain(n))
    return x


def near(values: Tensor, reach: float) -> Tensor:
    """Return bits [R, ceil(n / 64)] of where ``values`` [R, n] lie between `-reach` and `reach`, not at the ends."""
    rows, n = values.shape
    values = values.contiguous()
    bits = torch.empty(rows, words(n), dtype=torch.int64)
    _marking(REAL[values.dtype]).shared(rows, (values, bits), n, reach, grain=_grain(n))
    return bits


def _grain(n: int) -> int:
    return max(_WORTH_A_THREAD // max(n, 1), 1)


@functools.cache
def _packing(real: str) -> Machine:
    code = Assembly(real, WORD)
    x, bits, found = map(code.pointer, ("x", "bits", "found"))
    first, last, n = map(code.number, ("first", "last", "n"))
    width = code.whole("lshr", code.whole("add", n, str(WORD - 1)), "6")
    one, zero = code.literal(1.0), code.literal(0.0)
    with code.loop(first, last) as r:
        count, other = code.variable("i64"), code.variable("i64")
        code.set(count, "0", "i64")
        code.set(other, "0", "i64")
        row, start = code.whole("mul", r, n), code.whole("mul", r, width)

        def word(w: str, mask: str | None) -> None:
            value = code.load(x, code.whole("add", row, code.whole("shl", w, "6")), mask)
            held = code.mask_bits(code.fresh(code.compare("ne", value, zero)))
            graded = code.whole("and", held, code.mask_bits(code.fresh(code.compare("ne", value, one))))
            code.write("i64", held, bits, code.whole("add", start, w))
            code.set(count, code.whole("add", code.get(count, "i64"), code.ones(held)), "i64")
            code.set(other, code.whole("or", code.get(other, "i64"), graded), "i64")

        whole = code.whole("lshr", n, "6")
        with code.loop("0", whole) as w:
            word(w, None)
        with code.loop(whole, width) as w:
            word(w, code.first_lanes(code.whole("sub", n, code.whole("shl", w, "6"))))
        at = code.whole("shl", r, "1")
        code.write("i64", code.get(count, "i64"), found, at)
        more = code.fresh(f"icmp ne i64 {code.get(other, 'i64')}, 0")
        code.write("i64", code.fresh(f"zext i1 {more} to i64"), found, code.whole("add", at, "1"))
    return code.compile()


@functools.cache
def _marking(real: str) -> Machine:
    code = Assembly(real, WORD)
    x, bits = map(code.pointer, ("x", "bits"))
    first, last, n = map(code.number, ("first", "last", "n"))
    reach = code.uniform("reach")
    width = code.whole("lshr", code.whole("add", n, str(WORD - 1)), "6")
    with code.loop(first, last) as r:
        row, start = code.whole("mul", r, n), code.whole("mul", r, width)
        with code.loop("0", width) as w:
            done = code.whole("shl", w, "6")
            mask = code.first_lanes(code.whole("sub", n, done))
            distance = code.fresh(code.operation("abs", [code.load(x, code.whole("add", row, done), mask)]))
            within = code.fresh(code.compare("lt", distance, reach))
            marked = code.fresh(f"and {code.truths} {within}, {mask}")
            code.write("i64", code.mask_bits(marked), bits, code.whole("add", start, w))
    return code.compile()


@functools.cache
def _unpacking(real: str) -> Machine:
    code = Assembly(real, WORD)
    bits, x = map(code.pointer, ("bits", "x"))
    first, last, n = map(code.number, ("first", "last", "n"))
    width = code.whole("lshr", code.whole("add", n, str(WORD - 1)), "6")
    with code.loop(first, last) as r:
        row, start = code.whole("mul", r, n), code.whole("mul", r, width)
        with code.loop("0", width) as w:
            held = code.fresh(f"bitcast i64 {code.read('i64', bits, code.whole('add', start, w))} to {code.truths}")
            value = code.fresh(code.choice(held, code.literal(1.0), code.literal(0.0)))
            done = code.whole("shl", w, "6")
            mask = code.first_lanes(code.whole("sub", n, done))
            code.store(value, x, code.whole("add", row, done), mask)
    return code.compile()


@functools.cache
def _counting() -> Machine:
    code = Assembly("float")
    bits, counts = map(code.pointer, ("bits", "counts"))
    first, last, width = map(code.number, ("first", "last", "width"))
    total = code.variable("i64")
    with code.loop(first, last) as r:
        code.set(total, "0", "i64")
        start = code.whole("mul", r, width)
        with code.loop("0", width) as w:
            held = code.read("i64", bits, code.whole("add", start, w))
            code.set(total, code.whole("add", code.get(total, "i64"), code.ones(held)), "i64")
        code.write("i32", code.fresh(f"trunc i64 {code.get(total, 'i64')} to i32"), counts, r)
    return code.compile()


@functools.cache
def _listing(by_vectors: bool) -> Machine:
    """Return the kernel: bit by bit, or sixteen bits at once where the processor can."""
    code = Assembly("float", 16)
    bits, starts, index = map(code.pointer, ("bits", "starts", "index"))
    first, last, width = map(code.number, ("first", "last", "width"))
    at, left = code.variable("i64"), code.variable("i64")

    def one_by_one(held: str, base: str) -> None:
        code.set(left, held, "i64")
        with code.loop("0", code.ones(held)):
            rest, place = code.get(left, "i64"), code.get(at, "i64")
            j = code.whole("add", base, code.lowest_bit(rest))
            code.write("i32", code.fresh(f"trunc i64 {j} to i32"), index, place)
            code.set(left, code.whole("and", rest, code.whole("sub", rest, "1")), "i64")
            code.set(at, code.whole("add", place, "1"), "i64")

    def at_once(held: str, base: str) -> None:
        for n in range(0, WORD, code.lanes):
            some = code.fresh(f"trunc i64 {code.whole('lshr', held, str(n))} to i{code.lanes}")
            numbers = code.chosen(
                code.fresh(f"bitcast i{code.lanes} {some} to {code.truths}"), code.whole("add", base, str(n))
            )
            count, place = code.ones(code.fresh(f"zext i{code.lanes} {some} to i64")), code.get(at, "i64")
            code.write_first(numbers, count, index, place)
            code.set(at, code.whole("add", place, count), "i64")

    with code.loop(first, last) as r:
        code.set(at, code.index(starts, r), "i64")
        start = code.whole("mul", r, width)
        with code.loop("0", width) as w:
            held = code.read("i64", bits, code.whole("add", start, w))
            (at_once if by_vectors else one_by_one)(held, code.whole("shl", w, "6"))
    return code.compile()
