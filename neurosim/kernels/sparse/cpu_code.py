"""CompiledKernel code of sparse products: each synapse once for a spike, or once for several rows of input.

Synapses are listed by presynaptic neuron: those of neuron j are from ``starts[j]`` up to ``starts[j + 1]``, each with
its postsynaptic neuron and its weight. Where spikes are few, a spike adds the weights of its row of synapses to the
currents of its sample. Where they are many, as many samples as a vector has lanes go through the synapses together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common.bits import WORD

LANES = {"float": 16, "double": 8}  # samples that go through the synapses together
INDEX = {torch.uint16: "i16", torch.int32: "i32"}  # type of a postsynaptic neuron


class _Product:
    """What all have: the synapses, and how to walk those of a neuron."""

    def __init__(self, real: str, index: str, lanes: int = 1) -> None:
        self.code, self.index = IRBuilder(real, lanes), index
        self.starts, self.post = self.code.pointer_argument("starts"), self.code.pointer_argument("post")

    @contextmanager
    def synapses(self, j: str) -> Iterator[tuple[str, str]]:
        """Walk the synapses of neuron `j`: the number of each, and its postsynaptic neuron."""
        code = self.code
        first = code.load_scalar("i64", self.starts, j)
        end = code.load_scalar("i64", self.starts, code.integer("add", j, "1"))
        with code.loop(first, end) as k:
            yield k, narrow_index(code, self.index, self.post, k)

    def times(self, a: str, b: str | None) -> str:
        """Return the product of two numbers, the second 1 if left out."""
        return a if b is None else self.code.fresh(f"fmul {self.code.lane} {a}, {b}")

    def clear(self, base: str, count: str) -> None:
        """Set `count` lanes to 0."""
        with self.code.loop("0", self.code.integer("mul", count, str(self.code.lanes)), str(self.code.lanes)) as n:
            self.code.store(self.code.literal(0.0), base, n)


def narrow_index(code: IRBuilder, kind: str, base: str, index: str) -> str:
    """Return element `index` of an array of unsigned 16-bit or positive 32-bit integers as an index."""
    return code.fresh(f"zext {kind} {code.load_scalar(kind, base, index)} to i64")


@functools.cache
def forward_machine(real: str, index: str, graded: bool) -> CompiledKernel:
    """Return the code that adds the weights of each spike to the currents of its sample.

    Arguments: starts, post, starts and index of the events, [x], weight, out; first and last sample, presynaptic and
    postsynaptic neurons.
    """
    this = _Product(real, index)
    code = this.code
    events = code.pointer_argument("events"), code.pointer_argument("index")
    x = code.pointer_argument("x") if graded else ""
    weight, out = code.pointer_argument("weight"), code.pointer_argument("out")
    first, last, n_in, n_out = map(code.integer_argument, ("first", "last", "n_in", "n_out"))
    with code.loop(first, last) as sample:
        currents = code.address(out, code.integer("mul", sample, n_out))
        this.clear(currents, n_out)
        values = code.address(x, code.integer("mul", sample, n_in)) if graded else ""
        with code.loop_over_list(*events, sample) as j:
            value = code.load(values, j) if graded else None
            with this.synapses(j) as (k, post):
                share = this.times(code.load(weight, k), value)
                code.store(code.add(code.load(currents, post), share), currents, post)
    return code.compile()


@functools.cache
def weight_machine(real: str, index: str, graded: bool) -> CompiledKernel:
    """Return the code that adds the gradient of the current to that of the weights of each spike.

    Arguments: starts, post, bits, [x], g, gradient of the weights; first and last word of bits, samples, presynaptic
    and postsynaptic neurons.
    """
    this = _Product(real, index)
    code = this.code
    bits = code.pointer_argument("bits")
    x = code.pointer_argument("x") if graded else ""
    g, g_weight = code.pointer_argument("g"), code.pointer_argument("g.weight")
    first, last, samples, n_in, n_out = map(code.integer_argument, ("first", "last", "samples", "n_in", "n_out"))
    width = code.integer("lshr", code.integer("add", n_in, str(WORD - 1)), "6")
    left = code.variable("i64")
    with code.loop("0", samples) as sample:
        gradients = code.address(g, code.integer("mul", sample, n_out))
        values = code.address(x, code.integer("mul", sample, n_in)) if graded else ""
        words = code.address(bits, code.integer("mul", sample, width), "i64")
        with code.loop(first, last) as word:
            held = code.load_scalar("i64", words, word)
            code.store_variable(left, held, "i64")
            with code.loop("0", code.popcount(held)):
                rest = code.load_variable(left, "i64")
                j = code.integer("add", code.integer("shl", word, "6"), code.lowest_set_bit(rest))
                code.store_variable(left, code.integer("and", rest, code.integer("sub", rest, "1")), "i64")
                value = code.load(values, j) if graded else None
                with this.synapses(j) as (k, post):
                    share = this.times(code.load(gradients, post), value)
                    code.store(code.add(code.load(g_weight, k), share), g_weight, k)
    return code.compile()


@functools.cache
def masked_machine(real: str, index: str) -> CompiledKernel:
    """Return the code of the input's gradient at the active inputs, 0 elsewhere.

    Arguments: starts, post, starts and index of the active inputs, weight, g, gradient of the input; first and last
    sample, presynaptic and postsynaptic neurons.
    """
    this = _Product(real, index)
    code = this.code
    events = code.pointer_argument("events"), code.pointer_argument("index")
    weight, g, g_x = map(code.pointer_argument, ("weight", "g", "g.x"))
    first, last, n_in, n_out = map(code.integer_argument, ("first", "last", "n_in", "n_out"))
    total = code.variable()
    with code.loop(first, last) as sample:
        gradients, g_inputs = (
            code.address(g, code.integer("mul", sample, n_out)),
            code.address(g_x, code.integer("mul", sample, n_in)),
        )
        this.clear(g_inputs, n_in)
        with code.loop_over_list(*events, sample) as j:
            code.store_variable(total, code.literal(0.0))
            with this.synapses(j) as (k, post):
                product = this.times(code.load(weight, k), code.load(gradients, post))
                # In any order, so that several sums run beside each other.
                code.store_variable(
                    total, code.fresh(f"fadd reassoc {code.lane} {code.load_variable(total)}, {product}")
                )
            code.store(code.load_variable(total), g_inputs, j)
    return code.compile()


@functools.cache
def together_machine(real: str, index: str, inward: bool) -> CompiledKernel:
    """Return the code of the product for several samples at once: the currents or, `inward`, the input's gradient.

    Arguments: starts, post, weight, source, out, and scratch memory for the samples of both, each neuron's values in a
    vector; first and last group of samples, samples, presynaptic and postsynaptic neurons.
    """
    this = _Product(real, index, LANES[real])
    code, lanes = this.code, LANES[real]
    names = ("weight", "source", "out", "scratch.source", "scratch.out")
    weight, source, out, scratch_source, scratch_out = map(code.pointer_argument, names)
    first, last, samples, n_in, n_out = map(code.integer_argument, ("first", "last", "samples", "n_in", "n_out"))
    sources, targets = (n_out, n_in) if inward else (n_in, n_out)
    total = code.variable()
    with code.loop(first, last) as group:
        # The last group overlaps the one before.
        sample = code.minimum(code.integer("mul", group, str(lanes)), code.integer("sub", samples, str(lanes)))
        _gather(code, code.address(source, code.integer("mul", sample, sources)), sources, scratch_source)
        if not inward:
            this.clear(scratch_out, n_out)
        with code.loop("0", n_in) as j:
            own = code.integer("mul", j, str(lanes))
            if inward:
                code.store_variable(total, code.literal(0.0))
                with this.synapses(j) as (k, post):
                    gradients = code.load(scratch_source, code.integer("mul", post, str(lanes)))
                    weights = code.splat(code.load_scalar(real, weight, k))
                    code.store_variable(total, code.multiply_add(weights, gradients, code.load_variable(total)))
                code.store(code.load_variable(total), scratch_out, own)
            else:
                values = code.load(scratch_source, own)
                with code.branch_if(_any(code, values)), this.synapses(j) as (k, post):
                    at = code.integer("mul", post, str(lanes))
                    weights = code.splat(code.load_scalar(real, weight, k))
                    code.store(code.multiply_add(weights, values, code.load(scratch_out, at)), scratch_out, at)
        _scatter(code, scratch_out, targets, code.address(out, code.integer("mul", sample, targets)))
    return code.compile()


@functools.cache
def weight_together_machine(real: str, index: str) -> CompiledKernel:
    """Return the code of the gradient of the weights from several samples at once.

    Arguments: starts, post, x, g, gradient of the weights, and scratch memory for the samples of x and g, each neuron's
    values in a vector; first and last presynaptic neuron, groups of samples, presynaptic and postsynaptic neurons.
    """
    this = _Product(real, index, LANES[real])
    code, lanes = this.code, LANES[real]
    x, g, g_weight, scratch_x, scratch_g = map(code.pointer_argument, ("x", "g", "g.weight", "scratch.x", "scratch.g"))
    first, last, groups, n_in, n_out = map(code.integer_argument, ("first", "last", "groups", "n_in", "n_out"))
    own = code.integer("sub", last, first)
    with code.loop("0", groups) as group:
        sample = code.integer("mul", group, str(lanes))
        _gather(code, code.address(g, code.integer("mul", sample, n_out)), n_out, scratch_g)
        mine = code.address(code.address(x, code.integer("mul", sample, n_in)), first)
        _gather(code, mine, own, scratch_x, n_in)
        with code.loop("0", own) as j:
            values = code.load(scratch_x, code.integer("mul", j, str(lanes)))
            with code.branch_if(_any(code, values)), this.synapses(code.integer("add", first, j)) as (k, post):
                gradients = code.load(scratch_g, code.integer("mul", post, str(lanes)))
                share = code.lane_sum(code.fresh(f"fmul {code.lane} {values}, {gradients}"))
                now = code.load_scalar(real, g_weight, k)
                code.store_scalar(real, code.fresh(f"fadd {real} {now}, {share}"), g_weight, k)
    return code.compile()


def _any(code: IRBuilder, values: str) -> str:
    """Return whether any lane is not 0."""
    spiking = code.bits_of_mask(code.fresh(code.compare("ne", values, code.literal(0.0))))
    return code.fresh(f"icmp ne i{code.lanes} {spiking}, 0")


def _gather(code: IRBuilder, rows: str, width: str, scratch: str, stride: str | None = None) -> None:
    """Transpose as many rows of memory as there are lanes, `stride` elements apart, into a vector for each column."""

    def tile(column: str, mask: str | None) -> None:
        square = [code.load(_line(code, rows, n, stride or width), column, mask) for n in range(code.lanes)]
        here = code.address(scratch, code.integer("mul", column, str(code.lanes)))
        for n, line in enumerate(code.transposed(square)):
            code.store(line, here, str(n * code.lanes))

    _columns(code, width, tile)


def _scatter(code: IRBuilder, scratch: str, width: str, rows: str) -> None:
    """Transpose the vectors of columns back into rows."""

    def tile(column: str, mask: str | None) -> None:
        here = code.address(scratch, code.integer("mul", column, str(code.lanes)))
        square = [code.load(here, str(n * code.lanes)) for n in range(code.lanes)]
        for n, line in enumerate(code.transposed(square)):
            code.store(line, _line(code, rows, n, width), column, mask)

    _columns(code, width, tile)


def _line(code: IRBuilder, rows: str, n: int, stride: str) -> str:
    return code.address(rows, code.integer("mul", str(n), stride))


def _columns(code: IRBuilder, width: str, body: Callable[[str, str | None], None]) -> None:
    """Write `body` for each vector along a row, with a mask for the last one where the row ends inside it."""
    full = code.integer("and", width, str(-code.lanes))
    with code.loop("0", full, str(code.lanes)) as column:
        body(column, None)
    with code.loop(full, width, str(code.lanes)) as column:
        body(column, code.first_lanes(code.integer("sub", width, column)))
