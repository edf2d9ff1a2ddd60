"""Machine code of plastic rows: delivery with the changes of the weights, and the spikes of the targets."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from neurosim.compiler.llvm.ir import LINE, IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.circuit.cpu_code import prefetch
from neurosim.kernels.circuit.plastic import (
    BLOCK,
    DOWN,
    ONE_DOWN,
    TIME,
    UP,
    WALKED,
    X_BEFORE,
    X_SLOW,
    Y_BEFORE,
    Y_SLOW,
    X,
    Y,
)

Dependence = Literal["additive", "multiplicative", "power"]

_ROW, _RECORD = 7, 5  # numbers of a row and of a spike of a target
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
            f"fmul double {code.fresh(f'fsub double {left}, {one}')}, {_decay(code, rec, longest_rec, age)}"
        )
        x = code.fresh(f"fadd double {missing}, {one}")
        held = code.fresh(f"fmul double {u}, {code.fresh(f'fsub double {one}, {rest}')}")
        u = code.fresh(
            f"fadd double {code.fresh(f'fmul double {held}, {_decay(code, facil, longest_facil, age)}')}, {rest}"
        )
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

    Arguments: ids and ends of the part, last spikes, recent ones, counts, fine and coarse table of the decay, stop [2];
    row of the log at step 0, records of a target, longest age, first step of the call, steps of a window, the step;
    factor of the potentiation. With `triplets` the tables of the slow decay follow `stop`, its longest age the other
    one, and what the slow trace adds to the factor the factor.
    """
    code = IRBuilder("double")
    names = ("ids", "ends", "latest", "recent", "counts", "fine", "coarse", "stop")
    ids, ends, latest, recent, counts, fine, coarse, stop = map(code.pointer_argument, names)
    tables = _tables(code) if triplets else ()
    base, room, longest = map(code.integer_argument, ("base", "capacity", "longest"))
    slow = (*tables, code.integer_argument("longest.slow")) if triplets else ()
    begin, window, step = map(code.integer_argument, ("begin", "window", "now"))
    factor = _Factor(code.real_argument("up"), code.real_argument("more") if triplets else "", slow)
    moment = code.fresh(f"sitofp i64 {step} to double")
    row = code.integer("add nsw", base, step)
    with code.loop(*(code.load_scalar("i64", ends, each) for each in (row, code.integer("add nsw", row, "1")))) as k:
        target = code.load_index(ids, k)
        record = code.address(latest, code.integer("mul nsw", target, str(_RECORD)))
        age = code.fresh(f"fsub double {moment}, {_field(code, record, TIME)}")
        before = code.fresh(f"fmul double {_field(code, record, Y)}, {_decay(code, (fine, coarse), longest, age)}")
        trace = code.literal(1.0) if nearest else code.fresh(f"fadd double {before}, {code.literal(1.0)}")
        count = code.load_scalar("i64", counts, target)
        place = code.integer("add nsw", code.integer("mul nsw", target, room), count)
        copy = code.address(recent, code.integer("mul nsw", place, str(_RECORD)))
        up, after_slow = _with_slow(code, factor, _field(code, record, Y_SLOW), age)
        for held in (record, copy):
            for field, value in ((TIME, moment), (Y, trace), (Y_BEFORE, before), (UP, up), (Y_SLOW, after_slow)):
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
    arrival, walked, x, x_before, down = (_field(code, source, n) for n in (TIME, WALKED, X, X_BEFORE, DOWN))
    previous = code.fresh(f"fsub double {walked}, {code.literal(1.0)}")
    is_pending = code.fresh(
        f"and i1 {code.fresh(f'fcmp oge double {arrival}, {walked}')}, "
        f"{code.fresh(f'fcmp olt double {arrival}, {until}')}"
    )
    known = _larger(code, arrival, previous)
    change = _Change(code, kind, arrays, numbers)
    place = code.variable("i64")

    def both(record: str) -> None:
        """Change the weight in the step of the last arrival, given the last spike of the target up to it."""
        time, y = _field(code, record, TIME), _field(code, record, Y)
        is_tie = code.fresh(f"fcmp oeq double {time}, {arrival}")
        age = code.fresh(f"fsub double {arrival}, {time}")
        trace = code.fresh(f"fmul double {y}, {_decay(code, arrays.minus, numbers.longest_minus, age)}")
        if not kind.coincident:
            trace = code.fresh(f"select i1 {is_tie}, double {_field(code, record, Y_BEFORE)}, double {trace}")
        trace = code.fresh(f"fsub double {trace}, {numbers.alpha}")
        pre = code.fresh(f"fmul double {_field(code, record, UP)}, {x if kind.coincident else x_before}")
        up = code.fresh(f"select i1 {is_tie}, double {pre}, double 0.0")
        change.by(up, code.fresh(f"fmul double {down}, {trace}"), arrival)

    begin, end = (code.load_scalar("i64", array, row) for array in (arrays.firsts, arrays.lasts))
    with code.loop(begin, end) as n:
        target = code.fresh(f"zext {kind.slot} {code.load_scalar(kind.slot, arrays.post, n)} to i64")
        change.begin(n)
        record = code.address(arrays.latest, code.integer("mul nsw", target, str(_RECORD)))
        is_new = code.fresh(f"fcmp ogt double {_field(code, record, TIME)}, {known}")
        is_old = code.fresh(f"xor i1 {is_new}, true")
        with code.branch_if(code.fresh(f"and i1 {is_old}, {is_pending}")):
            both(record)
        with code.branch_if(is_new):
            count = code.load_scalar("i64", arrays.counts, target)
            own = code.integer("mul nsw", target, numbers.room)
            with code.loop_while("0", count) as (back, finish):
                at = code.integer("sub nsw", code.integer("sub nsw", count, back), "1")
                code.store_variable(place, at, "i64")
                spike = _spike(code, arrays, own, at)
                finish(code.fresh(f"fcmp ole double {_field(code, spike, TIME)}, {known}"))
            found = code.load_variable(place, "i64")
            with code.branch_if(is_pending):
                both(_spike(code, arrays, own, found))
            with code.loop(code.integer("add nsw", found, "1"), count) as at:
                spike = _spike(code, arrays, own, at)
                time = _field(code, spike, TIME)
                age = code.fresh(f"fsub double {time}, {arrival}")
                trace = code.fresh(f"fmul double {x}, {_decay(code, arrays.plus, numbers.longest_plus, age)}")
                change.by(code.fresh(f"fmul double {_field(code, spike, UP)}, {trace}"), "", time)
        if surprise:
            change.by_reward(surprise, code.fresh(f"fsub double {until}, {code.literal(1.0)}"))
        value = change.end(n)
        if total:
            sum_before = code.load_scalar(kind.real, total, target)
            code.store_scalar(kind.real, code.fresh(f"fadd {kind.real} {sum_before}, {value}"), total, target)


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
        if kind.dependence != "additive":
            one = code.literal(1.0)
            scale = code.fresh(f"fdiv double {one}, {code.fresh(f'fsub double {numbers.w_max}, {numbers.w_min}')}")
            terms = []
            for value, upper, lower in ((up, numbers.w_max, before), (down, before, numbers.w_min)):
                if value:
                    share = code.fresh(f"fmul double {code.fresh(f'fsub double {upper}, {lower}')}, {scale}")
                    if kind.dependence == "power":
                        share = code.fresh(code.intrinsic("pow", "double", [("double", share), ("double", numbers.mu)]))
                    terms.append(code.fresh(f"fmul double {share}, {value}"))
            up, down = terms if down else (terms[0], "")
        change = code.fresh(f"fsub double {up}, {down}") if down else up
        if not kind.rewarded:
            self._set_weight(code.fresh(f"fadd double {before}, {change}"))
            return
        faded = self._faded(time)
        code.store_variable(self.eligible, code.fresh(f"fadd double {faded}, {change}"), "double")
        code.store_variable(self.since, time, "double")

    def by_reward(self, surprise: str, time: str) -> None:
        """Change the weight by its eligibility in a step."""
        code = self.code
        change = code.fresh(f"fmul double {surprise}, {self._faded(time)}")
        before = code.load_variable(self.weight, "double")
        self._set_weight(code.fresh(f"fadd double {before}, {change}"))

    def _faded(self, time: str) -> str:
        """Return the eligibility in a step, before its changes."""
        code = self.code
        age = code.fresh(f"fsub double {time}, {code.load_variable(self.since, 'double')}")
        decay = _decay(code, self.arrays.fade, self.numbers.longest_fade, age)
        return code.fresh(f"fmul double {code.load_variable(self.eligible, 'double')}, {decay}")

    def _set_weight(self, value: str) -> None:
        """Clip a weight, and round it to the precision of the weights."""
        code, numbers = self.code, self.numbers
        low = code.fresh(f"fcmp olt double {value}, {numbers.w_min}")
        value = code.fresh(f"select i1 {low}, double {numbers.w_min}, double {value}")
        high = code.fresh(f"fcmp ogt double {value}, {numbers.w_max}")
        value = code.fresh(f"select i1 {high}, double {numbers.w_max}, double {value}")
        if self.kind.real == "float":
            value = _extended(code, "float", code.fresh(f"fptrunc double {value} to float"))
        code.store_variable(self.weight, value, "double")


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
    before = code.fresh(f"fmul double {trace}, {_decay(code, (fine, coarse), longest, age)}")
    share = code.fresh(f"fmul double {factor.more}, {before}")
    return code.fresh(f"fadd double {factor.base}, {share}"), code.fresh(f"fadd double {before}, {code.literal(1.0)}")


def _arrive(
    code: IRBuilder, arrays: _Arrays, numbers: _Numbers, source: str, moment: str, nearest: bool, factor: _Factor
) -> None:
    """Count a spike that arrives at a row; several may arrive in one step."""
    arrival, x, x_before, held = (_field(code, source, n) for n in (TIME, X, X_BEFORE, DOWN))
    is_same = code.fresh(f"fcmp oeq double {arrival}, {moment}")
    age = code.fresh(f"fsub double {moment}, {arrival}")
    faded = code.fresh(f"fmul double {x}, {_decay(code, arrays.plus, numbers.longest_plus, age)}")
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


def _decay(code: IRBuilder, tables: tuple[str, str], longest: str, age: str) -> str:
    k = code.minimum(code.fresh(f"fptosi double {age} to i64"), longest)
    low, high = code.integer("and", k, str(BLOCK - 1)), code.integer("lshr", k, str(BLOCK.bit_length() - 1))
    fine, coarse = (code.load_scalar("double", table, n) for table, n in zip(tables, (low, high), strict=True))
    return code.fresh(f"fmul double {fine}, {coarse}")


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
