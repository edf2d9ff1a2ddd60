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
from neurosim.kernels.circuit.tasks import MAGNITUDE
from neurosim.kernels.common.philox import INCREMENTS, MULTIPLIERS, ROUNDS, WORD

Term = Literal["integer", "real", "dense"]
Kind = Literal["constant", "packed", "wide", "real"]

LANES = {"float": 16, "double": 8}
_BYTE_SPIKES = 255  # spikes that a counter of one byte holds
_AHEAD = 8  # spikes between the prefetch of a row and its use


@functools.cache
def update(plan_key: str, real: str, terms: tuple[tuple[Term, ...], ...]) -> CompiledKernel:
    """Return the code of one step of a population.

    Arguments: for each port and each of its terms the accumulator (i32 or numbers) or the values over time, then for an
    integer term its unit; states and coefficients as the plan orders them; ids, ends, stop; neurons, history, room, the
    step; the numbers of the plan.

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
    count, history, room, step = map(code.integer_argument, ("count", "history", "room", "now"))
    units = [
        [code.real_argument(f"unit{p}.{n}") if kind == "integer" else "" for n, kind in enumerate(kinds)]
        for p, kinds in enumerate(terms)
    ]
    for number, node in enumerate(kernel.uniforms):
        code.bind(node, code.real_argument(f"u{number}"))
    row = code.integer("add nsw", step, history)
    place = code.variable("i64")
    code.store_variable(place, code.load_scalar("i64", ends, row), "i64")
    with code.loop("0", count, str(code.lanes)) as j, code.scope():
        for node, kinds, bases, own in zip(kernel.reads.values(), terms, sums, units, strict=True):
            code.bind(node, _input(code, kinds, bases, own, j, code.integer("mul nsw", step, count)))
        for name, (before, _) in kernel.carried.items():
            code.bind(before, code.load(carried[name], j))
        for name, node in kernel.coefficients.items():
            code.bind(node, code.load(coefficients[name], j))
        code.emit(kernel.order())
        output = kernel.writes["out"]
        truth = code.truth(output)
        after = {name: code.value(node) for name, (_, node) in kernel.carried.items()}
        for name, value in after.items():
            code.store(value, carried[name], j)
        fired = code.bits_of_mask(truth)
        live = code.bits_of_mask(code.first_lanes(code.integer("sub", count, j)))
        fired = code.fresh(f"and i{code.lanes} {fired}, {live}")
        with code.branch_if(code.fresh(f"icmp ne i{code.lanes} {fired}, 0")):
            mask = code.fresh(f"bitcast i{code.lanes} {fired} to {code.truths}")
            spikes = code.popcount(code.fresh(f"zext i{code.lanes} {fired} to i64"))
            at = code.load_variable(place, "i64")
            code.store_first(code.selected_lanes(mask, j), spikes, ids, at)
            code.store_variable(place, code.integer("add", at, spikes), "i64")
    end = code.load_variable(place, "i64")
    code.store_scalar("i64", end, ends, code.integer("add", row, "1"))
    full = code.fresh(f"icmp sgt i64 {code.integer('add', end, count)}, {room}")
    with code.branch_if(full):
        code.store_scalar("i64", "1", stop)
    return code.compile()


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

    Arguments: ids, ends, starts, delays, post, [weights], accumulator; delays in all, history, the step, [the weight].

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
    ids, ends, starts, delays, post = map(code.pointer_argument, ("ids", "ends", "starts", "delays", "post"))
    weights = code.pointer_argument("weights") if kind in ("wide", "real") else ""
    total = code.pointer_argument("total")
    groups, history, step = map(code.integer_argument, ("groups", "history", "now"))
    constant = "" if weights else code.fresh(f"trunc i64 {code.integer_argument('weight')} to i32")
    number = real if kind == "real" else "i32"
    size = {"i16": 2, "i32": 4}[index]
    now = code.integer("add nsw", step, history)

    def bounds(k: str, g: str) -> tuple[str, str]:
        group = code.integer("add nsw", code.integer("mul nsw", code.load_index(ids, k), groups), g)
        begin = code.load_scalar("i64", starts, group)
        return begin, code.load_scalar("i64", starts, code.integer("add nsw", group, "1"))

    with code.loop_backwards("0", groups) as g:
        row = code.integer("sub nsw", now, code.load_scalar("i64", delays, g))
        first = code.load_scalar("i64", ends, row)
        end = code.load_scalar("i64", ends, code.integer("add nsw", row, "1"))
        last = code.integer("sub nsw", end, "1")
        with code.loop(first, end) as k:
            far = code.load_index(ids, code.minimum(code.integer("add nsw", k, str(2 * _AHEAD)), last))
            _prefetch(code, starts, code.integer("add nsw", code.integer("mul nsw", far, groups), g), 8)
            near, _ = bounds(code.minimum(code.integer("add nsw", k, str(_AHEAD)), last), g)
            for line in range(4):
                _prefetch(code, post, near, size, line * LINE)
            begin, stop = bounds(k, g)
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


def _prefetch(code: IRBuilder, base: str, index: str, size: int, offset: int = 0) -> None:
    """Ask for the line of the caches with element `index` of an array before it is needed."""
    place = code.integer("mul nsw", index, str(size))
    address = code.address(base, code.integer("add nsw", place, str(offset)) if offset else place, "i8")
    given = [("ptr", address), ("i32", "0"), ("i32", "3"), ("i32", "1")]
    code.lines.append("  " + code.intrinsic("prefetch", "void", given, "p0"))


@functools.cache
def deliver_bits() -> CompiledKernel:
    """Return the code that counts the spikes of rows of bits, and adds the counts times the weight to accumulators.

    Arguments: ids, ends, words [sources, width], accumulator; width in words, delay, history, the step, the weight.
    """
    code = IRBuilder("float", 16)
    ids, ends, words, total = map(code.pointer_argument, ("ids", "ends", "words", "total"))
    width, delay, history, step = map(code.integer_argument, ("width", "delay", "history", "now"))
    weight = code.fresh(f"trunc i64 {code.integer_argument('weight')} to i32")
    row = code.integer("sub nsw", code.integer("add nsw", step, history), delay)
    first, end = (code.load_scalar("i64", ends, r) for r in (row, code.integer("add nsw", row, "1")))
    whole = code.integer("and", width, "-8")
    for size, begin, stop in ((8, "0", whole), (1, whole, width)):
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

    Arguments: limits [number] of u32, accumulator; number of limits, blocks of 64 neurons, seed (its lower and upper
    word), stream, trial, step of the run at the first step of the call, the step; for accumulators of integers
    (`real` is "") the weight as an integer, else as a number.
    """
    code = IRBuilder(real or "float", 16)
    limits, total = map(code.pointer_argument, ("limits", "total"))
    names = ("number", "blocks", "low", "high", "stream", "trial", "first", "now")
    number, blocks, low, high, stream, trial, start, step = map(code.integer_argument, names)
    weight = "" if real else code.fresh(f"trunc i64 {code.integer_argument('weight')} to i32")
    factor = code.real_argument("factor") if real else ""
    moment = code.integer("add nsw", start, step)
    fixed = [_wide(code, each) for each in (moment, trial, stream)]
    keys = [low, high]
    schedule = []
    for _ in range(ROUNDS):
        schedule.append([_wide(code, key) for key in keys])
        keys = [code.integer("add", key, str(more)) for key, more in zip(keys, INCREMENTS, strict=True)]
    quad = _wide_lanes(code)
    counters = [code.variable("<16 x i32>") for _ in range(4)]
    with code.loop("0", blocks) as block:
        quads = code.fresh(f"add <16 x i32> {_wide(code, code.integer('shl', block, '4'))}, {quad}")
        words = _philox(code, [quads, *fixed], schedule)
        for counter in counters:
            code.store_variable(counter, "zeroinitializer", "<16 x i32>")
        # Limits ascend: where no word reaches one, none reaches the next.
        with code.loop_while("0", number) as (n, end):
            limit = _wide(code, code.fresh(f"zext i32 {code.load_scalar('i32', limits, n)} to i64"))
            reached = []
            for counter, word in zip(counters, words, strict=True):
                above = code.fresh(f"icmp uge <16 x i32> {word}, {limit}")
                held = code.load_variable(counter, "<16 x i32>")
                one = code.fresh(f"zext <16 x i1> {above} to <16 x i32>")
                code.store_variable(counter, code.fresh(f"add <16 x i32> {held}, {one}"), "<16 x i32>")
                reached.append(above)
            any_of = [code.fresh(f"or <16 x i1> {a}, {b}") for a, b in (reached[:2], reached[2:])]
            all_bits = code.fresh(f"bitcast <16 x i1> {code.fresh(f'or <16 x i1> {any_of[0]}, {any_of[1]}')} to i16")
            end(code.fresh(f"icmp eq i16 {all_bits}, 0"))
        ordered = _interleaved(code, [code.load_variable(counter, "<16 x i32>") for counter in counters])
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


def _wide(code: IRBuilder, scalar: str) -> str:
    """Return the lower word of an integer in 16 lanes."""
    vector = "<16 x i32>"
    narrow = code.fresh(f"trunc i64 {scalar} to i32")
    one = code.fresh(f"insertelement {vector} poison, i32 {narrow}, i64 0")
    return code.fresh(f"shufflevector {vector} {one}, {vector} poison, {vector} zeroinitializer")


def _wide_lanes(code: IRBuilder) -> str:
    lanes = ", ".join(f"i32 {n}" for n in range(16))
    return code.fresh(f"add <16 x i32> zeroinitializer, <{lanes}>")


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


def _interleaved(code: IRBuilder, parts: Sequence[str]) -> list[str]:
    """Return four vectors as the numbers 0 of each, then the numbers 1 of each, and so on."""
    vector = "<16 x i32>"

    def zipped(a: str, b: str, half: int) -> str:
        order = ", ".join(f"i32 {8 * half + n // 2 + 16 * (n % 2)}" for n in range(16))
        return code.fresh(f"shufflevector {vector} {a}, {vector} {b}, <16 x i32> <{order}>")

    # Numbers n of the first and third, and of the second and fourth, then both together.
    even = [zipped(parts[0], parts[2], half) for half in (0, 1)]
    odd = [zipped(parts[1], parts[3], half) for half in (0, 1)]
    return [zipped(even[n // 2], odd[n // 2], n % 2) for n in range(4)]


@functools.cache
def sample(kind: str) -> CompiledKernel:
    """Return the code that copies a state variable of some neurons in some steps.

    Arguments: values, neurons (i32), out [rows, count]; count, first step of the window in steps of the call, its end,
    steps from sample to sample, first row of `out`, the step.
    """
    code = IRBuilder(kind)
    values, which, out = map(code.pointer_argument, ("values", "which", "out"))
    names = ("count", "begin", "end", "every", "row", "now")
    count, begin, end, every, row, step = map(code.integer_argument, names)
    since = code.integer("sub nsw", step, begin)
    inside = code.fresh(f"icmp sge i64 {since}, 0")
    before = code.fresh(f"icmp slt i64 {step}, {end}")
    due = code.fresh(f"icmp eq i64 {code.integer('srem', since, every)}, 0")
    with code.branch_if(code.fresh(f"and i1 {code.fresh(f'and i1 {inside}, {before}')}, {due}")):
        place = code.integer("add nsw", code.integer("sdiv", since, every), row)
        base = code.address(out, code.integer("mul nsw", place, count))
        with code.loop("0", count) as n:
            code.store_scalar(kind, code.load_scalar(kind, values, code.load_index(which, n)), base, n)
    return code.compile()


@functools.cache
def drive() -> CompiledKernel:
    """Return the code that calls all tasks at each step, until one of them sets `stop`.

    Arguments: tasks [number, 2] (addresses of a function and of its arguments), stop, done; number of tasks, first
    step, end. `done` holds the first step that was not run.
    """
    code = IRBuilder("float")
    tasks, stop, done = map(code.pointer_argument, ("tasks", "stop", "done"))
    number, first, end = map(code.integer_argument, ("number", "begin", "end"))
    with code.loop(first, end) as step:
        held = code.fresh(f"load volatile i64, ptr {stop}, align 8")  # tasks write it
        asked = code.fresh(f"icmp ne i64 {held}, 0")
        running = code.fresh(f"xor i1 {asked}, true")
        with code.branch_if(running):
            with code.loop("0", number) as n:
                place = code.integer("shl", n, "1")
                function = code.load_scalar("ptr", tasks, place)
                arguments = code.load_scalar("ptr", tasks, code.integer("add", place, "1"))
                code.lines.append(f"  call void {function}(ptr {arguments}, i64 {step})")
            code.store_scalar("i64", code.integer("add nsw", step, "1"), done)
    return code.compile()
