"""Machine code that decodes words of event files; the state of a decoder goes in and comes out in an array.

Each function appends to the columns t, x, y, p from place 0 on; ``state[0]`` is set to the number of events.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

import numpy as np

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.datasets.events.columns import Columns

UNKNOWN = -1  # a time or a row that no word has told yet
_COLUMNS = (("i64", np.int64), ("i16", np.uint16), ("i16", np.uint16), ("i8", np.uint8))
_FAR = 2**16 - 64  # a column beyond every sensor of these formats, whose words name columns below 2,048


def decoded(kernel: CompiledKernel, words: np.ndarray, state: np.ndarray, most: int, *numbers: int) -> Columns:
    """Return the events of some words, of which there are `most` at most, and change `state`."""
    made = _room(most + 1)  # a place more: what is no event is written, then lost
    addresses = [array.ctypes.data for array in (words, state, *made)]
    kernel.call(*addresses, len(words), *numbers)
    return Columns(*(column[: int(state[0])] for column in made))


def _room(number: int) -> list[np.ndarray]:
    """Return columns in one piece of memory, which the system gives faster than four."""
    sizes = [np.dtype(kind).itemsize * number for _, kind in _COLUMNS]
    room = np.empty(sum(sizes), np.uint8)
    ends = np.cumsum(sizes).tolist()
    return [room[end - size : end].view(kind) for end, size, (_, kind) in zip(ends, sizes, _COLUMNS, strict=True)]


class _Words(IRBuilder):
    """A function of words, an array that it changes, and their number."""

    def __init__(self, out: str, *more: str) -> None:
        super().__init__("float")
        self.words, self.out = self.pointer_argument("words"), self.pointer_argument(out)
        self.more = [self.pointer_argument(name) for name in more]
        self.count = self.integer_argument("count")

    def word(self, kind: str, place: str) -> str:
        """Return a word as i64, without a sign."""
        loaded = self.load_scalar(kind, self.words, place)
        return loaded if kind == "i64" else self.fresh(f"zext {kind} {loaded} to i64")

    def turned(self, word: str, swaps: str) -> str:
        """Return a word of 64 bits whose halves change places where `swaps` is not 0."""
        turned = self.fresh(self.intrinsic("fshl", "i64", [("i64", word), ("i64", word), ("i64", "32")], "i64"))
        return self.fresh(f"select i1 {self.compare_integers('ne', swaps, '0')}, i64 {turned}, i64 {word}")

    def field(self, word: str, low: int, bits: int) -> str:
        """Return some bits of a word."""
        return self.integer("and", self.integer("lshr", word, str(low)) if low else word, str(2**bits - 1))

    def compare_integers(self, op: str, a: str, b: str) -> str:
        """Return a comparison of integers, an i1."""
        return self.fresh(f"icmp {op} i64 {a}, {b}")


class _Decoder(_Words):
    """A function of words, state and columns; its variables live in the state between calls."""

    def __init__(self, *names: str) -> None:
        super().__init__("state", *"txyp")
        self._variables = {name: self.variable("i64") for name in ("number", *names)}
        for place, name in enumerate(self._variables):
            self[name] = "0" if name == "number" else self.load_scalar("i64", self.out, str(place))

    def __getitem__(self, name: str) -> str:
        return self.load_variable(self._variables[name], "i64")

    def __setitem__(self, name: str, value: str) -> None:
        self.store_variable(self._variables[name], value, "i64")

    def choose(self, name: str, condition: str, value: str) -> None:
        """Set a variable where a condition, an i1, holds."""
        self[name] = self.fresh(f"select i1 {condition}, i64 {value}, i64 {self[name]}")

    def when(self, op: str, a: str, b: str) -> AbstractContextManager[None]:
        """Do what is written inside if a comparison of integers holds."""
        return self.branch_if(self.compare_integers(op, a, b))

    def write(self, t: str, x: str, y: str, p: str, counts: str = "true") -> None:
        """Append an event; it is overwritten by the next one unless `counts`, an i1, holds."""
        place = self["number"]
        for (kind, _), column, value in zip(_COLUMNS, self.more, (t, x, y, p), strict=True):
            stored = value if kind == "i64" else self.fresh(f"trunc i64 {value} to {kind}")
            self.store_scalar(kind, stored, column, place)
        self["number"] = self.integer("add", place, self.fresh(f"zext i1 {counts} to i64"))

    def write_bits(self, bits: str, t: str, x: str, y: str, p: str) -> None:
        """Append an event for each bit that is set, the lowest first; its number counts from column `x`."""
        rest = self.variable("i64")
        self.store_variable(rest, bits, "i64")
        with self.loop("0", self.popcount(bits)):
            now = self.load_variable(rest, "i64")
            self.write(t, self.integer("add", x, self.lowest_set_bit(now)), y, p)
            self.store_variable(rest, self.integer("and", now, self.integer("sub", now, "1")), "i64")

    def unwrapped(self, new: str, old: str, period: int) -> tuple[str, str]:
        """Return a clock that counts on where it wraps, and whether it does: it falls by half a period or more."""
        fall = self.integer("sub", old, new)
        wraps = self.compare_integers("sge", fall, str(period // 2))
        return self.integer("add", new, self.fresh(f"select i1 {wraps}, i64 {period}, i64 0")), wraps

    def finished(self) -> CompiledKernel:
        """Write the variables back and return the machine code."""
        for place, name in enumerate(self._variables):
            self.store_scalar("i64", self[name], self.out, str(place))
        return self.compile()


def _next_base(code: _Decoder, high: str, period: int) -> None:
    """Set the time from its upper bits; ``shift`` counts how often the clock has wrapped, in microseconds."""
    new = code.integer("add", high, code["shift"])
    later, wraps = code.unwrapped(new, code["base"], period)
    more = code.integer("add", code["shift"], str(period))
    code.choose("shift", wraps, more)
    code["base"] = later


@functools.cache
def evt2() -> CompiledKernel:
    """Return the decoder of EVT 2.0. State: number, base (UNKNOWN), shift."""
    code = _Decoder("base", "shift")
    with code.loop("0", code.count) as place:
        word = code.word("i32", place)
        kind, base = code.field(word, 28, 4), code["base"]
        known, is_cd = code.compare_integers("sge", base, "0"), code.compare_integers("ule", kind, "1")
        is_event = code.fresh(f"and i1 {known}, {is_cd}")
        t = code.integer("add", base, code.field(word, 22, 6))
        code.write(t, code.field(word, 11, 11), code.field(word, 0, 11), kind, is_event)
        with code.when("eq", kind, "8"):
            _next_base(code, code.integer("shl", code.field(word, 0, 28), "6"), 2**34)
    return code.finished()


@functools.cache
def evt21() -> CompiledKernel:
    """Return the decoder of EVT 2.1, whose words name up to 32 columns. State as for EVT 2.0."""
    code = _Decoder("base", "shift")
    swaps = code.integer_argument("swaps")
    with code.loop("0", code.count) as place:
        word = code.turned(code.word("i64", place), swaps)
        kind = code.field(word, 60, 4)
        with code.when("ule", kind, "1"), code.when("sge", code["base"], "0"):
            t = code.integer("add", code["base"], code.field(word, 54, 6))
            x, y = code.field(word, 43, 11), code.field(word, 32, 11)
            code.write_bits(code.field(word, 0, 32), t, x, y, kind)
        with code.when("eq", kind, "8"):
            _next_base(code, code.integer("shl", code.field(word, 32, 28), "6"), 2**34)
    return code.finished()


@functools.cache
def evt3() -> CompiledKernel:
    """Return the decoder of EVT 3.0. State: number, high (UNKNOWN), low, shift, y (UNKNOWN), x, p.

    A vector of events names the columns from x on, and moves x on by its length.
    """
    code = _Decoder("high", "low", "shift", "y", "x", "p")

    def time() -> str:
        upper = code.integer("add", code["shift"], code.integer("shl", code["high"], "12"))
        return code.integer("add", upper, code["low"])

    with code.loop("0", code.count) as place:
        word = code.word("i16", place)
        kind, content, narrow = code.field(word, 12, 4), code.field(word, 0, 12), code.field(word, 0, 11)
        is_known = code.compare_integers("sge", code.integer("or", code["high"], code["y"]), "0")
        is_event = code.fresh(f"and i1 {is_known}, {code.compare_integers('eq', kind, '2')}")
        code.write(time(), narrow, code["y"], code.field(word, 11, 1), is_event)
        with code.when("eq", code.integer("and", kind, "14"), "4"):  # vectors; the rest has no branch
            is_long = code.compare_integers("eq", kind, "4")
            length, mask = (code.fresh(f"select i1 {is_long}, i64 {a}, i64 {b}") for a, b in ((12, 8), (4095, 255)))
            with code.branch_if(is_known):
                code.write_bits(code.integer("and", word, mask), time(), code["x"], code["y"], code["p"])
            code["x"] = code.minimum(code.integer("add", code["x"], length), str(_FAR))
        code.choose("y", code.compare_integers("eq", kind, "0"), narrow)
        is_base = code.compare_integers("eq", kind, "3")
        code.choose("x", is_base, narrow)
        code.choose("p", is_base, code.field(word, 11, 1))
        code.choose("low", code.compare_integers("eq", kind, "6"), content)
        is_high, old = code.compare_integers("eq", kind, "8"), code["high"]
        is_new = code.fresh(f"and i1 {is_high}, {code.compare_integers('ne', old, content)}")
        code.choose("low", is_new, "0")  # the lower half that belongs to the new upper one follows
        _, wraps = code.unwrapped(content, old, 2**12)
        is_wrap = code.fresh(f"and i1 {is_high}, {wraps}")
        code.choose("shift", is_wrap, code.integer("add", code["shift"], str(2**24)))
        code.choose("high", is_high, content)
    return code.finished()


@functools.cache
def dat() -> CompiledKernel:
    """Return the decoder of DAT: 32 bits of time, 14 of column, 14 of row, polarity. State: number, last, shift."""
    code = _Decoder("last", "shift")
    with code.loop("0", code.count) as place:
        word = code.word("i64", place)
        stored = code.field(word, 0, 32)
        _, wraps = code.unwrapped(stored, code["last"], 2**32)
        code.choose("shift", wraps, code.integer("add", code["shift"], str(2**32)))
        code["last"] = stored
        t = code.integer("add", stored, code["shift"])
        code.write(t, code.field(word, 32, 14), code.field(word, 46, 14), code.field(word, 60, 1))
    return code.finished()


def most_events(words: np.ndarray, swaps: int = 0) -> int:
    """Return how many events words of EVT 2.1 (64 bits) or 3.0 (16 bits) hold at most: one for each bit of a vector."""
    count = np.zeros(1, np.int64)
    _count(words.itemsize).call(words.ctypes.data, count.ctypes.data, len(words), swaps)
    return int(count[0])


@functools.cache
def _count(size: int) -> CompiledKernel:
    code = _Words("found")
    swaps = code.integer_argument("swaps")
    total = code.variable("i64")
    code.store_variable(total, "0", "i64")
    with code.loop("0", code.count) as place:
        if size == 2:
            word = code.word("i16", place)
            kind, bits = code.field(word, 12, 4), code.popcount(code.field(word, 0, 12))
            cases = [("2", "1"), ("4", bits), ("5", bits)]
        else:
            word = code.turned(code.word("i64", place), swaps)
            kind, bits = code.field(word, 60, 4), code.popcount(code.field(word, 0, 32))
            cases = [("0", bits), ("1", bits)]
        more = "0"
        for each, events in cases:
            more = code.fresh(f"select i1 {code.compare_integers('eq', kind, each)}, i64 {events}, i64 {more}")
        code.store_variable(total, code.integer("add", code.load_variable(total, "i64"), more), "i64")
    code.store_scalar("i64", code.load_variable(total, "i64"), code.out)
    return code.compile()


@functools.cache
def event_stream() -> CompiledKernel:
    """Return the decoder of the bytes of an Event Stream of a DVS. State: number, t, place in an event, x, y, p.

    An event is 7 bits of time since the last one and the polarity, then column and row of two bytes each. The byte 255
    is 127 microseconds without an event, 254 has no meaning.
    """
    code = _Decoder("t", "place", "x", "y", "p")
    with code.loop("0", code.count) as index:
        byte, place = code.word("i8", index), code["place"]
        with code.when("eq", place, "4"):
            y = code.integer("or", code["y"], code.integer("shl", byte, "8"))
            code.write(code["t"], code["x"], y, code["p"])
            code["place"] = "0"
        for here, name, shift in ((1, "x", 0), (2, "x", 8), (3, "y", 0)):
            with code.when("eq", place, str(here)):
                before = code[name] if shift else "0"
                code[name] = code.integer("or", before, code.integer("shl", byte, str(shift)))
                code["place"] = str(here + 1)
        with code.when("eq", place, "0"):
            with code.when("eq", byte, "255"):
                code["t"] = code.integer("add", code["t"], "127")
            with code.when("ult", byte, "254"):
                code["t"] = code.integer("add", code["t"], code.integer("lshr", byte, "1"))
                code["p"] = code.integer("and", byte, "1")
                code["place"] = "1"
    return code.finished()
