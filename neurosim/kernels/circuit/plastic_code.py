"""Machine code of plastic rows: delivery with the changes of the weights, and the spikes of the targets."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from neurosim.compiler.llvm.ir import LINE, IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.circuit.arithmetic import Arithmetic
from neurosim.kernels.circuit.cpu_code import prefetch
from neurosim.kernels.circuit.plastic import (
    BLOCK,
    DOWN,
    KEPT,
    ONE_DOWN,
    TIME,
    UP,
    WALKED,
    X_BEFORE,
    X_SLOW,
    Y_BEFORE,
    X,
    Y,
)

Dependence = Literal["additive", "multiplicative", "power"]

_ROW, _RECORD = 7, 4  # numbers of a row and of a spike of a target
_LANES = 8
_AT_ONCE = 64  # synapses of a row
_NEXT = 8  # spikes between the prefetch of a row and its use


class _Arrays(NamedTuple):
    """Arguments of the code that walks rows."""

    firsts: str
    lasts: str
    post: str
    weights: str
    sources: str
    latest: str
    recent: str
    counts: str
    plus: tuple[str, str]
    minus: tuple[str, str]
    eligible: str = ""
    fade: tuple[str, str] = ("", "")


class _Numbers(NamedTuple):
    room: str
    longest_plus: str
    longest_minus: str
    w_min: str
    w_max: str
    mu: str
    alpha: str
    longest_fade: str = ""


class _Kind(NamedTuple):
    real: str
    slot: str
    dependence: Dependence
    coincident: bool
    rewarded: bool = False


def _arguments(code: IRBuilder, kind: _Kind) -> _Arrays:
    names = ("firsts", "lasts", "post", "weights", "sources", "latest", "recent", "counts")
    rows = [code.pointer_argument(name) for name in names]
    plus, minus = (
        (code.pointer_argument(f"{side}.fine"), code.pointer_argument(f"{side}.coarse")) for side in ("plus", "minus")
    )
    firsts, lasts, post, weights, sources, latest, recent, counts = rows
    arrays = _Arrays(firsts, lasts, post, weights, sources, latest, recent, counts, plus, minus)
    if not kind.rewarded:
        return arrays
    eligible, fine, coarse = (code.pointer_argument(name) for name in ("eligible", "fade.fine", "fade.coarse"))
    return arrays._replace(eligible=eligible, fade=(fine, coarse))


def _numbers(code: IRBuilder, kind: _Kind) -> _Numbers:
    integers = [code.integer_argument(name) for name in ("capacity", "longest.plus", "longest.minus")]
    longest = code.integer_argument("longest.fade") if kind.rewarded else ""
    reals = (code.real_argument(name) for name in ("w.min", "w.max", "mu", "alpha"))
    return _Numbers(*integers, *reals)._replace(longest_fade=longest)


@functools.cache
def deliver(
    real: str,
    index: str,
    dependence: Dependence,
    nearest: bool,
    coincident: bool,
    triplets: bool,
    rewarded: bool = False,
) -> CompiledKernel:
    """Return the code that walks the rows of the spikes that arrive in a step, and adds their weights to accumulators.

    Arguments: lists of the source, firsts, lasts, post, weights, sources, last spikes of the targets, recent ones,
    their counts, fine and coarse table of the presynaptic and of the postsynaptic decay, delays, accumulator; parts of
    the source, delays in all, history, records of a target, longest ages of the decays, the step; bounds of the
    weights, mu, alpha, factor of the depression. With `rewarded` the eligibilities and the tables of their decay follow
    those of the other decays, their longest age the others. With `triplets` the tables of the slow decay
    follow the accumulator, its longest age the others, and what the slow trace adds to the factor the factor.

    Parameters
    ----------
    real : {"float", "double"}
        Precision of the weights.
    index : {"i16", "i32"}
        Type of a postsynaptic neuron.
    dependence : {"additive", "multiplicative", "power"}
        Of changes on the weight: mu is 0, 1, or any number.
    nearest, coincident : bool
        As in the rule.
    triplets : bool
        Whether the factor of depression depends on a slow presynaptic trace.
    rewarded : bool
        Whether changes accumulate in eligibilities.
    """
    code, kind = IRBuilder("double"), _Kind(real, index, dependence, coincident, rewarded)
    lists = code.pointer_argument("lists")
    arrays = _arguments(code, kind)
    delays, total = map(code.pointer_argument, ("delays", "total"))
    tables = _tables(code) if triplets else ()
    sizes = [code.integer_argument(name) for name in ("parts", "groups", "history")]
    numbers = _numbers(code, kind)
    slow = (*tables, code.integer_argument("longest.slow")) if triplets else ()
    step, down = code.integer_argument("now"), code.real_argument("down")
    more = code.real_argument("more") if triplets else ""
    moment = code.fresh(f"sitofp i64 {step} to double")
    rows = (arrays.firsts, arrays.post, arrays.weights)
    with _arriving(code, kind, (lists, delays, *rows), sizes, step) as row:
        source = code.address(arrays.sources, code.integer("mul nsw", row, str(_ROW)))
        _walk(code, kind, arrays, numbers, row, source, moment, total)
        _arrive(code, arrays, numbers, source, moment, nearest, _Factor(down, more, slow))
    return code.compile()


@contextmanager
def _arriving(
    code: IRBuilder, kind: _Kind, arrays: tuple[str, str, str, str, str], sizes: Sequence[str], step: str
) -> Iterator[str]:
    """Repeat what is written inside for the row of each spike that arrives in a step, the longest delay first.

    Arrays: lists of the source, delays, first synapses of the rows, post, weights. Sizes: parts of the source, delays
    in all, history.
    """
    lists, delays, firsts, post, weights = arrays
    parts, groups, history = sizes
    now = code.integer("add nsw", step, history)
    sizes_in_bytes = ((post, {"i16": 2, "i32": 4}[kind.slot]), (weights, 4 if kind.real == "float" else 8))
    with code.loop_backwards("0", groups) as g, code.loop("0", parts) as p:
        line = code.integer("sub nsw", now, code.load_scalar("i64", delays, g))
        ids, ends = (code.load_scalar("ptr", lists, place) for place in (p, code.integer("add nsw", p, parts)))
        first = code.load_scalar("i64", ends, line)
        end = code.load_scalar("i64", ends, code.integer("add nsw", line, "1"))
        with code.loop(first, end) as k:
            later = code.minimum(code.integer("add nsw", k, str(_NEXT)), code.integer("sub nsw", end, "1"))
            row, following = (
                code.integer("add nsw", code.integer("mul nsw", code.load_index(ids, each), groups), g)
                for each in (k, later)
            )
            near = code.load_scalar("i64", firsts, following)
            for base, size in sizes_in_bytes:
                for number in range(2):
                    prefetch(code, base, near, size, number * LINE)
            yield row


@functools.cache
def deliver_short_term(real: str, index: str) -> CompiledKernel:
    """Return the code that delivers spikes with amplitudes that depend on those before them.

    Arguments: lists of the source, delays, firsts, lasts, post, weights, sources [rows, 3] (step of the last arrival,
    its u and x), fine and coarse table of facilitation and of recovery, accumulator; parts of the source, delays in
    all, history, longest ages of the two decays, the step; U.
    """
    code, kind = IRBuilder("double"), _Kind(real, index, "additive", True)
    names = ("lists", "delays", "firsts", "lasts", "post", "weights", "sources")
    lists, delays, firsts, lasts, post, weights, sources = map(code.pointer_argument, names)
    facil, rec = (
        (code.pointer_argument(f"{name}.fine"), code.pointer_argument(f"{name}.coarse")) for name in ("facil", "rec")
    )
    total = code.pointer_argument("total")
    sizes = [code.integer_argument(name) for name in ("parts", "groups", "history")]
    longest_facil, longest_rec, step = map(code.integer_argument, ("longest.facil", "longest.rec", "now"))
    rest, one = code.real_argument("rest"), code.literal(1.0)
    moment = code.fresh(f"sitofp i64 {step} to double")
    with _arriving(code, kind, (lists, delays, firsts, post, weights), sizes, step) as row:
        source = code.address(sources, code.integer("mul nsw", row, "3"))
        arrival, u, x = (_field(code, source, n) for n in range(3))
        age = code.fresh(f"fsub double {moment}, {arrival}")
        left = code.fresh(f"fmul double {x}, {code.fresh(f'fsub double {one}, {u}')}")
        missing = code.fresh(
            f"fmul double {code.fresh(f'fsub double {left}, {one}')}, {_decay(Arithmetic(code), rec, longest_rec, age)}"
        )
        x, fading = code.fresh(f"fadd double {missing}, {one}"), _decay(Arithmetic(code), facil, longest_facil, age)
        held = code.fresh(f"fmul double {u}, {code.fresh(f'fsub double {one}, {rest}')}")
        u = code.fresh(f"fadd double {code.fresh(f'fmul double {held}, {fading}')}, {rest}")
        for field, value in enumerate((moment, u, x)):
            _set(code, value, source, field)
        factor = code.fresh(f"fmul double {u}, {x}")
        if real == "float":
            factor = code.fresh(f"fptrunc double {factor} to float")
        with code.loop(*(code.load_scalar("i64", array, row) for array in (firsts, lasts))) as n:
            target = code.fresh(f"zext {index} {code.load_scalar(index, post, n)} to i64")
            amount = code.fresh(f"fmul {real} {code.load_scalar(real, weights, n)}, {factor}")
            before = code.load_scalar(real, total, target)
            code.store_scalar(real, code.fresh(f"fadd {real} {before}, {amount}"), total, target)
    return code.compile()


@functools.cache
def flush(real: str, index: str, dependence: Dependence, coincident: bool, rewarded: bool = False) -> CompiledKernel:
    """Return the code that computes the changes of the weights of rows in the steps before one.

    Arguments: those of `deliver` from firsts to the decays; first row and the end, the step, records of a target,
    longest ages; bounds of the weights, mu, alpha.
    """
    code, kind = IRBuilder("double"), _Kind(real, index, dependence, coincident, rewarded)
    arrays = _arguments(code, kind)
    begin, end, step = map(code.integer_argument, ("first", "last", "until"))
    numbers = _numbers(code, kind)
    _walk_all(code, kind, arrays, numbers, (begin, end), code.fresh(f"sitofp i64 {step} to double"))
    return code.compile()


@functools.cache
def reward(real: str, index: str, dependence: Dependence, coincident: bool) -> CompiledKernel:
    """Return the code that changes the weights of all rows by their eligibility after a step with a reward.

    Arguments: those of `deliver` from firsts to the decay of the eligibility, surprises; number of rows, records of a
    target, longest ages, the step; bounds of the weights, mu, alpha.
    """
    code, kind = IRBuilder("double"), _Kind(real, index, dependence, coincident, rewarded=True)
    arrays = _arguments(code, kind)
    surprises, rows = code.pointer_argument("surprises"), code.integer_argument("rows")
    numbers = _numbers(code, kind)
    step = code.integer_argument("now")
    surprise = code.load_scalar("double", surprises, step)
    with code.branch_if(code.fresh(f"fcmp one double {surprise}, 0.0")):
        until = code.fresh(f"sitofp i64 {code.integer('add nsw', step, '1')} to double")
        _walk_all(code, kind, arrays, numbers, ("0", rows), until, surprise)
    return code.compile()


def _walk_all(
    code: IRBuilder,
    kind: _Kind,
    arrays: _Arrays,
    numbers: _Numbers,
    rows: tuple[str, str],
    until: str,
    surprise: str = "",
) -> None:
    """Compute the changes of rows in the steps before `until`, then those by a reward in the last of them."""
    with code.loop(*rows) as row:
        source = code.address(arrays.sources, code.integer("mul nsw", row, str(_ROW)))
        # A row at which no spike has arrived has no changes.
        with code.branch_if(code.fresh(f"fcmp ogt double {_field(code, source, X)}, 0.0")):
            _walk(code, kind, arrays, numbers, row, source, until, "", surprise)
        _set(code, until, source, WALKED)


@functools.cache
def post_spikes(nearest: bool, triplets: bool) -> CompiledKernel:
    """Return the code that records the spikes of a part of the targets that arrive at the synapses in a step.

    Arguments: ids and ends of the part, last spikes, recent ones, counts, slow traces, fine and coarse table of the
    decay, stop [2]; row of the log at step 0, records of a target, longest age, first step of the call, steps of a
    window, the step; factor of the potentiation. With `triplets` the tables of the slow decay follow `stop`, its
    longest age the other one, and what the slow trace adds to the factor the factor.
    """
    code = IRBuilder("double")
    names = ("ids", "ends", "latest", "recent", "counts", "slow", "fine", "coarse", "stop")
    ids, ends, latest, recent, counts, held_slow, fine, coarse, stop = map(code.pointer_argument, names)
    tables = _tables(code) if triplets else ()
    base, room, longest = map(code.integer_argument, ("base", "capacity", "longest"))
    slow = (*tables, code.integer_argument("longest.slow")) if triplets else ()
    begin, window, step = map(code.integer_argument, ("begin", "window", "now"))
    factor = _Factor(code.real_argument("up"), code.real_argument("more") if triplets else "", slow)
    moment = code.fresh(f"sitofp i64 {step} to double")
    row = code.integer("add nsw", base, step)
    with code.loop(*(code.load_scalar("i64", ends, each) for each in (row, code.integer("add nsw", row, "1")))) as k:
        target = code.load_index(ids, k)
        record = code.address(latest, code.integer("mul nsw", target, str(KEPT * _RECORD)))
        age = code.fresh(f"fsub double {moment}, {_field(code, record, TIME)}")
        before = code.fresh(
            f"fmul double {_field(code, record, Y)}, {_decay(Arithmetic(code), (fine, coarse), longest, age)}"
        )
        trace = code.literal(1.0) if nearest else code.fresh(f"fadd double {before}, {code.literal(1.0)}")
        count = code.load_scalar("i64", counts, target)
        place = code.integer("add nsw", code.integer("mul nsw", target, room), count)
        copy = code.address(recent, code.integer("mul nsw", place, str(_RECORD)))
        up, after_slow = _with_slow(code, factor, code.load_scalar("double", held_slow, target), age)
        code.store_scalar("double", after_slow, held_slow, target)
        for field in reversed(range((KEPT - 1) * _RECORD)):
            _set(code, _field(code, record, field), record, _RECORD + field)
        for held in (record, copy):
            for field, value in ((TIME, moment), (Y, trace), (Y_BEFORE, before), (UP, up)):
                _set(code, value, held, field)
        after = code.integer("add nsw", count, "1")
        code.store_scalar("i64", after, counts, target)
        with code.branch_if(code.fresh(f"icmp sgt i64 {code.integer('add nsw', after, window)}, {room}")):
            turn = code.integer("sdiv", code.integer("sub nsw", step, begin), window)
            code.store_scalar("i64", "1", stop, code.integer("and", turn, "1"))
    return code.compile()


def _walk(
    code: IRBuilder,
    kind: _Kind,
    arrays: _Arrays,
    numbers: _Numbers,
    row: str,
    source: str,
    until: str,
    total: str,
    surprise: str = "",
) -> None:
    """Compute the changes of a row in the steps before `until`, and add its weights to `total`, if there is one.

    Those of a step are potentiation by a spike of the target and depression by an arrival; the latter is computed at
    the next walk, when the spikes of the targets in its step are known. With `surprise` a reward in the step before
    `until` follows.
    """
    arrival, walked = (_field(code, source, n) for n in (TIME, WALKED))
    previous = code.fresh(f"fsub double {walked}, {code.literal(1.0)}")
    is_pending = code.fresh(
        f"and i1 {code.fresh(f'fcmp oge double {arrival}, {walked}')}, "
        f"{code.fresh(f'fcmp olt double {arrival}, {until}')}"
    )
    x, x_before, down = (_field(code, source, n) for n in (X, X_BEFORE, DOWN))
    about = _Row(arrival, x, x_before, down, _larger(code, arrival, previous), is_pending)
    begin, end = (code.load_scalar("i64", array, row) for array in (arrays.firsts, arrays.lasts))
    if kind.rewarded or kind.dependence == "power":
        one = _Synapse(code, kind, arrays, numbers, about)
        with code.loop(begin, end) as n:
            one.walk(n, until, surprise)
            if total:
                _add_to_total(code, kind, arrays, n, total)
        return
    lanes = _Lanes(code, kind, arrays, numbers, about)
    with code.loop(begin, end, str(_AT_ONCE)) as first:
        last = code.minimum(code.integer("add nsw", first, str(_AT_ONCE)), end)
        lanes.walk(first, last, until)
        if total:
            with code.loop(first, last) as n:
                _add_to_total(code, kind, arrays, n, total)


def _add_to_total(code: IRBuilder, kind: _Kind, arrays: _Arrays, n: str, total: str) -> None:
    target = _target(code, kind, arrays, n)
    value, before = code.load_scalar(kind.real, arrays.weights, n), code.load_scalar(kind.real, total, target)
    code.store_scalar(kind.real, code.fresh(f"fadd {kind.real} {before}, {value}"), total, target)


def _target(code: IRBuilder, kind: _Kind, arrays: _Arrays, n: str) -> str:
    return code.fresh(f"zext {kind.slot} {code.load_scalar(kind.slot, arrays.post, n)} to i64")


class _Row(NamedTuple):
    """What changes the weights of a row.

    `arrival` is the step of the last arrival, `x` and `x_before` the traces with it and before it, `down` its factor of
    depression. `is_pending` says whether the changes in its step are to be computed; the changes after `known` are.
    """

    arrival: str
    x: str
    x_before: str
    down: str
    known: str
    is_pending: str

    def in_lanes(self, math: Arithmetic) -> _Row:
        """Return the row in all lanes."""
        arrival, x, x_before, down, known = map(math.splat, self[:-1])
        return _Row(arrival, x, x_before, down, known, math.splat(self.is_pending, "i1"))


class _Synapse:
    """Changes of the weight of one synapse of a row, by any number of spikes of its target."""

    def __init__(self, code: IRBuilder, kind: _Kind, arrays: _Arrays, numbers: _Numbers, row: _Row) -> None:
        self.code, self.kind, self.arrays, self.numbers, self.row = code, kind, arrays, numbers, row
        self.change = _Change(code, kind, arrays, numbers)
        self.place = code.variable("i64")

    def walk(self, n: str, until: str, surprise: str = "") -> None:
        """Compute the changes of weight `n`; with `surprise` a reward in the step before `until` follows."""
        code, numbers, change = self.code, self.numbers, self.change
        target = _target(code, self.kind, self.arrays, n)
        change.begin(n)
        record = code.address(self.arrays.latest, code.integer("mul nsw", target, str(KEPT * _RECORD)))
        is_new = code.fresh(f"fcmp ogt double {_field(code, record, TIME)}, {self.row.known}")
        is_old = code.fresh(f"xor i1 {is_new}, true")
        with code.branch_if(code.fresh(f"and i1 {is_old}, {self.row.is_pending}")):
            self._in_step_of_arrival(record)
        with code.branch_if(is_new):
            count = code.load_scalar("i64", self.arrays.counts, target)
            own = code.integer("mul nsw", target, numbers.room)
            with code.loop_while("0", count) as (back, finish):
                at = code.integer("sub nsw", code.integer("sub nsw", count, back), "1")
                code.store_variable(self.place, at, "i64")
                spike = _spike(code, self.arrays, own, at)
                finish(code.fresh(f"fcmp ole double {_field(code, spike, TIME)}, {self.row.known}"))
            found = code.load_variable(self.place, "i64")
            with code.branch_if(self.row.is_pending):
                self._in_step_of_arrival(_spike(code, self.arrays, own, found))
            with code.loop(code.integer("add nsw", found, "1"), count) as at:
                spike = _spike(code, self.arrays, own, at)
                time, up = (_field(code, spike, n) for n in (TIME, UP))
                change.by(_after_arrival(Arithmetic(code), self.arrays, numbers, self.row, time, up), "", time)
        if surprise:
            change.by_reward(surprise, code.fresh(f"fsub double {until}, {code.literal(1.0)}"))
        change.end(n)

    def _in_step_of_arrival(self, record: str) -> None:
        spike = _Spike(*(_field(self.code, record, n) for n in (TIME, Y, Y_BEFORE, UP)))
        up, down = _at_arrival(Arithmetic(self.code), self.kind, self.arrays, self.numbers, self.row, spike)
        self.change.by(up, down, self.row.arrival)


class _Lanes:
    """Changes of the weights of several synapses of a row at once.

    The targets of most synapses have at most one new spike. Those with two or three are gathered and follow; those
    with more follow one by one.
    """

    def __init__(self, code: IRBuilder, kind: _Kind, arrays: _Arrays, numbers: _Numbers, row: _Row) -> None:
        self.code, self.kind, self.arrays = code, kind, arrays
        self.math = math = Arithmetic(code, _LANES)
        self.row, self.one = row.in_lanes(math), _Synapse(code, kind, arrays, numbers, row)
        integers = (numbers.room, numbers.longest_plus, numbers.longest_minus)
        reals = (numbers.w_min, numbers.w_max, numbers.mu, numbers.alpha)
        self.numbers = _Numbers(*(math.splat(each, "i64") for each in integers), *map(math.splat, reals))
        self.many, self.targets, self.most = (code.variable("i64", _AT_ONCE + _LANES) for _ in range(3))
        self.counts = code.variable("i64"), code.variable("i64")

    def walk(self, first: str, last: str, until: str) -> None:
        """Compute the changes of the weights from `first` on, before `last`: at most `_AT_ONCE`."""
        code, math = self.code, self.math
        for count in self.counts:
            code.store_variable(count, "0", "i64")
        with code.loop(first, last, str(_LANES)) as n:
            self._walk_one(n, last)
        many = code.load_variable(self.counts[0], "i64")
        with code.loop("0", many, str(_LANES)) as k:
            exists = math.compared_integers("slt", self._counted(k), math.splat(many, "i64"))
            numbers, targets = (math.row("i64", each, k, exists) for each in (self.many, self.targets))
            self._walk_many(numbers, targets, exists)
        most = code.load_variable(self.counts[1], "i64")
        with code.loop("0", most) as k:
            self.one.walk(code.load_scalar("i64", self.most, k), until)

    def _counted(self, n: str) -> str:
        steps = ", ".join(f"i64 {k}" for k in range(_LANES))
        return self.math.integer("add nsw", self.math.splat(n, "i64"), f"<{steps}>")

    def _walk_one(self, n: str, last: str) -> None:
        """Compute changes by one new spike or none, and list the synapses whose targets have several."""
        code, kind, math, row = self.code, self.kind, self.math, self.row
        numbers = self._counted(n)
        exists = math.compared_integers("slt", numbers, math.splat(last, "i64"))
        post = math.row(kind.slot, self.arrays.post, n, exists)
        target = code.fresh(f"zext {math.of_lanes(kind.slot)} {post} to {math.integers}")
        before = self._extended(math.row(kind.real, self.arrays.weights, n, exists))
        newest = math.integer("mul nsw", target, f"splat (i64 {KEPT})")
        earlier = math.integer("add nsw", newest, "splat (i64 1)")
        time, time_before = (self._field(each, TIME, exists) for each in (newest, earlier))
        is_new = math.compared("ogt", time, row.known)
        has_many = math.both(math.compared("ogt", time_before, row.known), exists)
        spike = math.chosen(is_new, time_before, time), math.chosen(is_new, earlier, newest, "i64")
        value = math.chosen(row.is_pending, self._at_arrival(*spike, before, exists), before)
        value = math.chosen(is_new, self._after_arrival(time, newest, value, exists), value)
        value = math.chosen(has_many, before, value)
        math.set_row(kind.real, self._shortened(value), self.arrays.weights, n, exists)
        self._list(has_many, self.counts[0], (numbers, self.many), (target, self.targets))

    def _list(self, where: str, count: str, *lists: tuple[str, str]) -> None:
        """Append integers, `where` a condition holds, to lists of one length."""
        code, math = self.code, self.math
        before = code.load_variable(count, "i64")
        for values, room in lists:
            packed = math.compressed(values, where)
            code.lines.append(f"  store {math.integers} {packed}, ptr {code.address(room, before, 'i64')}, align 8")
        code.store_variable(count, code.integer("add nsw", before, code.popcount(math.bits(where))), "i64")

    def _walk_many(self, n: str, target: str, exists: str) -> None:
        """Compute changes by two or three new spikes, and list the synapses whose targets have more."""
        kind, math, row = self.kind, self.math, self.row
        first = math.integer("mul nsw", target, f"splat (i64 {KEPT})")
        spikes = [first, *(math.integer("add nsw", first, f"splat (i64 {k})") for k in range(1, KEPT))]
        times = [self._field(each, TIME, exists) for each in spikes]
        has_three, has_more = (math.both(math.compared("ogt", time, row.known), exists) for time in times[2:])
        before = self._extended(math.element(self.arrays.weights, n, kind.real, exists))
        base = math.chosen(has_three, times[3], times[2]), math.chosen(has_three, spikes[3], spikes[2], "i64")
        value = math.chosen(row.is_pending, self._at_arrival(*base, before, exists), before)
        value = math.chosen(has_three, self._after_arrival(times[2], spikes[2], value, exists), value)
        for k in (1, 0):
            value = self._after_arrival(times[k], spikes[k], value, exists)
        value = math.chosen(has_more, before, value)
        math.set_element(kind.real, self._shortened(value), self.arrays.weights, n, exists)
        self._list(has_more, self.counts[1], (n, self.most))

    def _at_arrival(self, time: str, spike: str, before: str, exists: str) -> str:
        """Return the weights after the step of the last arrival, given the last spikes of the targets up to it."""
        y, y_before, up = (self._field(spike, field, exists) for field in (Y, Y_BEFORE, UP))
        record = _Spike(time, y, y_before, up)
        changes = _at_arrival(self.math, self.kind, self.arrays, self.numbers, self.row, record, exists)
        return _changed(self.math, self.kind, self.numbers, before, *changes)

    def _after_arrival(self, time: str, spike: str, before: str, exists: str) -> str:
        """Return the weights after a spike of the targets after the last arrival."""
        up = self._field(spike, UP, exists)
        change = _after_arrival(self.math, self.arrays, self.numbers, self.row, time, up, exists)
        return _changed(self.math, self.kind, self.numbers, before, change)

    def _field(self, spike: str, field: int, exists: str) -> str:
        place = self.math.integer("mul nsw", spike, f"splat (i64 {_RECORD})")
        return self.math.element(
            self.arrays.latest, self.math.integer("add nsw", place, f"splat (i64 {field})"), where=exists
        )

    def _extended(self, value: str) -> str:
        if self.kind.real == "double":
            return value
        return self.code.fresh(f"fpext {self.math.of_lanes('float')} {value} to {self.math.kind}")

    def _shortened(self, value: str) -> str:
        if self.kind.real == "double":
            return value
        return self.code.fresh(f"fptrunc {self.math.kind} {value} to {self.math.of_lanes('float')}")


class _Spike(NamedTuple):
    """Record of a spike of a target: its step, the trace with it and before it, the factor of the potentiation."""

    time: str
    y: str
    y_before: str
    up: str


def _at_arrival(
    math: Arithmetic, kind: _Kind, arrays: _Arrays, numbers: _Numbers, row: _Row, spike: _Spike, where: str = ""
) -> tuple[str, str]:
    """Return potentiation and depression in the step of the last arrival, given the last spike of the target up to it.

    In lanes in which there was no arrival, or the spike is after it, they are any numbers.
    """
    is_tie = math.compared("oeq", spike.time, row.arrival)
    age = math.of("fsub", row.arrival, spike.time)
    trace = math.of("fmul", spike.y, _decay(math, arrays.minus, numbers.longest_minus, age, where))
    if not kind.coincident:
        trace = math.chosen(is_tie, spike.y_before, trace)
    trace = math.of("fsub", trace, numbers.alpha)
    pre = math.of("fmul", spike.up, row.x if kind.coincident else row.x_before)
    return math.chosen(is_tie, pre, math.constant(0.0)), math.of("fmul", row.down, trace)


def _after_arrival(
    math: Arithmetic, arrays: _Arrays, numbers: _Numbers, row: _Row, time: str, up: str, where: str = ""
) -> str:
    """Return the potentiation by a spike of the target after the last arrival; before it, any number."""
    age = math.of("fsub", time, row.arrival)
    trace = math.of("fmul", row.x, _decay(math, arrays.plus, numbers.longest_plus, age, where))
    return math.of("fmul", up, trace)


def _change(math: Arithmetic, kind: _Kind, numbers: _Numbers, before: str, up: str, down: str = "") -> str:
    """Return ``f+ up - f- down`` at a weight."""
    if kind.dependence != "additive":
        scale = math.of("fdiv", math.constant(1.0), math.of("fsub", numbers.w_max, numbers.w_min))
        terms = []
        for value, upper, lower in ((up, numbers.w_max, before), (down, before, numbers.w_min)):
            if value:
                share = math.of("fmul", math.of("fsub", upper, lower), scale)
                if kind.dependence == "power":
                    share = math.power(share, numbers.mu)
                terms.append(math.of("fmul", share, value))
        up, down = terms if down else (terms[0], "")
    return math.of("fsub", up, down) if down else up


def _changed(math: Arithmetic, kind: _Kind, numbers: _Numbers, before: str, up: str, down: str = "") -> str:
    """Return a weight after a change."""
    return _bounded(math, kind, numbers, math.of("fadd", before, _change(math, kind, numbers, before, up, down)))


def _bounded(math: Arithmetic, kind: _Kind, numbers: _Numbers, value: str) -> str:
    """Return a weight that is clipped, and rounded to the precision of the weights."""
    value = math.chosen(math.compared("olt", value, numbers.w_min), numbers.w_min, value)
    value = math.chosen(math.compared("ogt", value, numbers.w_max), numbers.w_max, value)
    return math.rounded(value) if kind.real == "float" else value


class _Change:
    """Changes of the weight of one synapse after the other, at once or through its eligibility."""

    def __init__(self, code: IRBuilder, kind: _Kind, arrays: _Arrays, numbers: _Numbers) -> None:
        self.code, self.kind, self.arrays, self.numbers = code, kind, arrays, numbers
        self.weight = code.variable("double")
        self.eligible, self.since = (code.variable("double"), code.variable("double")) if kind.rewarded else ("", "")

    def begin(self, n: str) -> None:
        """Load the weight of a synapse, and its eligibility."""
        code, kind = self.code, self.kind
        held = code.load_scalar(kind.real, self.arrays.weights, n)
        code.store_variable(self.weight, _extended(code, kind.real, held), "double")
        if kind.rewarded:
            record = code.address(self.arrays.eligible, code.integer("shl", n, "1"))
            for field, variable in enumerate((self.eligible, self.since)):
                code.store_variable(variable, _field(code, record, field), "double")

    def end(self, n: str) -> str:
        """Store what has changed, and return the weight."""
        code, kind = self.code, self.kind
        value = code.load_variable(self.weight, "double")
        if kind.real == "float":
            value = code.fresh(f"fptrunc double {value} to float")
        code.store_scalar(kind.real, value, self.arrays.weights, n)
        if kind.rewarded:
            record = code.address(self.arrays.eligible, code.integer("shl", n, "1"))
            for field, variable in enumerate((self.eligible, self.since)):
                _set(code, code.load_variable(variable, "double"), record, field)
        return value

    def by(self, up: str, down: str, time: str) -> None:
        """Change the weight by ``f+ up - f- down``, or its eligibility, in a step."""
        code, kind, numbers = self.code, self.kind, self.numbers
        before = code.load_variable(self.weight, "double")
        if not kind.rewarded:
            code.store_variable(self.weight, _changed(Arithmetic(code), kind, numbers, before, up, down), "double")
            return
        change = _change(Arithmetic(code), kind, numbers, before, up, down)
        faded = self._faded(time)
        code.store_variable(self.eligible, code.fresh(f"fadd double {faded}, {change}"), "double")
        code.store_variable(self.since, time, "double")

    def by_reward(self, surprise: str, time: str) -> None:
        """Change the weight by its eligibility in a step."""
        code = self.code
        change = code.fresh(f"fmul double {surprise}, {self._faded(time)}")
        before = code.load_variable(self.weight, "double")
        value = _bounded(Arithmetic(code), self.kind, self.numbers, code.fresh(f"fadd double {before}, {change}"))
        code.store_variable(self.weight, value, "double")

    def _faded(self, time: str) -> str:
        """Return the eligibility in a step, before its changes."""
        code = self.code
        age = code.fresh(f"fsub double {time}, {code.load_variable(self.since, 'double')}")
        decay = _decay(Arithmetic(code), self.arrays.fade, self.numbers.longest_fade, age)
        return code.fresh(f"fmul double {code.load_variable(self.eligible, 'double')}, {decay}")


class _Factor(NamedTuple):
    """Factor of a change by a spike: a number, and with triplets more of it times a slow trace.

    `slow` holds the tables of the decay and its longest age.
    """

    base: str
    more: str
    slow: tuple[str, ...]


def _tables(code: IRBuilder) -> tuple[str, str]:
    return code.pointer_argument("slow.fine"), code.pointer_argument("slow.coarse")


def _with_slow(code: IRBuilder, factor: _Factor, trace: str, age: str) -> tuple[str, str]:
    """Return the factor of a spike, and the slow trace with it."""
    if not factor.slow:
        return factor.base, trace
    fine, coarse, longest = factor.slow
    before = code.fresh(f"fmul double {trace}, {_decay(Arithmetic(code), (fine, coarse), longest, age)}")
    share = code.fresh(f"fmul double {factor.more}, {before}")
    return code.fresh(f"fadd double {factor.base}, {share}"), code.fresh(f"fadd double {before}, {code.literal(1.0)}")


def _arrive(
    code: IRBuilder, arrays: _Arrays, numbers: _Numbers, source: str, moment: str, nearest: bool, factor: _Factor
) -> None:
    """Count a spike that arrives at a row; several may arrive in one step."""
    arrival, x, x_before, held = (_field(code, source, n) for n in (TIME, X, X_BEFORE, DOWN))
    is_same = code.fresh(f"fcmp oeq double {arrival}, {moment}")
    age = code.fresh(f"fsub double {moment}, {arrival}")
    faded = code.fresh(f"fmul double {x}, {_decay(Arithmetic(code), arrays.plus, numbers.longest_plus, age)}")
    before = code.fresh(f"select i1 {is_same}, double {x_before}, double {faded}")
    base = code.fresh(f"select i1 {is_same}, double {x}, double {code.literal(0.0) if nearest else faded}")
    trace = code.fresh(f"fadd double {base}, {code.literal(1.0)}")
    more = code.fresh(f"select i1 {is_same}, double {held}, double 0.0")
    one_down, slow = _with_slow(code, factor, _field(code, source, X_SLOW), age)
    # The slow trace before a step counts for all spikes of the step.
    one_down = code.fresh(f"select i1 {is_same}, double {_field(code, source, ONE_DOWN)}, double {one_down}")
    down = code.fresh(f"fadd double {more}, {one_down}")
    values = ((TIME, moment), (WALKED, moment), (X, trace), (X_BEFORE, before), (DOWN, down), (ONE_DOWN, one_down))
    for field, value in (*values, (X_SLOW, slow)):
        _set(code, value, source, field)


def _decay(math: Arithmetic, tables: tuple[str, str], longest: str, age: str, where: str = "") -> str:
    """Return the decay over an age, in steps; in lanes it may be negative, where the result is not used."""
    k = math.extreme("smin", math.truncated(age), longest)
    if where:
        k = math.extreme("smax", k, "zeroinitializer")
    one = math.lanes == 1
    mask, shift = (n if one else f"splat (i64 {n})" for n in (str(BLOCK - 1), str(BLOCK.bit_length() - 1)))
    places = math.integer("and", k, mask), math.integer("lshr", k, shift)
    fine, coarse = (math.element(table, n, where=where) for table, n in zip(tables, places, strict=True))
    return math.of("fmul", fine, coarse)


def _spike(code: IRBuilder, arrays: _Arrays, own: str, number: str) -> str:
    """Return the address of the record of a recent spike."""
    return code.address(arrays.recent, code.integer("mul nsw", code.integer("add nsw", own, number), str(_RECORD)))


def _field(code: IRBuilder, record: str, field: int) -> str:
    return code.load_scalar("double", record, str(field))


def _set(code: IRBuilder, value: str, record: str, field: int) -> None:
    code.store_scalar("double", value, record, str(field))


def _larger(code: IRBuilder, a: str, b: str) -> str:
    return code.fresh(f"select i1 {code.fresh(f'fcmp ogt double {a}, {b}')}, double {a}, double {b}")


def _extended(code: IRBuilder, real: str, value: str) -> str:
    return value if real == "double" else code.fresh(f"fpext float {value} to double")
