"""Machine code of sparse products with delays: spike by spike, or as many steps at once as a vector has lanes.

Synapses are listed by presynaptic neuron, then by delay: those of neuron j are from ``starts[j]`` up to
``starts[j + 1]``. Currents belong to T steps; the spikes to these and the ``span`` steps before them. The synapses
through which a spike acts within the T steps are therefore one part of its row, found by bisection where it is not the
whole row, or read where there are `bounds`: the first synapse of each delay in each row.

Spike by spike, arrays have time first. Where steps go together, time is the last axis: neighbouring steps of a neuron
are adjacent, so that a delay is a shift of the address.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.common.bits import WORD
from neurosim.kernels.sparse.cpu_code import narrow_index

LANES = {"float": 16, "double": 8}  # steps that go together


class _Product:
    """What all have: the synapses, and how to walk those of a neuron."""

    def __init__(self, real: str, post: str, delay: str, bounded: bool = False, lanes: int = 1) -> None:
        self.code = IRBuilder(real, lanes)
        self.real, self._post_type, self._delay_type = real, post, delay
        self.starts, self._post, self._delay = map(self.code.pointer_argument, ("starts", "post", "delay"))
        self._bounds = self.code.pointer_argument("bounds") if bounded else None
        self._place, self._left = self.code.variable("i64"), self.code.variable("i64")
        self._first, self._end = self.code.variable("i64"), self.code.variable("i64")

    def post(self, k: str) -> str:
        """Return the postsynaptic neuron of synapse `k`."""
        return narrow_index(self.code, self._post_type, self._post, k)

    def delay(self, k: str) -> str:
        """Return the delay of synapse `k`."""
        return narrow_index(self.code, self._delay_type, self._delay, k)

    def row(self, j: str) -> tuple[str, str]:
        """Return the first synapse of neuron `j`, and the one after its last."""
        load, following = self.code.load_scalar, self.code.integer("add", j, "1")
        return load("i64", self.starts, j), load("i64", self.starts, following)

    @contextmanager
    def synapses(self, j: str) -> Iterator[str]:
        """Walk all synapses of neuron `j`."""
        with self.code.loop(*self.row(j)) as k:
            yield k

    @contextmanager
    def synapses_in_time(self, j: str, s: str, span: str, end: str) -> Iterator[str]:
        """Walk the synapses of neuron `j` through which a spike of step `s` of `end` acts within the last steps."""
        code = self.code
        least = code.integer("sub", span, code.minimum(span, s))
        if self._bounds is not None:
            beyond = code.minimum(code.integer("add", span, "1"), code.integer("sub", end, s))
            own = code.integer("mul", j, code.integer("add", span, "1"))
            begin, stop = (code.load_index(self._bounds, code.integer("add", own, d)) for d in (least, beyond))
            with code.loop(begin, stop) as k:
                yield k
            return
        first, last = self.row(j)
        code.store_variable(self._first, first, "i64")
        code.store_variable(self._end, last, "i64")
        with code.branch_if(code.fresh(f"icmp sgt i64 {least}, 0")):
            code.store_variable(self._first, self._from_delay(first, last, least), "i64")
        most = code.integer("sub", end, s)  # the first delay that is too long
        with code.branch_if(code.fresh(f"icmp sle i64 {most}, {span}")):
            code.store_variable(self._end, self._from_delay(first, last, most), "i64")
        with code.loop(code.load_variable(self._first, "i64"), code.load_variable(self._end, "i64")) as k:
            yield k

    def _from_delay(self, first: str, last: str, delay: str) -> str:
        """Return the first synapse of a row with at least this delay, by bisection."""
        code = self.code
        count = code.integer("sub", last, first)
        code.store_variable(self._place, first, "i64")
        code.store_variable(self._left, count, "i64")
        zeros = code.fresh(code.intrinsic("ctlz", "i64", [("i64", count), ("i1", "false")], "i64"))
        with code.loop("0", code.integer("sub", "64", zeros)):
            place, left = code.load_variable(self._place, "i64"), code.load_variable(self._left, "i64")
            half = code.integer("lshr", left, "1")
            middle = code.integer("add", place, half)
            # Nothing is left in the last rounds of some searches: the place may then be the end of the row.
            read = self.delay(code.minimum(middle, code.integer("sub", last, "1")))
            below = code.fresh(f"icmp slt i64 {read}, {delay}")
            right = code.fresh(f"and i1 {below}, {code.fresh(f'icmp sgt i64 {left}, 0')}")
            beyond = code.integer("add", middle, "1")
            rest = code.integer("sub", code.integer("sub", left, half), "1")
            code.store_variable(self._place, code.fresh(f"select i1 {right}, i64 {beyond}, i64 {place}"), "i64")
            code.store_variable(self._left, code.fresh(f"select i1 {right}, i64 {rest}, i64 {half}"), "i64")
        return code.load_variable(self._place, "i64")

    def sum_of(self, *numbers: str) -> str:
        """Return a sum of integers."""
        total, *others = numbers
        for number in others:
            total = self.code.integer("add", total, number)
        return total


@functools.cache
def forward_kernel(real: str, post: str, delay: str, bounded: bool) -> CompiledKernel:
    """Return the code that adds the weights of each spike to the currents, in order of step and neuron.

    Arguments: starts, post, delay, [bounds], weight, starts and index of the events, out; first and last sample,
    samples, steps, span, postsynaptic neurons.
    """
    this = _Product(real, post, delay, bounded)
    code = this.code
    weight = code.pointer_argument("weight")
    events = code.pointer_argument("events"), code.pointer_argument("index")
    out = code.pointer_argument("out")
    names = ("first", "last", "batch", "steps", "span", "n_out")
    first, last, batch, steps, span, n_out = map(code.integer_argument, names)
    step, end = code.integer("mul", batch, n_out), code.integer("add", span, steps)
    with code.loop(first, last) as sample, code.loop("0", end) as s:
        row = this.sum_of(code.integer("mul", s, batch), sample)
        undelayed = _undelayed(this, s, span, step, sample, n_out)
        with code.loop_over_list(*events, row) as j, this.synapses_in_time(j, s, span, end) as k:
            place = this.sum_of(undelayed, code.integer("mul", this.delay(k), step), this.post(k))
            code.store(code.add(code.load(out, place), code.load(weight, k)), out, place)
    return code.compile()


@functools.cache
def weight_kernel(real: str, post: str, delay: str, bounded: bool, graded: bool) -> CompiledKernel:
    """Return the code that adds the gradient of the currents to that of the weights, spike by spike.

    Arguments: starts, post, delay, [bounds], bits, [line], g, gradient of the weights; first and last word of bits,
    samples, steps, span, presynaptic and postsynaptic neurons.
    """
    this = _Product(real, post, delay, bounded)
    code = this.code
    bits = code.pointer_argument("bits")
    line = code.pointer_argument("line") if graded else ""
    g, g_weight = code.pointer_argument("g"), code.pointer_argument("g.weight")
    names = ("first", "last", "batch", "steps", "span", "n_in", "n_out")
    first, last, batch, steps, span, n_in, n_out = map(code.integer_argument, names)
    step, end = code.integer("mul", batch, n_out), code.integer("add", span, steps)
    width = code.integer("lshr", code.integer("add", n_in, str(WORD - 1)), "6")
    left = code.variable("i64")
    with code.loop("0", end) as s, code.loop("0", batch) as sample:
        row = this.sum_of(code.integer("mul", s, batch), sample)
        undelayed = _undelayed(this, s, span, step, sample, n_out)
        with code.loop(first, last) as word:
            held = code.load_scalar("i64", bits, this.sum_of(code.integer("mul", row, width), word))
            code.store_variable(left, held, "i64")
            with code.loop("0", code.popcount(held)):
                rest = code.load_variable(left, "i64")
                j = this.sum_of(code.integer("shl", word, "6"), code.lowest_set_bit(rest))
                code.store_variable(left, code.integer("and", rest, code.integer("sub", rest, "1")), "i64")
                value = code.load(line, this.sum_of(code.integer("mul", row, n_in), j)) if graded else None
                with this.synapses_in_time(j, s, span, end) as k:
                    place = this.sum_of(undelayed, code.integer("mul", this.delay(k), step), this.post(k))
                    share = code.load(g, place)
                    if value is not None:
                        share = code.fresh(f"fmul {real} {share}, {value}")
                    code.store(code.add(code.load(g_weight, k), share), g_weight, k)
    return code.compile()


def _undelayed(this: _Product, s: str, span: str, step: str, sample: str, n_out: str) -> str:
    """Return where the currents of a spike without delay would be; for earlier spikes that is before the array."""
    code = this.code
    return this.sum_of(code.integer("mul", code.integer("sub", s, span), step), code.integer("mul", sample, n_out))


@functools.cache
def forward_together_kernel(real: str, post: str, delay: str) -> CompiledKernel:
    """Return the code of the currents of as many steps at once as there are lanes.

    Arguments: starts, post, delay, weight, line [B, n_in, length], out [B, blocks, n_out, lanes]; first and last pair
    of sample and block, blocks, length, span, presynaptic and postsynaptic neurons.
    """
    lanes = LANES[real]
    this = _Product(real, post, delay, lanes=lanes)
    code = this.code
    weight, line, out = map(code.pointer_argument, ("weight", "line", "out"))
    names = ("first", "last", "blocks", "length", "span", "n_in", "n_out")
    first, last, blocks, length, span, n_in, n_out = map(code.integer_argument, names)
    with code.loop(first, last) as pair:
        sample, block = code.integer("udiv", pair, blocks), code.integer("urem", pair, blocks)
        currents = code.address(out, code.integer("mul", pair, code.integer("mul", n_out, str(lanes))))
        with code.loop("0", n_out) as o:
            code.store(code.literal(0.0), currents, code.integer("mul", o, str(lanes)))
        undelayed = code.integer("add", code.integer("mul", block, str(lanes)), span)
        with code.loop("0", n_in) as j:
            neuron = code.integer("add", code.integer("mul", sample, n_in), j)
            values = code.address(line, this.sum_of(code.integer("mul", neuron, length), undelayed))
            with this.synapses(j) as k:
                value = code.load(values, code.integer("sub", "0", this.delay(k)))
                place = code.integer("mul", this.post(k), str(lanes))
                share = code.splat(code.load_scalar(real, weight, k))
                code.store(code.multiply_add(share, value, code.load(currents, place)), currents, place)
    return code.compile()


@functools.cache
def weight_together_kernel(real: str, post: str, delay: str) -> CompiledKernel:
    """Return the code of the gradient of the weights from as many steps at once as there are lanes.

    Arguments: starts, post, delay, line [B, n_in, length], g [B, n_out, width], gradient of the weights; first and last
    presynaptic neuron, samples, blocks, length, width, span, presynaptic and postsynaptic neurons.
    """
    lanes = LANES[real]
    this = _Product(real, post, delay, lanes=lanes)
    code = this.code
    line, g, g_weight = map(code.pointer_argument, ("line", "g", "g.weight"))
    names = ("first", "last", "batch", "blocks", "length", "width", "span", "n_in", "n_out")
    first, last, batch, blocks, length, width, span, n_in, n_out = map(code.integer_argument, names)
    total = code.variable()
    with code.loop("0", batch) as sample, code.loop(first, last) as j:
        neuron = code.integer("add", code.integer("mul", sample, n_in), j)
        values = code.address(line, this.sum_of(code.integer("mul", neuron, length), span))
        with this.synapses(j) as k:
            target = code.integer("add", code.integer("mul", sample, n_out), this.post(k))
            gradients = code.address(g, code.integer("mul", target, width))
            delayed = code.address(values, code.integer("sub", "0", this.delay(k)))
            code.store_variable(total, code.literal(0.0))
            with code.loop("0", blocks) as block:
                t = code.integer("mul", block, str(lanes))
                product = code.multiply_add(code.load(delayed, t), code.load(gradients, t), code.load_variable(total))
                code.store_variable(total, product)
            now, share = code.load_scalar(real, g_weight, k), code.lane_sum(code.load_variable(total))
            code.store_scalar(real, code.fresh(f"fadd {real} {now}, {share}"), g_weight, k)
    return code.compile()


@functools.cache
def inward_kernel(real: str, post: str, delay: str) -> CompiledKernel:
    """Return the code of the gradient of the input at as many steps at once as there are lanes.

    Arguments: starts, post, delay, weight, g [B, n_out, width], gradient of the line [B, blocks, n_in, lanes]; first
    and last pair of sample and block, blocks, width, presynaptic and postsynaptic neurons. Before the gradients of the
    first step, `g` has zeros for as many steps as the span, and zeros behind the last.
    """
    lanes = LANES[real]
    this = _Product(real, post, delay, lanes=lanes)
    code = this.code
    weight, g, g_line = map(code.pointer_argument, ("weight", "g", "g.line"))
    names = ("first", "last", "blocks", "width", "n_in", "n_out")
    first, last, blocks, width, n_in, n_out = map(code.integer_argument, names)
    total = code.variable()
    with code.loop(first, last) as pair:
        sample, block = code.integer("udiv", pair, blocks), code.integer("urem", pair, blocks)
        begin = this.sum_of(
            code.integer("mul", code.integer("mul", sample, n_out), width), code.integer("mul", block, str(lanes))
        )
        own = code.address(g_line, code.integer("mul", pair, code.integer("mul", n_in, str(lanes))))
        with code.loop("0", n_in) as j:
            code.store_variable(total, code.literal(0.0))
            with this.synapses(j) as k:
                place = this.sum_of(begin, code.integer("mul", this.post(k), width), this.delay(k))
                share = code.splat(code.load_scalar(real, weight, k))
                code.store_variable(total, code.multiply_add(share, code.load(g, place), code.load_variable(total)))
            code.store(code.load_variable(total), own, code.integer("mul", j, str(lanes)))
    return code.compile()
