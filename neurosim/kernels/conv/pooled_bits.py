"""Bits of a picture pooled: set where any bit of a window is set."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from neurosim.compiler.llvm.ir import Assembly
from neurosim.compiler.llvm.jit import Machine
from neurosim.kernels.common.bits import WORD, words

_WORTH_A_THREAD = 1 << 14  # places


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
    grain = max(_WORTH_A_THREAD // max(channels * high * wide, 1), 1)
    numbers = (math.prod(size), channels, *places, high, wide, *kernel, *stride)
    _machine().shared(bits.shape[0], (bits.contiguous(), found), *numbers, grain=grain)
    return found


@functools.cache
def _machine() -> Machine:
    code = Assembly("float")
    bits, found = map(code.pointer, ("bits", "found"))
    first, last = map(code.number, ("first", "last"))
    names = ("n", "channels", "height", "width", "high", "wide", "kh", "kw", "sh", "sw")
    n, channels, height, width, high, wide, kh, kw, sh, sw = map(code.number, names)
    length = code.whole("lshr", code.whole("add", n, "63"), "6")
    places = code.whole("mul", channels, code.whole("mul", high, wide))
    room = code.whole("lshr", code.whole("add", places, "63"), "6")
    # As many windows as begin and end within the 64 bits that are looked at together.
    together = code.whole("add", code.whole("udiv", code.whole("sub", "64", kw), sw), "1")
    window, word, place = code.variable("i64"), code.variable("i64"), code.variable("i64")

    def bits_from(row: str, at: str) -> str:
        """Return 64 bits of `row` from bit `at` on; behind the last word stand any."""
        number, low = code.whole("lshr", at, "6"), code.whole("and", at, "63")
        after = code.smaller(code.whole("add", number, "1"), code.whole("sub", length, "1"))
        lower = code.whole("lshr", code.read("i64", row, number), low)
        upper = code.whole("shl", code.whole("shl", code.read("i64", row, after), "1"), code.whole("sub", "63", low))
        return code.whole("or", lower, upper)

    with code.loop(first, last) as r:
        row = code.at(bits, code.whole("mul", r, length), "i64")
        line = code.at(found, code.whole("mul", r, room), "i64")
        code.set(word, "0", "i64")
        code.set(place, "0", "i64")
        with code.loop("0", channels) as c, code.loop("0", high) as y, code.loop("0", wide, together) as x:
            top = code.whole("add", code.whole("mul", c, height), code.whole("mul", y, sh))
            corner = code.whole("add", code.whole("mul", top, width), code.whole("mul", x, sw))
            code.set(window, "0", "i64")
            with code.loop("0", kh) as down:
                seen = bits_from(row, code.whole("add", corner, code.whole("mul", down, width)))
                with code.loop("0", kw) as right:
                    shifted = code.whole("lshr", seen, right)
                    code.set(window, code.whole("or", code.get(window, "i64"), shifted), "i64")
            count = code.smaller(together, code.whole("sub", wide, x))
            with code.loop("0", count) as k:
                bit = code.whole("and", code.whole("lshr", code.get(window, "i64"), code.whole("mul", k, sw)), "1")
                at = code.get(place, "i64")
                held = code.whole("or", code.get(word, "i64"), code.whole("shl", bit, code.whole("and", at, "63")))
                code.set(word, held, "i64")
                code.write("i64", held, line, code.whole("lshr", at, "6"))
                after = code.whole("add", at, "1")
                code.set(place, after, "i64")
                full = code.fresh(f"icmp eq i64 {code.whole('and', after, '63')}, 0")
                code.set(word, code.fresh(f"select i1 {full}, i64 0, i64 {held}"), "i64")
    return code.compile()
