"""CompiledKernel code of drawn synapses: each kernel does the rows, or the words, from `first` up to before `last`.

Arrays of a chunk of rows lie one row behind the other: those of row r begin at ``place[r] - base`` and are ``count[r]``
long, or from ``place[r]`` up to ``place[r + 1]``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.drawing import functions
from neurosim.kernels.drawing.arguments import COUNTS

GUIDE = 12  # bits of a word that choose where the search for its level begins


def _start(is_distinct: bool | None = None) -> IRBuilder:
    code = IRBuilder("float")
    code.define(functions.words())
    if is_distinct is not None:
        code.define(functions.different() if is_distinct else functions.picks())
    return code


class _Picker:
    """The arguments of a kernel that draws partners, and the call that draws those of a row into a list."""

    def __init__(self, code: IRBuilder, is_distinct: bool) -> None:
        self.code, self.is_distinct = code, is_distinct
        self.key, self.list = code.pointer_argument("key"), code.pointer_argument("list")
        self.bits, self.buffer = code.pointer_argument("bits"), code.pointer_argument("buffer")

    def sizes(self) -> tuple[str, str]:
        """Declare and keep the numbers of choices, and whether a neuron itself is left out."""
        self.choices, self.without_self = map(self.code.integer_argument, ("choices", "without.self"))
        return self.choices, self.without_self

    @contextmanager
    def row(self, row: str, count: str) -> Iterator[tuple[str, str]]:
        """Draw the partners of a row and walk them: number and partner of each."""
        code = self.code
        excludes = code.fresh(f"icmp ne i64 {self.without_self}, 0")
        own = code.fresh(f"select i1 {excludes}, i64 {row}, i64 {1 << 40}")
        given = [("ptr", self.list), ("i64", count), ("i64", row), ("ptr", self.key)]
        given += [("i64", self.choices), ("i64", own)]
        if self.is_distinct:
            code.call("different", *given, ("ptr", self.bits), ("ptr", self.buffer))
        else:
            code.call("picks", *given)
        with code.loop("0", count) as k:
            yield k, _wide(code, "i32", self.list, k)


@functools.cache
def row_machine(is_distinct: bool, sink: Literal["list", "bits"]) -> CompiledKernel:
    """Return the code that draws the targets of presynaptic neurons, as slots or as bits.

    Arguments: place, count, out, key, list, bits, buffer; first and last row, choices, whether the neuron itself is
    left out, base of the places or words of a row, first slot.
    """
    code = _start(is_distinct)
    place, count, out = map(code.pointer_argument, ("place", "count", "out"))
    picker = _Picker(code, is_distinct)
    first, last = map(code.integer_argument, ("first", "last"))
    picker.sizes()
    base, offset = map(code.integer_argument, ("base", "offset"))
    with code.loop(first, last) as row:
        number = code.load_scalar("i64", count, row)
        if sink == "list":
            begin = code.integer("sub", code.load_scalar("i64", place, row), base)
            mine = code.address(out, begin, "i32")
        else:
            mine = code.address(out, code.integer("mul", row, base), "i64")
        with picker.row(row, number) as (k, target):
            slot = code.integer("add", target, offset)
            if sink == "list":
                code.store_scalar("i32", code.fresh(f"trunc i64 {slot} to i32"), mine, k)
            else:
                _set_bit(code, mine, slot)
    return code.compile()


@functools.cache
def column_machine(is_distinct: bool, sink: Literal["count", "i16", "i32", "bits"]) -> CompiledKernel:
    """Return the code that draws the sources of postsynaptic neurons: counts them, or lists or marks the targets.

    Arguments: cursor (counts, or where the next target of each presynaptic neuron goes), out, key, list, bits, buffer;
    first and last column, choices, whether the neuron itself is left out, synapses of a column, words of a row, first
    slot.
    """
    code = _start(is_distinct)
    cursor, out = map(code.pointer_argument, ("cursor", "out"))
    picker = _Picker(code, is_distinct)
    first, last = map(code.integer_argument, ("first", "last"))
    picker.sizes()
    number, width, offset = map(code.integer_argument, ("number", "width", "offset"))
    with code.loop(first, last) as column:
        slot = code.integer("add", column, offset)
        with picker.row(column, number) as (_, source):
            if sink == "bits":
                _set_bit(code, code.address(out, code.integer("mul", source, width), "i64"), slot)
            else:
                at = code.load_scalar("i64", cursor, source)
                if sink != "count":
                    code.store_scalar(sink, code.fresh(f"trunc i64 {slot} to {sink}"), out, at)
                code.store_scalar("i64", code.integer("add", at, "1"), cursor, source)
    return code.compile()


@functools.cache
def total_machine() -> CompiledKernel:
    """Return the code that counts the synapses of each presynaptic neuron of a fixed total.

    Arguments: counts, key, buffer; first and last piece, words of a piece, pieces of a row of words, words in all,
    neurons.
    """
    code = _start()
    counts, key, buffer = map(code.pointer_argument, ("counts", "key", "buffer"))
    names = ("first", "last", "length", "pieces", "total", "neurons")
    first, last, length, pieces, total, neurons = map(code.integer_argument, names)
    with code.loop(first, last) as piece:
        row = code.integer("sdiv", piece, pieces)
        inside = code.integer("mul", code.integer("srem", piece, pieces), length)
        block = code.integer("lshr", inside, "2")
        here = code.minimum(length, code.integer("sub", total, code.integer("mul", piece, length)))
        words = [("ptr", buffer), ("i64", block), ("i64", here), ("i64", row), ("i64", str(COUNTS)), ("ptr", key)]
        code.call("words", *words)
        with code.loop("0", here) as n:
            product = code.integer("mul", _wide(code, "i32", buffer, n), neurons)
            neuron = code.integer("lshr", product, "32")
            now = code.load_scalar("i64", counts, neuron)
            code.store_scalar("i64", code.integer("add", now, "1"), counts, neuron)
    return code.compile()


@functools.cache
def level_machine() -> CompiledKernel:
    """Return the code that draws weights or delays.

    Arguments: place, count, out, key, buffer, guide (number of limits at most the first word of each cell), limits,
    values of the levels; first and last row, base, number of limits, purpose.
    """
    code = _start()
    names = ("place", "count", "out", "key", "buffer", "guide", "limits", "values")
    place, count, out, key, buffer, guide, limits, values = map(code.pointer_argument, names)
    numbers = ("first", "last", "base", "levels", "purpose")
    first, last, base, levels, purpose = map(code.integer_argument, numbers)
    level = code.variable("i64")
    with code.loop(first, last) as row:
        number = code.load_scalar("i64", count, row)
        mine = code.address(out, code.integer("sub", code.load_scalar("i64", place, row), base), "i32")
        given = [("ptr", buffer), ("i64", "0"), ("i64", number), ("i64", row), ("i64", purpose), ("ptr", key)]
        code.call("words", *given)
        with code.loop("0", number) as n:
            word = _wide(code, "i32", buffer, n)
            cell = code.integer("lshr", word, str(32 - GUIDE))
            code.store_variable(level, _wide(code, "i32", guide, cell), "i64")
            _search(code, level, levels, limits, word)
            found = code.load_variable(level, "i64")
            code.store_scalar("i32", code.load_scalar("i32", values, found), mine, n)
    return code.compile()


def _search(code: IRBuilder, level: str, levels: str, limits: str, word: str) -> None:
    """Raise `level` while its limit is at most the word."""
    n = code.number()
    code.lines += [f"  br label %search{n}", f"search{n}:"]
    now = code.load_variable(level, "i64")
    is_inside = code.fresh(f"icmp slt i64 {now}, {levels}")
    code.lines += [f"  br i1 {is_inside}, label %look{n}, label %found{n}", f"look{n}:"]
    limit = _wide(code, "i32", limits, now)
    is_below = code.fresh(f"icmp ule i64 {limit}, {word}")
    code.lines += [f"  br i1 {is_below}, label %up{n}, label %found{n}", f"up{n}:"]
    code.store_variable(level, code.integer("add", now, "1"), "i64")
    code.lines += [f"  br label %search{n}", f"found{n}:"]


@functools.cache
def sort_machine(kind: Literal["i16", "i32", "packed", "wide"], has_delays: bool, packed_bits: int) -> CompiledKernel:
    """Return the code that sorts rows by delay into their table.

    Arguments: place, slot, weight, group, starts, post, weights of the table, cursors; first and last row, base,
    groups.
    """
    code = _start()
    names = ("place", "slot", "weight", "group", "starts", "post", "weights", "cursors")
    place, slot, weight, group, starts, post, weights, cursors = map(code.pointer_argument, names)
    first, last, base, groups = map(code.integer_argument, ("first", "last", "base", "groups"))
    with code.loop(first, last) as row:
        begin = code.load_scalar("i64", place, row)
        number = code.integer("sub", code.load_scalar("i64", place, code.integer("add", row, "1")), begin)
        chunk = code.integer("sub", begin, base)
        slots, levels, delays = (code.address(array, chunk, "i32") for array in (slot, weight, group))
        own = code.address(starts, code.integer("mul", row, groups), "i64")
        if has_delays:
            _count_groups(code, delays, number, groups, begin, own, cursors)
        else:
            code.store_scalar("i64", begin, own)
        with code.loop("0", number) as n:
            target = code.load_scalar("i32", slots, n)
            if has_delays:
                which = _wide(code, "i32", delays, n)
                at = code.load_scalar("i64", cursors, which)
                code.store_scalar("i64", code.integer("add", at, "1"), cursors, which)
            else:
                at = code.integer("add", begin, n)
            if kind == "i16":
                code.store_scalar("i16", code.fresh(f"trunc i32 {target} to i16"), post, at)
            elif kind == "packed":
                high = code.fresh(f"shl i32 {target}, {packed_bits}")
                code.store_scalar("i32", code.fresh(f"or i32 {high}, {code.load_scalar('i32', levels, n)}"), post, at)
            else:
                code.store_scalar("i32", target, post, at)
                if kind == "wide":
                    code.store_scalar("i32", code.load_scalar("i32", levels, n), weights, at)
    return code.compile()


def _count_groups(code: IRBuilder, delays: str, number: str, groups: str, begin: str, own: str, cursors: str) -> None:
    """Set the cursor and the start of each group of a row."""
    with code.loop("0", groups) as g:
        code.store_scalar("i64", "0", cursors, g)
    with code.loop("0", number) as n:
        which = _wide(code, "i32", delays, n)
        code.store_scalar("i64", code.integer("add", code.load_scalar("i64", cursors, which), "1"), cursors, which)
    running = code.variable("i64")
    code.store_variable(running, begin, "i64")
    with code.loop("0", groups) as g:
        now = code.load_variable(running, "i64")
        held = code.load_scalar("i64", cursors, g)
        code.store_scalar("i64", now, cursors, g)
        code.store_scalar("i64", now, own, g)
        code.store_variable(running, code.integer("add", now, held), "i64")


def _wide(code: IRBuilder, kind: str, base: str, index: str) -> str:
    """Return element `index` of an array of unsigned integers as an i64."""
    return code.fresh(f"zext {kind} {code.load_scalar(kind, base, index)} to i64")


def _set_bit(code: IRBuilder, words: str, slot: str) -> None:
    word = code.integer("lshr", slot, "6")
    bit = code.integer("shl", "1", code.integer("and", slot, "63"))
    code.store_scalar("i64", code.integer("or", code.load_scalar("i64", words, word), bit), words, word)
