"""Machine code of sparse products: each connection once for a spike, or once for several rows.

Connections are listed by the neuron before: those of neuron j stand from ``starts[j]`` up to before ``starts[j + 1]``,
with the neuron after and the weight of each. Where spikes are few, a spike adds the weights of its list to its row of
currents. Where they are many, as many rows as a vector has lanes go through the list of each neuron together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from neurosim.compiler.llvm.ir import Assembly
from neurosim.compiler.llvm.jit import Machine
from neurosim.kernels.common.bits import WORD

ROWS = {"float": 16, "double": 8}  # that go through the lists together


class _Product:
    """What all have: the connections, and how to walk those of a neuron."""

    def __init__(self, real: str, lanes: int = 1) -> None:
        self.code = Assembly(real, lanes)
        self.starts, self.after = self.code.pointer("starts"), self.code.pointer("after")

    @contextmanager
    def connections(self, j: str) -> Iterator[tuple[str, str]]:
        """Walk the connections of neuron `j`: the number of each, and the neuron after."""
        code = self.code
        end = code.index(self.starts, code.whole("add", j, "1"))
        with code.loop(code.index(self.starts, j), end) as k:
            yield k, code.index(self.after, k)

    def times(self, a: str, b: str | None) -> str:
        """Return the product of two numbers, the second 1 if left out."""
        return a if b is None else self.code.fresh(f"fmul {self.code.lane} {a}, {b}")

    def clear(self, base: str, count: str) -> None:
        """Set so many lanes to 0."""
        with self.code.loop("0", self.code.whole("mul", count, str(self.code.lanes)), str(self.code.lanes)) as n:
            self.code.store(self.code.literal(0.0), base, n)


@functools.cache
def forward_machine(real: str, graded: bool, ordered: bool) -> Machine:
    """Return the code that adds the weights of each spike to its row.

    Weights are either `ordered` as the connections are, or looked up by the place of each connection among them.

    Arguments: starts, after, starts and index of the events, [x], [places], weight, out; first and last row,
    neurons before and after.
    """
    this = _Product(real)
    code = this.code
    events = code.pointer("events"), code.pointer("index")
    x = code.pointer("x") if graded else ""
    places = "" if ordered else code.pointer("places")
    weight, out = code.pointer("weight"), code.pointer("out")
    first, last, n_in, n_out = map(code.number, ("first", "last", "n_in", "n_out"))
    with code.loop(first, last) as row:
        currents = code.at(out, code.whole("mul", row, n_out))
        this.clear(currents, n_out)
        values = code.at(x, code.whole("mul", row, n_in)) if graded else ""
        with code.listed(*events, row) as j:
            value = code.load(values, j) if graded else None
            with this.connections(j) as (k, post):
                share = this.times(code.load(weight, k if ordered else code.index(places, k)), value)
                code.store(code.add(code.load(currents, post), share), currents, post)
    return code.compile()


@functools.cache
def weight_machine(real: str, graded: bool) -> Machine:
    """Return the code that adds the gradient of the current to the weights of each spike.

    Arguments: starts, after, bits, [x], g, gradient of the weights; first and last word of bits, rows, neurons before
    and after.
    """
    this = _Product(real)
    code = this.code
    bits = code.pointer("bits")
    x = code.pointer("x") if graded else ""
    g, g_weight = code.pointer("g"), code.pointer("g.weight")
    first, last, rows, n_in, n_out = map(code.number, ("first", "last", "rows", "n_in", "n_out"))
    width = code.whole("lshr", code.whole("add", n_in, str(WORD - 1)), "6")
    left = code.variable("i64")
    with code.loop("0", rows) as row:
        gradients = code.at(g, code.whole("mul", row, n_out))
        values = code.at(x, code.whole("mul", row, n_in)) if graded else ""
        words = code.at(bits, code.whole("mul", row, width), "i64")
        with code.loop(first, last) as word:
            held = code.read("i64", words, word)
            code.set(left, held, "i64")
            with code.loop("0", code.ones(held)):
                rest = code.get(left, "i64")
                j = code.whole("add", code.whole("shl", word, "6"), code.lowest_bit(rest))
                code.set(left, code.whole("and", rest, code.whole("sub", rest, "1")), "i64")
                value = code.load(values, j) if graded else None
                with this.connections(j) as (k, post):
                    share = this.times(code.load(gradients, post), value)
                    code.store(code.add(code.load(g_weight, k), share), g_weight, k)
    return code.compile()


@functools.cache
def masked_machine(real: str) -> Machine:
    """Return the code of the input's gradient where it is asked for, 0 elsewhere.

    Arguments: starts, after, starts and index of what is asked for, weight, g, gradient of the input; first and last
    row, neurons before and after.
    """
    this = _Product(real)
    code = this.code
    events = code.pointer("events"), code.pointer("index")
    weight, g, g_x = map(code.pointer, ("weight", "g", "g.x"))
    first, last, n_in, n_out = map(code.number, ("first", "last", "n_in", "n_out"))
    total = code.variable()
    with code.loop(first, last) as row:
        gradients, found = code.at(g, code.whole("mul", row, n_out)), code.at(g_x, code.whole("mul", row, n_in))
        this.clear(found, n_in)
        with code.listed(*events, row) as j:
            code.set(total, code.literal(0.0))
            with this.connections(j) as (k, post):
                product = this.times(code.load(weight, k), code.load(gradients, post))
                # In any order, so that several sums run beside each other.
                code.set(total, code.fresh(f"fadd reassoc {code.lane} {code.get(total)}, {product}"))
            code.store(code.get(total), found, j)
    return code.compile()


@functools.cache
def together_machine(real: str, inward: bool) -> Machine:
    """Return the code of the product for several rows at once, forth from the neurons before or, `inward`, back.

    Arguments: starts, after, weight, given, made, and room for the rows of both, each neuron's values in a vector;
    first and last group of rows, rows, neurons before and after.
    """
    this = _Product(real, ROWS[real])
    code, lanes = this.code, ROWS[real]
    names = ("weight", "given", "made", "room.given", "room.made")
    weight, given, made, room_given, room_made = map(code.pointer, names)
    first, last, rows, n_in, n_out = map(code.number, ("first", "last", "rows", "n_in", "n_out"))
    sources, targets = (n_out, n_in) if inward else (n_in, n_out)
    total = code.variable()
    with code.loop(first, last) as group:
        # The last group overlaps the one before.
        row = code.smaller(code.whole("mul", group, str(lanes)), code.whole("sub", rows, str(lanes)))
        _gather(code, code.at(given, code.whole("mul", row, sources)), sources, room_given)
        if not inward:
            this.clear(room_made, n_out)
        with code.loop("0", n_in) as j:
            own = code.whole("mul", j, str(lanes))
            if inward:
                code.set(total, code.literal(0.0))
                with this.connections(j) as (k, post):
                    gradients = code.load(room_given, code.whole("mul", post, str(lanes)))
                    weights = code.splat(code.read(real, weight, k))
                    code.set(total, code.multiply_add(weights, gradients, code.get(total)))
                code.store(code.get(total), room_made, own)
            else:
                values = code.load(room_given, own)
                with code.when(_any(code, values)), this.connections(j) as (k, post):
                    at = code.whole("mul", post, str(lanes))
                    weights = code.splat(code.read(real, weight, k))
                    code.store(code.multiply_add(weights, values, code.load(room_made, at)), room_made, at)
        _scatter(code, room_made, targets, code.at(made, code.whole("mul", row, targets)))
    return code.compile()


@functools.cache
def weight_together_machine(real: str) -> Machine:
    """Return the code of the gradient of the weights from several rows at once.

    Arguments: starts, after, x, g, gradient of the weights, and room for the rows of both, each neuron's values in a
    vector; first and last neuron before, groups of rows, neurons before and after.
    """
    this = _Product(real, ROWS[real])
    code, lanes = this.code, ROWS[real]
    x, g, g_weight, room_x, room_g = map(code.pointer, ("x", "g", "g.weight", "room.x", "room.g"))
    first, last, groups, n_in, n_out = map(code.number, ("first", "last", "groups", "n_in", "n_out"))
    own = code.whole("sub", last, first)
    with code.loop("0", groups) as group:
        row = code.whole("mul", group, str(lanes))
        _gather(code, code.at(g, code.whole("mul", row, n_out)), n_out, room_g)
        mine = code.at(code.at(x, code.whole("mul", row, n_in)), first)
        _gather(code, mine, own, room_x, n_in)
        with code.loop("0", own) as j:
            values = code.load(room_x, code.whole("mul", j, str(lanes)))
            with code.when(_any(code, values)), this.connections(code.whole("add", first, j)) as (k, post):
                gradients = code.load(room_g, code.whole("mul", post, str(lanes)))
                share = code.total(code.fresh(f"fmul {code.lane} {values}, {gradients}"))
                now = code.read(real, g_weight, k)
                code.write(real, code.fresh(f"fadd {real} {now}, {share}"), g_weight, k)
    return code.compile()


def _any(code: Assembly, values: str) -> str:
    """Return whether any lane is not 0."""
    spiking = code.mask_bits(code.fresh(code.compare("ne", values, code.literal(0.0))))
    return code.fresh(f"icmp ne i{code.lanes} {spiking}, 0")


def _gather(code: Assembly, rows: str, width: str, room: str, apart: str | None = None) -> None:
    """Write as many rows as there are lanes, `apart` from each other, as a vector for each of their columns."""

    def tile(column: str, mask: str | None) -> None:
        square = [code.load(_line(code, rows, n, apart or width), column, mask) for n in range(code.lanes)]
        here = code.at(room, code.whole("mul", column, str(code.lanes)))
        for n, line in enumerate(code.transposed(square)):
            code.store(line, here, str(n * code.lanes))

    _columns(code, width, tile)


def _scatter(code: Assembly, room: str, width: str, rows: str) -> None:
    """Write the vectors of columns back as rows."""

    def tile(column: str, mask: str | None) -> None:
        here = code.at(room, code.whole("mul", column, str(code.lanes)))
        square = [code.load(here, str(n * code.lanes)) for n in range(code.lanes)]
        for n, line in enumerate(code.transposed(square)):
            code.store(line, _line(code, rows, n, width), column, mask)

    _columns(code, width, tile)


def _line(code: Assembly, rows: str, n: int, apart: str) -> str:
    return code.at(rows, code.whole("mul", str(n), apart))


def _columns(code: Assembly, width: str, body: Callable[[str, str | None], None]) -> None:
    """Write `body` for each vector along a row; where it ends inside a vector, with a mask."""
    whole = code.whole("and", width, str(-code.lanes))
    with code.loop("0", whole, str(code.lanes)) as column:
        body(column, None)
    with code.loop(whole, width, str(code.lanes)) as column:
        body(column, code.first_lanes(code.whole("sub", width, column)))
