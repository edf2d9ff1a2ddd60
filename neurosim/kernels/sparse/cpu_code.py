"""Machine code of sparse products: each connection once for a spike, or once for several rows.

Connections are listed by the neuron before: those of neuron j stand from ``starts[j]`` up to before ``starts[j + 1]``,
with the neuron after and the weight of each. Where spikes are few, a spike adds the weights of its list to its row of
currents. Where they are many, as many rows as a vector has lanes go through the list of each neuron together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common.bits import WORD

ROWS = {"float": 16, "double": 8}  # that go through the lists together


class _Product:
    """What all have: the connections, and how to walk those of a neuron."""

    def __init__(self, real: str, lanes: int = 1) -> None:
        self.code = IRBuilder(real, lanes)
        self.starts, self.after = self.code.pointer_argument("starts"), self.code.pointer_argument("after")

    @contextmanager
    def connections(self, j: str) -> Iterator[tuple[str, str]]:
        """Walk the connections of neuron `j`: the number of each, and the neuron after."""
        code = self.code
        end = code.load_index(self.starts, code.integer("add", j, "1"))
        with code.loop(code.load_index(self.starts, j), end) as k:
            yield k, code.load_index(self.after, k)

    def times(self, a: str, b: str | None) -> str:
        """Return the product of two numbers, the second 1 if left out."""
        return a if b is None else self.code.fresh(f"fmul {self.code.lane} {a}, {b}")

    def clear(self, base: str, count: str) -> None:
        """Set so many lanes to 0."""
        with self.code.loop("0", self.code.integer("mul", count, str(self.code.lanes)), str(self.code.lanes)) as n:
            self.code.store(self.code.literal(0.0), base, n)


@functools.cache
def forward_machine(real: str, graded: bool, ordered: bool) -> CompiledKernel:
    """Return the code that adds the weights of each spike to its row.

    Weights are either `ordered` as the connections are, or looked up by the place of each connection among them.

    Arguments: starts, after, starts and index of the events, [x], [places], weight, out; first and last row,
    neurons before and after.
    """
    this = _Product(real)
    code = this.code
    events = code.pointer_argument("events"), code.pointer_argument("index")
    x = code.pointer_argument("x") if graded else ""
    places = "" if ordered else code.pointer_argument("places")
    weight, out = code.pointer_argument("weight"), code.pointer_argument("out")
    first, last, n_in, n_out = map(code.integer_argument, ("first", "last", "n_in", "n_out"))
    with code.loop(first, last) as row:
        currents = code.address(out, code.integer("mul", row, n_out))
        this.clear(currents, n_out)
        values = code.address(x, code.integer("mul", row, n_in)) if graded else ""
        with code.loop_over_list(*events, row) as j:
            value = code.load(values, j) if graded else None
            with this.connections(j) as (k, post):
                share = this.times(code.load(weight, k if ordered else code.load_index(places, k)), value)
                code.store(code.add(code.load(currents, post), share), currents, post)
    return code.compile()


@functools.cache
def weight_machine(real: str, graded: bool) -> CompiledKernel:
    """Return the code that adds the gradient of the current to the weights of each spike.

    Arguments: starts, after, bits, [x], g, gradient of the weights; first and last word of bits, rows, neurons before
    and after.
    """
    this = _Product(real)
    code = this.code
    bits = code.pointer_argument("bits")
    x = code.pointer_argument("x") if graded else ""
    g, g_weight = code.pointer_argument("g"), code.pointer_argument("g.weight")
    first, last, rows, n_in, n_out = map(code.integer_argument, ("first", "last", "rows", "n_in", "n_out"))
    width = code.integer("lshr", code.integer("add", n_in, str(WORD - 1)), "6")
    left = code.variable("i64")
    with code.loop("0", rows) as row:
        gradients = code.address(g, code.integer("mul", row, n_out))
        values = code.address(x, code.integer("mul", row, n_in)) if graded else ""
        words = code.address(bits, code.integer("mul", row, width), "i64")
        with code.loop(first, last) as word:
            held = code.load_scalar("i64", words, word)
            code.store_variable(left, held, "i64")
            with code.loop("0", code.popcount(held)):
                rest = code.load_variable(left, "i64")
                j = code.integer("add", code.integer("shl", word, "6"), code.lowest_set_bit(rest))
                code.store_variable(left, code.integer("and", rest, code.integer("sub", rest, "1")), "i64")
                value = code.load(values, j) if graded else None
                with this.connections(j) as (k, post):
                    share = this.times(code.load(gradients, post), value)
                    code.store(code.add(code.load(g_weight, k), share), g_weight, k)
    return code.compile()


@functools.cache
def masked_machine(real: str) -> CompiledKernel:
    """Return the code of the input's gradient where it is asked for, 0 elsewhere.

    Arguments: starts, after, starts and index of what is asked for, weight, g, gradient of the input; first and last
    row, neurons before and after.
    """
    this = _Product(real)
    code = this.code
    events = code.pointer_argument("events"), code.pointer_argument("index")
    weight, g, g_x = map(code.pointer_argument, ("weight", "g", "g.x"))
    first, last, n_in, n_out = map(code.integer_argument, ("first", "last", "n_in", "n_out"))
    total = code.variable()
    with code.loop(first, last) as row:
        gradients, found = (
            code.address(g, code.integer("mul", row, n_out)),
            code.address(g_x, code.integer("mul", row, n_in)),
        )
        this.clear(found, n_in)
        with code.loop_over_list(*events, row) as j:
            code.store_variable(total, code.literal(0.0))
            with this.connections(j) as (k, post):
                product = this.times(code.load(weight, k), code.load(gradients, post))
                # In any order, so that several sums run beside each other.
                code.store_variable(
                    total, code.fresh(f"fadd reassoc {code.lane} {code.load_variable(total)}, {product}")
                )
            code.store(code.load_variable(total), found, j)
    return code.compile()


@functools.cache
def together_machine(real: str, inward: bool) -> CompiledKernel:
    """Return the code of the product for several rows at once, forth from the neurons before or, `inward`, back.

    Arguments: starts, after, weight, given, made, and room for the rows of both, each neuron's values in a vector;
    first and last group of rows, rows, neurons before and after.
    """
    this = _Product(real, ROWS[real])
    code, lanes = this.code, ROWS[real]
    names = ("weight", "given", "made", "room.given", "room.made")
    weight, given, made, room_given, room_made = map(code.pointer_argument, names)
    first, last, rows, n_in, n_out = map(code.integer_argument, ("first", "last", "rows", "n_in", "n_out"))
    sources, targets = (n_out, n_in) if inward else (n_in, n_out)
    total = code.variable()
    with code.loop(first, last) as group:
        # The last group overlaps the one before.
        row = code.minimum(code.integer("mul", group, str(lanes)), code.integer("sub", rows, str(lanes)))
        _gather(code, code.address(given, code.integer("mul", row, sources)), sources, room_given)
        if not inward:
            this.clear(room_made, n_out)
        with code.loop("0", n_in) as j:
            own = code.integer("mul", j, str(lanes))
            if inward:
                code.store_variable(total, code.literal(0.0))
                with this.connections(j) as (k, post):
                    gradients = code.load(room_given, code.integer("mul", post, str(lanes)))
                    weights = code.splat(code.load_scalar(real, weight, k))
                    code.store_variable(total, code.multiply_add(weights, gradients, code.load_variable(total)))
                code.store(code.load_variable(total), room_made, own)
            else:
                values = code.load(room_given, own)
                with code.branch_if(_any(code, values)), this.connections(j) as (k, post):
                    at = code.integer("mul", post, str(lanes))
                    weights = code.splat(code.load_scalar(real, weight, k))
                    code.store(code.multiply_add(weights, values, code.load(room_made, at)), room_made, at)
        _scatter(code, room_made, targets, code.address(made, code.integer("mul", row, targets)))
    return code.compile()


@functools.cache
def weight_together_machine(real: str) -> CompiledKernel:
    """Return the code of the gradient of the weights from several rows at once.

    Arguments: starts, after, x, g, gradient of the weights, and room for the rows of both, each neuron's values in a
    vector; first and last neuron before, groups of rows, neurons before and after.
    """
    this = _Product(real, ROWS[real])
    code, lanes = this.code, ROWS[real]
    x, g, g_weight, room_x, room_g = map(code.pointer_argument, ("x", "g", "g.weight", "room.x", "room.g"))
    first, last, groups, n_in, n_out = map(code.integer_argument, ("first", "last", "groups", "n_in", "n_out"))
    own = code.integer("sub", last, first)
    with code.loop("0", groups) as group:
        row = code.integer("mul", group, str(lanes))
        _gather(code, code.address(g, code.integer("mul", row, n_out)), n_out, room_g)
        mine = code.address(code.address(x, code.integer("mul", row, n_in)), first)
        _gather(code, mine, own, room_x, n_in)
        with code.loop("0", own) as j:
            values = code.load(room_x, code.integer("mul", j, str(lanes)))
            with code.branch_if(_any(code, values)), this.connections(code.integer("add", first, j)) as (k, post):
                gradients = code.load(room_g, code.integer("mul", post, str(lanes)))
                share = code.lane_sum(code.fresh(f"fmul {code.lane} {values}, {gradients}"))
                now = code.load_scalar(real, g_weight, k)
                code.store_scalar(real, code.fresh(f"fadd {real} {now}, {share}"), g_weight, k)
    return code.compile()


def _any(code: IRBuilder, values: str) -> str:
    """Return whether any lane is not 0."""
    spiking = code.bits_of_mask(code.fresh(code.compare("ne", values, code.literal(0.0))))
    return code.fresh(f"icmp ne i{code.lanes} {spiking}, 0")


def _gather(code: IRBuilder, rows: str, width: str, room: str, apart: str | None = None) -> None:
    """Write as many rows as there are lanes, `apart` from each other, as a vector for each of their columns."""

    def tile(column: str, mask: str | None) -> None:
        square = [code.load(_line(code, rows, n, apart or width), column, mask) for n in range(code.lanes)]
        here = code.address(room, code.integer("mul", column, str(code.lanes)))
        for n, line in enumerate(code.transposed(square)):
            code.store(line, here, str(n * code.lanes))

    _columns(code, width, tile)


def _scatter(code: IRBuilder, room: str, width: str, rows: str) -> None:
    """Write the vectors of columns back as rows."""

    def tile(column: str, mask: str | None) -> None:
        here = code.address(room, code.integer("mul", column, str(code.lanes)))
        square = [code.load(here, str(n * code.lanes)) for n in range(code.lanes)]
        for n, line in enumerate(code.transposed(square)):
            code.store(line, _line(code, rows, n, width), column, mask)

    _columns(code, width, tile)


def _line(code: IRBuilder, rows: str, n: int, apart: str) -> str:
    return code.address(rows, code.integer("mul", str(n), apart))


def _columns(code: IRBuilder, width: str, body: Callable[[str, str | None], None]) -> None:
    """Write `body` for each vector along a row; where it ends inside a vector, with a mask."""
    whole = code.integer("and", width, str(-code.lanes))
    with code.loop("0", whole, str(code.lanes)) as column:
        body(column, None)
    with code.loop(whole, width, str(code.lanes)) as column:
        body(column, code.first_lanes(code.integer("sub", width, column)))
