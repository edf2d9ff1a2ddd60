"""Bits of a picture pooled: set where any bit of a window is set."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common.bits import WORD, words

_PER_THREAD = 1 << 14  # places


def pooled_bits(
    bits: Tensor, size: tuple[int, int, int], kernel: tuple[int, ...], stride: tuple[int, ...]
) -> Tensor | None:
    """Return the bits of pooled pictures, or None where a window is wider than a word.

    Parameters
    ----------
    bits : Tensor [R, ceil(C H W / 64)] of int64
        A bit for each place of a picture.
    size : tuple of int
        C, H and W.
    kernel, stride : tuple of int
        Window and step between windows, along H and along W.

    Returns
    -------
    Tensor [R, ceil(C H' W' / 64)] of int64
    """
    if kernel[1] > WORD:
        return None
    channels, *places = size
    high, wide = ((n - k) // s + 1 for n, k, s in zip(places, kernel, stride, strict=True))
    found = torch.empty(bits.shape[0], words(channels * high * wide), dtype=torch.int64)
    grain = max(_PER_THREAD // max(channels * high * wide, 1), 1)
    numbers = (math.prod(size), channels, *places, high, wide, *kernel, *stride)
    _compiled().run_parallel(bits.shape[0], (bits.contiguous(), found), *numbers, grain=grain)
    return found


@functools.cache
def _compiled() -> CompiledKernel:
    code = IRBuilder("float")
    bits, found = map(code.pointer_argument, ("bits", "found"))
    first, last = map(code.integer_argument, ("first", "last"))
    names = ("n", "channels", "height", "width", "high", "wide", "kh", "kw", "sh", "sw")
    n, channels, height, width, high, wide, kh, kw, sh, sw = map(code.integer_argument, names)
    length = code.integer("lshr", code.integer("add", n, "63"), "6")
    places = code.integer("mul", channels, code.integer("mul", high, wide))
    room = code.integer("lshr", code.integer("add", places, "63"), "6")
    # As many windows as begin and end within the 64 bits that are looked at together.
    together = code.integer("add", code.integer("udiv", code.integer("sub", "64", kw), sw), "1")
    window, word, place = code.variable("i64"), code.variable("i64"), code.variable("i64")

    def bits_from(row: str, at: str) -> str:
        """Return 64 bits of `row` from bit `at` on; behind the last word stand any."""
        number, low = code.integer("lshr", at, "6"), code.integer("and", at, "63")
        after = code.minimum(code.integer("add", number, "1"), code.integer("sub", length, "1"))
        lower = code.integer("lshr", code.load_scalar("i64", row, number), low)
        upper = code.integer(
            "shl", code.integer("shl", code.load_scalar("i64", row, after), "1"), code.integer("sub", "63", low)
        )
        return code.integer("or", lower, upper)

    with code.loop(first, last) as r:
        row = code.address(bits, code.integer("mul", r, length), "i64")
        line = code.address(found, code.integer("mul", r, room), "i64")
        code.store_variable(word, "0", "i64")
        code.store_variable(place, "0", "i64")
        with code.loop("0", channels) as c, code.loop("0", high) as y, code.loop("0", wide, together) as x:
            top = code.integer("add", code.integer("mul", c, height), code.integer("mul", y, sh))
            corner = code.integer("add", code.integer("mul", top, width), code.integer("mul", x, sw))
            code.store_variable(window, "0", "i64")
            with code.loop("0", kh) as down:
                seen = bits_from(row, code.integer("add", corner, code.integer("mul", down, width)))
                with code.loop("0", kw) as right:
                    shifted = code.integer("lshr", seen, right)
                    code.store_variable(window, code.integer("or", code.load_variable(window, "i64"), shifted), "i64")
            count = code.minimum(together, code.integer("sub", wide, x))
            with code.loop("0", count) as k:
                bit = code.integer(
                    "and", code.integer("lshr", code.load_variable(window, "i64"), code.integer("mul", k, sw)), "1"
                )
                at = code.load_variable(place, "i64")
                held = code.integer(
                    "or", code.load_variable(word, "i64"), code.integer("shl", bit, code.integer("and", at, "63"))
                )
                code.store_variable(word, held, "i64")
                code.store_scalar("i64", held, line, code.integer("lshr", at, "6"))
                after = code.integer("add", at, "1")
                code.store_variable(place, after, "i64")
                full = code.fresh(f"icmp eq i64 {code.integer('and', after, '63')}, 0")
                code.store_variable(word, code.fresh(f"select i1 {full}, i64 0, i64 {held}"), "i64")
    return code.compile()
