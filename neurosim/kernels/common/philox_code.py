"""Random words in LLVM IR: those of `kernels.common.philox`, for 64 neurons at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.kernels.common.philox import INCREMENTS, MULTIPLIERS, ROUNDS, WORD


def words_of(code: IRBuilder, place: tuple[str, str, str], key: tuple[str, str]) -> Callable[[str], list[str]]:
    """Write what the words of a step have in common, and return a function that writes those of a block.

    Parameters
    ----------
    code : IRBuilder
    place : tuple of str
        Step, trial and stream, as integers.
    key : tuple of str
        Lower and upper word of the seed.

    Returns
    -------
    callable
        Takes the number of a block of 64 neurons to its words as four vectors of i32; `interleaved` puts them in the
        order of the neurons.
    """
    fixed = [wide(code, each) for each in place]
    keys, schedule = list(key), []
    for _ in range(ROUNDS):
        schedule.append([wide(code, each) for each in keys])
        keys = [code.integer("add", each, str(more)) for each, more in zip(keys, INCREMENTS, strict=True)]
    lanes = ", ".join(f"i32 {n}" for n in range(16))

    def words(block: str) -> list[str]:
        first = wide(code, code.integer("shl", block, "4"))
        quads = code.fresh(f"add <16 x i32> {first}, <{lanes}>")
        return _philox(code, [quads, *fixed], schedule)

    return words


def wide(code: IRBuilder, scalar: str) -> str:
    """Return the lower word of an integer in 16 lanes."""
    vector = "<16 x i32>"
    narrow = code.fresh(f"trunc i64 {scalar} to i32")
    one = code.fresh(f"insertelement {vector} poison, i32 {narrow}, i64 0")
    return code.fresh(f"shufflevector {vector} {one}, {vector} poison, {vector} zeroinitializer")


def _philox(code: IRBuilder, counter: Sequence[str], schedule: Sequence[Sequence[str]]) -> list[str]:
    """Return the four words of Philox4x32-10 for vectors of counters; see `kernels.common.philox`."""
    a, b, c, d = counter
    vector, wide = "<16 x i32>", "<8 x i64>"

    def product(x: str, factor: int) -> tuple[str, str]:
        """Return the upper and the lower words of products: those of lanes 0, 2 ... and of lanes 1, 3 ... apart."""
        pairs = code.fresh(f"bitcast {vector} {x} to {wide}")
        even = code.fresh(f"and {wide} {pairs}, splat (i64 {WORD - 1})")
        odd = code.fresh(f"lshr {wide} {pairs}, splat (i64 32)")
        full = []
        for half in (even, odd):
            value = code.fresh(f"mul nuw {wide} {half}, splat (i64 {factor})")
            full.append(code.fresh(f"bitcast {wide} {value} to {vector}"))
        words = []
        for upper in (1, 0):
            order = ", ".join(f"i32 {2 * (n // 2) + upper + 16 * (n % 2)}" for n in range(16))
            words.append(code.fresh(f"shufflevector {vector} {full[0]}, {vector} {full[1]}, <16 x i32> <{order}>"))
        return words[0], words[1]

    def mixed(*words: str) -> str:
        first = code.fresh(f"xor {vector} {words[0]}, {words[1]}")
        return code.fresh(f"xor {vector} {first}, {words[2]}")

    for k0, k1 in schedule:
        (left_high, left_low), (right_high, right_low) = product(a, MULTIPLIERS[0]), product(c, MULTIPLIERS[1])
        a, b, c, d = mixed(right_high, b, k0), right_low, mixed(left_high, d, k1), left_low
    return [a, b, c, d]


def interleaved(code: IRBuilder, parts: Sequence[str]) -> list[str]:
    """Return four vectors as the numbers 0 of each, then the numbers 1 of each, and so on."""
    vector = "<16 x i32>"

    def zipped(a: str, b: str, half: int) -> str:
        order = ", ".join(f"i32 {8 * half + n // 2 + 16 * (n % 2)}" for n in range(16))
        return code.fresh(f"shufflevector {vector} {a}, {vector} {b}, <16 x i32> <{order}>")

    # Numbers n of the first and third, and of the second and fourth, then both together.
    even = [zipped(parts[0], parts[2], half) for half in (0, 1)]
    odd = [zipped(parts[1], parts[3], half) for half in (0, 1)]
    return [zipped(even[n // 2], odd[n // 2], n % 2) for n in range(4)]
