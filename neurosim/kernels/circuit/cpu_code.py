"""Machine code of the tasks of a step: neurons, deliveries of spikes, Poisson input, samples; and the loop over them.

A task is a function of its arguments in memory and of the number of the step within a call. Spikes lie in a log for
each population, a `SpikeLog`: `ids` holds the neurons one step after the other, those of row r from ``ends[r]`` up to
``ends[r + 1]``. The row of step k is ``history + k``; the rows before are spikes under way.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

from neurosim.compiler.llvm.ir import LINE, IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.plan import find
from neurosim.compiler.printer import forward_kernel
from neurosim.kernels.circuit.tasks import MAGNITUDE, PAD
from neurosim.kernels.common.philox_code import interleaved, wide, words_of

Term = Literal["integer", "real", "dense"]
Kind = Literal["constant", "packed", "wide", "real"]

LANES = {"float": 16, "double": 8}
_BYTE_SPIKES = 255  # spikes that a counter of one byte holds
_AHEAD = 8  # spikes between the prefetch of a row and its use


@functools.cache
def update(plan_key: str, real: str, terms: tuple[tuple[Term, ...], ...], skipping: bool) -> CompiledKernel:
    """Return the code of one step of a population.

    With `skipping` a block of `PAD` neurons whose last step had no input and changed nothing is skipped as long as it
    has no input: a step would again change nothing.

    Arguments: for each port and each of its terms the accumulator (i32 or numbers) or the values over time; states and
    coefficients as the plan orders them; ids, ends, stop [2], [i8 for each block: whether it rests]; neurons, number of
    the first one, neurons of the population, history, room, spikes that have to fit into it still, first step of the
    call, steps of a window, the step; the units of the terms that are integers, the numbers of the plan.

    Parameters
    ----------
    plan_key : str
        Key of the plan.
    real : {"float", "double"}
        Precision.
    terms : tuple of tuple of {"integer", "real", "dense"}
        For each port that is fed what adds up to its input, in this order: an accumulator of integers in a unit, one of
        numbers, or values over time [steps, neurons].
    """
    kernel = forward_kernel(find(plan_key))
    code = IRBuilder(real, LANES[real])
    sums = [[code.pointer_argument(f"term{p}.{n}") for n in range(len(kinds))] for p, kinds in enumerate(terms)]
    carried = {name: code.pointer_argument(f"state.{name}") for name in kernel.carried}
    coefficients = {name: code.pointer_argument(f"coefficient.{name}") for name in kernel.coefficients}
    ids, ends, stop = map(code.pointer_argument, ("ids", "ends", "stop"))
    resting = code.pointer_argument("resting") if skipping else ""
    names = ("count", "base", "width", "history", "room", "need", "begin", "window", "now")
    count, base, width, history, room, need, begin, window, step = map(code.integer_argument, names)
    units = [
        [code.real_argument(f"unit{p}.{n}") if kind == "integer" else "" for n, kind in enumerate(kinds)]
        for p, kinds in enumerate(terms)
    ]
    for number, node in enumerate(kernel.uniforms):
        code.bind(node, code.real_argument(f"u{number}"))
    row = code.integer("add nsw", step, history)
    place = code.variable("i64")
    code.store_variable(place, code.load_scalar("i64", ends, row), "i64")

    def neurons(j: str, changed: str) -> None:
        """Write the step of the neurons of a vector; note in `changed`, if it is given, which fired or changed."""
        with code.scope():
            for node, kinds, arrays, own in zip(kernel.reads.values(), terms, sums, units, strict=True):
                code.bind(node, _input(code, kinds, arrays, own, j, code.integer("mul nsw", step, width)))
            for name, (before, _) in kernel.carried.items():
                code.bind(before, code.load(carried[name], j))
            for name, node in kernel.coefficients.items():
                code.bind(node, code.load(coefficients[name], j))
            code.emit(kernel.order())
            fired = code.bits_of_mask(code.truth(kernel.writes["out"]))
            pairs = {name: (code.value(old), code.value(new)) for name, (old, new) in kernel.carried.items()}
            for name, (_, value) in pairs.items():
                code.store(value, carried[name], j)
        live = code.bits_of_mask(code.first_lanes(code.integer("sub", count, j)))
        if changed:
            moved = [fired, *(_differs(code, *pair) for pair in pairs.values())]
            _note(code, changed, [code.fresh(f"and i{code.lanes} {each}, {live}") for each in moved])
        fired = code.fresh(f"and i{code.lanes} {fired}, {live}")
        with code.branch_if(code.fresh(f"icmp ne i{code.lanes} {fired}, 0")):
            mask = code.fresh(f"bitcast i{code.lanes} {fired} to {code.truths}")
            spikes = code.popcount(code.fresh(f"zext i{code.lanes} {fired} to i64"))
            at = code.load_variable(place, "i64")
            code.store_first(code.selected_lanes(mask, code.integer("add nsw", j, base)), spikes, ids, at)
            code.store_variable(place, code.integer("add", at, spikes), "i64")

    if not skipping:
        with code.loop("0", count, str(code.lanes)) as j:
            neurons(j, "")
    else:
        busy = code.variable(f"i{code.lanes}")
        with code.loop("0", count, str(PAD)) as first:
            code.store_variable(busy, "0", f"i{code.lanes}")
            last = code.minimum(code.integer("add nsw", first, str(PAD)), count)
            for kinds, arrays in zip(terms, sums, strict=True):
                for kind, array in zip(kinds, arrays, strict=True):
                    for part in range(0, PAD, code.lanes):
                        _note(code, busy, [_is_fed(code, kind, array, code.integer("add nsw", first, str(part)))])
            block = code.integer("lshr", first, "6")
            is_busy = code.fresh(f"icmp ne i{code.lanes} {code.load_variable(busy, f'i{code.lanes}')}, 0")
            moves = code.fresh(f"icmp eq i8 {code.load_scalar('i8', resting, block)}, 0")
            with code.branch_if(code.fresh(f"or i1 {is_busy}, {moves}")):
                with code.loop(first, last, str(code.lanes)) as j:
                    neurons(j, busy)
                rests = code.fresh(f"icmp eq i{code.lanes} {code.load_variable(busy, f'i{code.lanes}')}, 0")
                code.store_scalar("i8", code.fresh(f"zext i1 {rests} to i8"), resting, block)
    end = code.load_variable(place, "i64")
    code.store_scalar("i64", end, ends, code.integer("add", row, "1"))
    full = code.fresh(f"icmp sgt i64 {code.integer('add', end, need)}, {room}")
    with code.branch_if(full):
        # Two flags in turn: that of a window is read after it, while others may run the next one.
        turn = code.integer("sdiv", code.integer("sub nsw", step, begin), window)
        code.store_scalar("i64", "1", stop, code.integer("and", turn, "1"))
    return code.compile()


def _note(code: IRBuilder, variable: str, bits: Sequence[str]) -> None:
    """Set bits of a variable of as many bits as there are lanes."""
    kind = f"i{code.lanes}"
    held = code.load_variable(variable, kind)
    for each in bits:
        held = code.fresh(f"or {kind} {held}, {each}")
    code.store_variable(variable, held, kind)


def _differs(code: IRBuilder, old: str, new: str) -> str:
    """Return where the bits of two vectors of numbers differ, as an integer."""
    whole = f"<{code.lanes} x i{8 * code.bytes}>"
    ends = [code.fresh(f"bitcast {code.lane} {value} to {whole}") for value in (old, new)]
    return code.bits_of_mask(code.fresh(f"icmp ne {whole} {ends[0]}, {ends[1]}"))


def _is_fed(code: IRBuilder, kind: Term, base: str, index: str) -> str:
    """Return where accumulators are not 0, as an integer."""
    if kind == "real":
        return code.bits_of_mask(code.fresh(code.compare("ne", code.load(base, index), code.literal(0.0))))
    whole = f"<{code.lanes} x i32>"
    held = code.fresh(f"load {whole}, ptr {code.address(base, index, 'i32')}, align 4")
    return code.bits_of_mask(code.fresh(f"icmp ne {whole} {held}, zeroinitializer"))


def _input(code: IRBuilder, kinds: Sequence[Term], bases: Sequence[str], units: Sequence[str], j: str, row: str) -> str:
    """Return the sum of the terms of a port, and clear its accumulators."""
    total = ""
    for kind, base, unit in zip(kinds, bases, units, strict=True):
        if kind == "integer":
            whole = f"<{code.lanes} x i32>"
            address = code.address(base, j, "i32")
            held = code.fresh(f"load {whole}, ptr {address}, align 4")
            code.lines.append(f"  store {whole} zeroinitializer, ptr {address}, align 4")
            value = code.fresh(f"sitofp {whole} {held} to {code.lane}")
            value = code.fresh(f"fmul {code.lane} {value}, {unit}")
        elif kind == "real":
            value = code.load(base, j)
            code.store(code.literal(0.0), base, j)
        else:
            value = code.load(base, code.integer("add nsw", row, j))
        total = value if not total else code.add(total, value)
    return total


@functools.cache
def deliver(kind: Kind, index: str, real: str) -> CompiledKernel:
    """Return the code that adds the weights of the spikes that arrive in a step to accumulators.

    Arguments: lists of the source (addresses of the ids and of the ends of each part), first and last synapse of each
    source and delay, delays, post, [weights], accumulator; parts of the source, delays in all, history, the step,
    [the weight].

    Parameters
    ----------
    kind : {"constant", "packed", "wide", "real"}
        As in `RowTable`; "real" has a weight in floating point for each synapse and an accumulator of such numbers.
    index : {"i16", "i32"}
        Type of a postsynaptic neuron.
    real : {"float", "double"}
        Precision.
    """
    code = IRBuilder(real)
    names = ("lists", "firsts", "lasts", "delays", "post")
    lists, firsts, lasts, delays, post = map(code.pointer_argument, names)
    weights = code.pointer_argument("weights") if kind in ("wide", "real") else ""
    total = code.pointer_argument("total")
    parts, groups, history, step = map(code.integer_argument, ("parts", "groups", "history", "now"))
    constant = "" if weights else code.fresh(f"trunc i64 {code.integer_argument('weight')} to i32")
    number = real if kind == "real" else "i32"
    size = {"i16": 2, "i32": 4}[index]
    now = code.integer("add nsw", step, history)

    with code.loop_backwards("0", groups) as g, code.loop("0", parts) as p:
        row = code.integer("sub nsw", now, code.load_scalar("i64", delays, g))
        ids, ends = (code.load_scalar("ptr", lists, place) for place in (p, code.integer("add nsw", p, parts)))
        first = code.load_scalar("i64", ends, row)
        end = code.load_scalar("i64", ends, code.integer("add nsw", row, "1"))
        last = code.integer("sub nsw", end, "1")
        with code.loop(first, end) as k:
            groups_of = [
                code.integer("add nsw", code.integer("mul nsw", code.load_index(ids, each), groups), g)
                for each in (
                    code.minimum(code.integer("add nsw", k, str(2 * _AHEAD)), last),
                    code.minimum(code.integer("add nsw", k, str(_AHEAD)), last),
                    k,
                )
            ]
            prefetch(code, firsts, groups_of[0], 8)
            near = code.load_scalar("i64", firsts, groups_of[1])
            for line in range(4):
                prefetch(code, post, near, size, line * LINE)
            begin, stop = (code.load_scalar("i64", array, groups_of[2]) for array in (firsts, lasts))
            with code.loop(begin, stop) as n:
                word = code.load_scalar(index, post, n)
                if kind == "packed":
                    magnitude = code.fresh(f"and i32 {word}, {(1 << MAGNITUDE) - 1}")
                    value = code.fresh(f"mul i32 {magnitude}, {constant}")
                    word = code.fresh(f"lshr i32 {word}, {MAGNITUDE}")
                else:
                    value = code.load_scalar(number, weights, n) if weights else constant
                slot = code.fresh(f"zext {index} {word} to i64")
                held = code.load_scalar(number, total, slot)
                add = "fadd" if kind == "real" else "add"
                code.store_scalar(number, code.fresh(f"{add} {number} {held}, {value}"), total, slot)
    return code.compile()


def prefetch(code: IRBuilder, base: str, index: str, size: int, offset: int = 0) -> None:
    """Ask for the line of the caches with element `index` of an array before it is needed."""
    place = code.integer("mul nsw", index, str(size))
    address = code.address(base, code.integer("add nsw", place, str(offset)) if offset else place, "i8")
    given = [("ptr", address), ("i32", "0"), ("i32", "3"), ("i32", "1")]
    code.lines.append("  " + code.intrinsic("prefetch", "void", given, "p0"))


@functools.cache
def deliver_bits() -> CompiledKernel:
    """Return the code that counts the spikes of rows of bits, and adds the counts times the weight to accumulators.

    Arguments: lists of the source, words [sources, width], accumulator; parts of the source, first word and end, width
    in words, delay, history, the step, the weight.
    """
    code = IRBuilder("float", 16)
    lists, words, total = map(code.pointer_argument, ("lists", "words", "total"))
    names = ("parts", "left", "right", "width", "delay", "history", "now")
    parts, left, right, width, delay, history, step = map(code.integer_argument, names)
    weight = code.fresh(f"trunc i64 {code.integer_argument('weight')} to i32")
    row = code.integer("sub nsw", code.integer("add nsw", step, history), delay)
    whole = code.integer("add nsw", left, code.integer("and", code.integer("sub nsw", right, left), "-8"))
    with code.loop("0", parts) as p:
        ids, ends = (code.load_scalar("ptr", lists, place) for place in (p, code.integer("add nsw", p, parts)))
        first, end = (code.load_scalar("i64", ends, r) for r in (row, code.integer("add nsw", row, "1")))
        for size, begin, stop in ((8, left, whole), (1, whole, right)):
            with code.loop(begin, stop, str(size)) as word:
                _count_bits(code, (ids, words, total), (first, end, width, weight), word, size)
    return code.compile()


def _count_bits(
    code: IRBuilder, arrays: tuple[str, str, str], numbers: tuple[str, str, str, str], word: str, size: int
) -> None:
    """Count the spikes of `size` words of the rows from `word` on."""
    (ids, words, total), (first, end, width, weight) = arrays, numbers
    counters = [code.variable("<64 x i8>") for _ in range(size)]
    with code.loop(first, end, str(_BYTE_SPIKES)) as part:
        for counter in counters:
            code.store_variable(counter, "zeroinitializer", "<64 x i8>")
        with code.loop(part, code.minimum(code.integer("add nsw", part, str(_BYTE_SPIKES)), end)) as k:
            row = code.integer("add nsw", code.integer("mul nsw", code.load_index(ids, k), width), word)
            for n, counter in enumerate(counters):
                bits = code.load_scalar("i64", words, code.integer("add nsw", row, str(n)))
                mask = code.fresh(f"bitcast i64 {bits} to <64 x i1>")
                held = code.load_variable(counter, "<64 x i8>")
                more = code.fresh(f"add <64 x i8> {held}, splat (i8 1)")
                chosen = code.fresh(f"select <64 x i1> {mask}, <64 x i8> {more}, <64 x i8> {held}")
                code.store_variable(counter, chosen, "<64 x i8>")
        for n, counter in enumerate(counters):
            held = code.load_variable(counter, "<64 x i8>")
            base = code.integer("shl", code.integer("add nsw", word, str(n)), "6")
            for quarter in range(4):
                places = ", ".join(f"i32 {16 * quarter + m}" for m in range(16))
                part_of = code.fresh(f"shufflevector <64 x i8> {held}, <64 x i8> poison, <16 x i32> <{places}>")
                counts = code.fresh(f"zext <16 x i8> {part_of} to <16 x i32>")
                _add_products(code, total, code.integer("add nsw", base, str(16 * quarter)), counts, weight)


def _add_products(code: IRBuilder, total: str, index: str, counts: str, weight: str) -> None:
    """Add counts, a vector of i32, times a weight to accumulators of integers."""
    vector = "<16 x i32>"
    one = code.fresh(f"insertelement {vector} poison, i32 {weight}, i64 0")
    wide = code.fresh(f"shufflevector {vector} {one}, {vector} poison, {vector} zeroinitializer")
    address = code.address(total, index, "i32")
    held = code.fresh(f"load {vector}, ptr {address}, align 4")
    product = code.fresh(f"mul {vector} {counts}, {wide}")
    code.lines.append(f"  store {vector} {code.fresh(f'add {vector} {held}, {product}')}, ptr {address}, align 4")


@functools.cache
def poisson(real: str) -> CompiledKernel:
    """Return the code that draws the spikes of Poisson trains, one for each neuron, and adds them to accumulators.

    The words and limits are those of `neurosim.circuit.Poisson`.

    Arguments: limits [rates, width] of u32, how many of them each rate has (i64), the rate of each step (i64),
    accumulator; width, first block of 64 neurons and the end, seed (its lower and upper word), stream, trial, step of
    the run at the first step of the call, the step; for accumulators of integers (`real` is "") the weight as an
    integer, else as a number.
    """
    code = IRBuilder(real or "float", 16)
    table, counts, rows, total = map(code.pointer_argument, ("limits", "counts", "rows", "total"))
    names = ("width", "begin", "end", "low", "high", "stream", "trial", "first", "now")
    width, begin, end, low, high, stream, trial, start, step = map(code.integer_argument, names)
    weight = "" if real else code.fresh(f"trunc i64 {code.integer_argument('weight')} to i32")
    factor = code.real_argument("factor") if real else ""
    rate = code.load_scalar("i64", rows, step)
    number = code.load_scalar("i64", counts, rate)
    limits = code.address(table, code.integer("mul nsw", rate, width), "i32")
    # A rate of 0 has no limits, and nothing is drawn.
    last = code.fresh(f"select i1 {code.fresh(f'icmp eq i64 {number}, 0')}, i64 {begin}, i64 {end}")
    draw = words_of(code, (code.integer("add nsw", start, step), trial, stream), (low, high))
    counters = [code.variable("<16 x i32>") for _ in range(4)]
    with code.loop(begin, last) as block:
        words = draw(block)
        for counter in counters:
            code.store_variable(counter, "zeroinitializer", "<16 x i32>")
        # Limits ascend: where no word reaches one, none reaches the next.
        with code.loop_while("0", number) as (n, leave):
            limit = wide(code, code.fresh(f"zext i32 {code.load_scalar('i32', limits, n)} to i64"))
            reached = []
            for counter, word in zip(counters, words, strict=True):
                above = code.fresh(f"icmp uge <16 x i32> {word}, {limit}")
                held = code.load_variable(counter, "<16 x i32>")
                one = code.fresh(f"zext <16 x i1> {above} to <16 x i32>")
                code.store_variable(counter, code.fresh(f"add <16 x i32> {held}, {one}"), "<16 x i32>")
                reached.append(above)
            any_of = [code.fresh(f"or <16 x i1> {a}, {b}") for a, b in (reached[:2], reached[2:])]
            all_bits = code.fresh(f"bitcast <16 x i1> {code.fresh(f'or <16 x i1> {any_of[0]}, {any_of[1]}')} to i16")
            leave(code.fresh(f"icmp eq i16 {all_bits}, 0"))
        ordered = interleaved(code, [code.load_variable(counter, "<16 x i32>") for counter in counters])
        base = code.integer("shl", block, "6")
        for part, counts in enumerate(ordered):
            index = code.integer("add nsw", base, str(16 * part))
            if real:
                value = code.fresh(f"uitofp <16 x i32> {counts} to {code.lane}")
                share = code.fresh(f"fmul {code.lane} {value}, {factor}")
                code.store(code.add(code.load(total, index), share), total, index)
            else:
                _add_products(code, total, index, counts, weight)
    return code.compile()


@functools.cache
def sample(kind: str) -> CompiledKernel:
    """Return the code that copies a state variable of some neurons in some steps.

    Arguments: values, neurons (i32), out [rows, width]; count, width, first step of the window in steps of the call,
    its end, steps from sample to sample, first row of `out`, the step.
    """
    code = IRBuilder(kind)
    values, which, out = map(code.pointer_argument, ("values", "which", "out"))
    names = ("count", "width", "begin", "end", "every", "row", "now")
    count, width, begin, end, every, row, step = map(code.integer_argument, names)
    since = code.integer("sub nsw", step, begin)
    inside = code.fresh(f"icmp sge i64 {since}, 0")
    before = code.fresh(f"icmp slt i64 {step}, {end}")
    due = code.fresh(f"icmp eq i64 {code.integer('srem', since, every)}, 0")
    with code.branch_if(code.fresh(f"and i1 {code.fresh(f'and i1 {inside}, {before}')}, {due}")):
        place = code.integer("add nsw", code.integer("sdiv", since, every), row)
        base = code.address(out, code.integer("mul nsw", place, width))
        with code.loop("0", count) as n:
            code.store_scalar(kind, code.load_scalar(kind, values, code.load_index(which, n)), base, n)
    return code.compile()


@functools.cache
def split(index: str, weighted: bool) -> CompiledKernel:
    """Return the code that moves the synapses whose slot is below a limit to the front of their source and delay.

    Synapses whose slots ascend stay in order.

    Arguments: firsts, lasts, post, [weights of i32], out (the first synapse that is not below); first group and the
    end, limit, bits of a weight below the slot.
    """
    code = IRBuilder("float")
    firsts, lasts, post = map(code.pointer_argument, ("firsts", "lasts", "post"))
    arrays = [(post, index), *([(code.pointer_argument("weights"), "i32")] if weighted else [])]
    out = code.pointer_argument("out")
    begin, end, limit, shift = map(code.integer_argument, ("first", "last", "limit", "shift"))
    front, back = code.variable("i64"), code.variable("i64")
    with code.loop(begin, end) as group:
        start, stop = (code.load_scalar("i64", array, group) for array in (firsts, lasts))
        code.store_variable(front, start, "i64")
        code.store_variable(back, code.integer("sub nsw", stop, "1"), "i64")
        with code.loop(start, stop):
            here, there = (code.load_variable(place, "i64") for place in (front, back))
            is_below, other_is_below = (_is_below(code, index, post, place, shift, limit) for place in (here, there))
            is_above = code.fresh(f"xor i1 {is_below}, true")
            # Both in the wrong place: synapses whose slots ascend are never moved.
            with code.branch_if(code.fresh(f"and i1 {is_above}, {other_is_below}")):
                for array, kind in arrays:
                    one, other = (code.load_scalar(kind, array, place) for place in (here, there))
                    code.store_scalar(kind, other, array, here)
                    code.store_scalar(kind, one, array, there)
            forward = code.fresh(f"or i1 {is_below}, {other_is_below}")
            below, above = (
                code.fresh(f"zext i1 {truth} to i64") for truth in (forward, code.fresh(f"xor i1 {forward}, true"))
            )
            code.store_variable(front, code.integer("add nsw", here, below), "i64")
            code.store_variable(back, code.integer("sub nsw", there, above), "i64")
        code.store_scalar("i64", code.load_variable(front, "i64"), out, group)
    return code.compile()


def _is_below(code: IRBuilder, index: str, post: str, place: str, shift: str, limit: str) -> str:
    word = code.fresh(f"zext {index} {code.load_scalar(index, post, place)} to i64")
    return code.fresh(f"icmp ult i64 {code.integer('lshr', word, shift)}, {limit}")


@functools.cache
def to_bits(index: str) -> CompiledKernel:
    """Return the code that sets a bit for each pair of neurons, and moves repeats of a pair to the front of its row.

    Arguments: starts, post, words [sources, width], repeats [sources] (their number); first source and the end, width.
    """
    code = IRBuilder("float")
    starts, post, words, repeats = map(code.pointer_argument, ("starts", "post", "words", "repeats"))
    first, last, width = map(code.integer_argument, ("first", "last", "width"))
    kept = code.variable("i64")
    with code.loop(first, last) as source:
        begin, end = (code.load_scalar("i64", starts, each) for each in (source, code.integer("add nsw", source, "1")))
        row = code.address(words, code.integer("mul nsw", source, width), "i64")
        code.store_variable(kept, begin, "i64")
        with code.loop(begin, end) as n:
            own = code.load_scalar(index, post, n)
            slot = code.fresh(f"zext {index} {own} to i64")
            word, bit = code.integer("lshr", slot, "6"), code.integer("shl", "1", code.integer("and", slot, "63"))
            held = code.load_scalar("i64", row, word)
            code.store_scalar("i64", code.integer("or", held, bit), row, word)
            with code.branch_if(code.fresh(f"icmp ne i64 {code.integer('and', held, bit)}, 0")):
                place = code.load_variable(kept, "i64")
                code.store_scalar(index, own, post, place)
                code.store_variable(kept, code.integer("add nsw", place, "1"), "i64")
        code.store_scalar("i64", code.integer("sub nsw", code.load_variable(kept, "i64"), begin), repeats, source)
    return code.compile()


@functools.cache
def drive() -> CompiledKernel:
    """Return the code by which one of several members calls its tasks at each step, until a task sets a flag.

    After each window the members wait for each other. Arguments: tasks [number, 2] (addresses of a function and of its
    arguments), stop [2], done, counter of arrivals; number of tasks, members, first step, end, steps of a window.
    `done` holds the first step that was not run.
    """
    code = IRBuilder("float")
    code.declare(_WAIT)
    tasks, stop, done, counter = map(code.pointer_argument, ("tasks", "stop", "done", "counter"))
    names = ("number", "members", "begin", "end", "window")
    number, members, first, end, window = map(code.integer_argument, names)
    running, passed = code.variable("i64"), code.variable("i64")
    code.store_variable(running, "1", "i64")
    code.store_variable(passed, "0", "i64")
    with (
        code.loop(first, end, window) as start,
        code.branch_if(code.fresh(f"icmp ne i64 {code.load_variable(running, 'i64')}, 0")),
    ):
        last = code.minimum(code.integer("add nsw", start, window), end)
        with code.loop(start, last) as step, code.loop("0", number) as n:
            place = code.integer("shl", n, "1")
            function = code.load_scalar("ptr", tasks, place)
            arguments = code.load_scalar("ptr", tasks, code.integer("add", place, "1"))
            code.lines.append(f"  call void {function}(ptr {arguments}, i64 {step})")
        before = code.load_variable(passed, "i64")
        after = code.integer("add nsw", before, "1")
        code.store_variable(passed, after, "i64")
        target = code.integer("mul nsw", after, members)
        code.lines.append(f"  call void @arrive_and_wait(ptr {counter}, i64 {target})")
        flag = code.address(stop, code.integer("and", before, "1"), "i64")
        held = code.fresh(f"load volatile i64, ptr {flag}, align 8")  # tasks write it
        code.store_variable(running, code.fresh(f"zext i1 {code.fresh(f'icmp eq i64 {held}, 0')} to i64"), "i64")
        code.store_scalar("i64", last, done)
    return code.compile()


_SPINS = 4000  # reads of the counter before a member lets other threads run
_WAIT = f"""
declare i32 @sched_yield()

define internal void @arrive_and_wait(ptr %counter, i64 %target) {{
entry:
  %before = atomicrmw add ptr %counter, i64 1 seq_cst
  br label %head
head:
  %spins = phi i64 [ 0, %entry ], [ %more, %again ]
  %arrived = load atomic i64, ptr %counter acquire, align 8
  %all = icmp sge i64 %arrived, %target
  br i1 %all, label %exit, label %wait
wait:
  %long = icmp sgt i64 %spins, {_SPINS}
  br i1 %long, label %yield, label %again
yield:
  %ignored = call i32 @sched_yield()
  br label %again
again:
  %more = add i64 %spins, 1
  br label %head
exit:
  ret void
}}
"""
