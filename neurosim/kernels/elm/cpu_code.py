"""Machine code of the leaky memory of an ELM neuron with its perceptron in the loop, forward and backward.

The work is cut into units: some samples of one neuron. A unit walks the time alone, with the matrices of its neuron in
the caches. A product works on a tile: a few samples times a few vectors of outputs, their sums in registers, so that
each weight that is loaded serves all samples of the unit. All numbers of outputs are filled up to whole vectors.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from neurosim.compiler.llvm.ir import LINE, IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel

_VECTORS = (24, 4)  # sums of a tile, in vectors of a cache line, with and without registers of that size
_SAMPLES = (8, 2)  # of a unit at most: so many serve a tile of a few vectors best
_DEEP = 256  # rows that are summed up at a time for a gradient of weights


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the machine code is made for.

    Parameters
    ----------
    real : {"float", "double"}
    memory, hidden : int
        Memory units and hidden units of a neuron filled up, each a multiple of `lanes`.
    units : tuple of int
        How many there are of each before they are filled up.
    outputs : int
        What is read out of the memory, not filled up.
    rows : int
        Samples of a unit.
    smooth : bool
        Whether the hidden units are SiLU (else ReLU).
    """

    real: str
    memory: int
    hidden: int
    units: tuple[int, int]
    outputs: int
    rows: int
    smooth: bool

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return lanes(self.real)


def lanes(real: str) -> int:
    """Return how many numbers a cache line holds."""
    return LINE // (4 if real == "float" else 8)


def padded(count: int, lanes: int) -> int:
    """Return `count` rounded up to full vectors."""
    return -(-count // lanes) * lanes


@functools.cache
def _wide() -> bool:
    import llvmlite.binding as binding

    return bool(binding.get_host_cpu_features().get("avx512f"))


def tile(sizes: Sizes, outer: int) -> tuple[int, int]:
    """Return the columns of a tile of a product with `outer` of them, and how many are in whole tiles."""
    vectors = outer // sizes.lanes
    budget = max((_VECTORS[0] if _wide() else _VECTORS[1]) // sizes.rows, 1)
    size = -(-vectors // -(-vectors // budget))
    return size * sizes.lanes, vectors // size * size * sizes.lanes


def most_rows() -> int:
    """Return how many samples a unit has at most."""
    return _SAMPLES[0] if _wide() else _SAMPLES[1]


class _Loop:
    """What the two directions share: arguments, units, places in arrays, products in tiles."""

    def __init__(self, sizes: Sizes, arrays: tuple[str, ...]) -> None:
        self.sizes, self.code = sizes, IRBuilder(sizes.real, sizes.lanes)
        code = self.code
        self.arrays = {name: code.pointer_argument(name) for name in arrays}
        names = ("first", "last", "steps", "batch", "neurons", "kept")
        self.first, self.last, self.steps, self.batch, self.neurons, self.kept = map(code.integer_argument, names)
        self.kappa, self.bend = code.real_argument("kappa"), code.real_argument("bend")

    def begin(self, unit: str) -> None:
        """Work out which samples of which neuron a unit has; the last unit of a neuron may overlap the one before."""
        code, rows = self.code, self.sizes.rows
        groups = code.integer("sdiv", code.integer("add", self.batch, str(rows - 1)), str(rows))
        self.neuron = code.integer("sdiv", unit, groups)
        top = code.integer("mul", code.integer("srem", unit, groups), str(rows))
        self.top = code.minimum(top, code.integer("sub", self.batch, str(rows)))

    def own(self, name: str, count: int) -> str:
        """Return where the neuron's `count` numbers in an array [N, ...] begin."""
        return self.code.address(self.arrays[name], self.code.integer("mul", self.neuron, str(count)))

    def plane(self, name: str, width: int, t: str = "0") -> str:
        """Return where the unit's values of step `t` in an array [T, B, N, width] begin."""
        code = self.code
        row = code.integer("add", code.integer("mul", t, self.batch), self.top)
        place = code.integer("add", code.integer("mul", row, self.neurons), self.neuron)
        return code.address(self.arrays[name], code.integer("mul", place, str(width)))

    def row(self, row: str, width: int) -> str:
        """Return how far a sample of the unit is from its first in an array [..., B, N, width]."""
        return self.code.integer("mul", self.code.integer("mul", row, self.neurons), str(width))

    def room(self, width: int) -> str:
        """Return room for `width` numbers of each sample."""
        return self.code.variable(self.code.lane, self.sizes.rows * width // self.sizes.lanes)

    def in_room(self, row: str, width: int, column: str) -> str:
        """Return the place of a sample's value in such a room."""
        return self.code.integer("add", self.code.integer("mul", row, str(width)), column)

    def each(self, width: int, do: Callable[[str, str, str], None]) -> None:
        """Do `do` with the sample, its distance in an array, and the column of each vector of each sample."""
        code = self.code
        with code.loop("0", str(self.sizes.rows)) as row:
            begin = self.row(row, width)
            with code.loop("0", str(width), str(self.sizes.lanes)) as column:
                do(row, code.integer("add", begin, column), column)

    def product(
        self,
        source: str,
        weights: str,
        inner: tuple[int, int],
        outer: int,
        start: Callable[[int, str], str],
        done: Callable[[int, str, str], None],
        *,
        in_room: bool = False,
    ) -> None:
        """Multiply the unit's values [rows, inner] from `source` on, an array or a room, with `weights` [inner, outer].

        `inner` says how many there are, and how many when filled up. `start` gives what a sum of a sample and a column
        starts with, `done` is called with the sum.
        """
        code, rows, step = self.code, self.sizes.rows, self.sizes.lanes
        width, whole = tile(self.sizes, outer)
        starts = [str(r * inner[1]) if in_room else self.row(str(r), inner[1]) for r in range(rows)]
        sources = [code.address(source, begin) for begin in starts]
        for begin, end, size in ((0, whole, width), (whole, outer, outer - whole)):
            if not size:
                continue
            with code.loop(str(begin), str(end), str(size)) as first:
                panel = code.address(weights, first)
                columns = [code.integer("add", first, str(c)) for c in range(0, size, step)]
                totals = {(r, c): code.variable() for r in range(rows) for c in range(len(columns))}
                for (r, c), total in totals.items():
                    code.store_variable(total, start(r, columns[c]))
                with code.loop("0", str(inner[0])) as k:
                    line = code.address(panel, code.integer("mul", k, str(outer)))
                    values = [code.load(line, str(c)) for c in range(0, size, step)]
                    for r in range(rows):
                        x = code.splat(code.load_scalar(self.sizes.real, sources[r], k))
                        for c in range(len(columns)):
                            code.store_variable(
                                totals[r, c], code.multiply_add(x, values[c], code.load_variable(totals[r, c]))
                            )
                for (r, c), total in totals.items():
                    done(r, columns[c], code.load_variable(total))


def forward_code(sizes: Sizes) -> IRBuilder:
    """Return the forward kernel.

    Arguments: drive [T, B, N, h], trace before the first step [B, N, h], memory [T + 1, B, N, d] of which the first
    step is given; matrix into the hidden units [N, d, h] and their offset [N, h]; matrix out of them [N, h, d] and its
    offset [N, d]; what the memory keeps and gains [N, d]; matrix to the outputs [N, d, o filled up] and its offset
    [N, o filled up], all matrices without filler rows; hidden units [T, B, N, h], their slope (if smooth) and the tanh
    [T, B, N, d], of one step where `kept` is 0; outputs [T, B, N, o]; units, steps, batch, neurons, kept; the trace's
    decay, the factor inside the tanh.
    """
    names = ("drive", "trace", "memory", "inward", "offset", "outward", "middle", "keep", "gain", "read", "shift")
    loop = _Loop(sizes, (*names, "hidden", "slope", "squashed", "output"))
    code, h, d, o = loop.code, sizes.hidden, sizes.memory, sizes.outputs
    wide = padded(o, sizes.lanes)
    memories, hiddens = (sizes.units[0], d), (sizes.units[1], h)
    trace, held = loop.room(h), loop.room(d)
    with code.loop(loop.first, loop.last) as unit:
        loop.begin(unit)
        inward, offset = loop.own("inward", memories[0] * h), loop.own("offset", h)
        outward, middle = loop.own("outward", hiddens[0] * d), loop.own("middle", d)
        keep, gain = loop.own("keep", d), loop.own("gain", d)
        read, shift = loop.own("read", memories[0] * wide), loop.own("shift", wide)
        given = loop.plane("trace", h)
        loop.each(h, lambda r, at, c: code.store(code.load(given, at), trace, loop.in_room(r, h, c)))
        with code.loop("0", loop.steps) as t:
            then = code.integer("mul", t, loop.kept)
            drive, before = loop.plane("drive", h, t), loop.plane("memory", d, t)
            after = loop.plane("memory", d, code.integer("add", t, "1"))
            hidden, squashed = loop.plane("hidden", h, then), loop.plane("squashed", d, then)
            slope = loop.plane("slope", h, then) if sizes.smooth else ""

            def decay(r: str, at: str, column: str, before: str = before) -> None:
                left = code.fresh(f"fmul {code.lane} {code.load(keep, column)}, {code.load(before, at)}")
                code.store(left, held, loop.in_room(r, d, column))

            loop.each(d, decay)

            def current(r: int, column: str, drive: str = drive) -> str:
                place = loop.in_room(str(r), h, column)
                here = code.integer("add", loop.row(str(r), h), column)
                now = code.multiply_add(loop.kappa, code.load(trace, place), code.load(drive, here))
                code.store(now, trace, place)
                return code.add(now, code.load(offset, column))

            def activate(r: int, column: str, total: str, hidden: str = hidden) -> None:
                here = code.integer("add", loop.row(str(r), h), column)
                if not sizes.smooth:
                    total = code.fresh(code.operation("max", [total, code.literal(0.0)]))
                code.store(total, hidden, here)

            loop.product(held, inward, memories, h, current, activate, in_room=True)
            if sizes.smooth:

                def silu(_: str, at: str, column: str, hidden: str = hidden, slope: str = slope) -> None:
                    a = code.load(hidden, at)
                    half = code.literal(0.5)
                    raised = tanh(code, code.fresh(f"fmul {code.lane} {a}, {half}"))
                    s = code.multiply_add(raised, half, half)
                    value = code.fresh(f"fmul {code.lane} {a}, {s}")
                    rest = code.fresh(f"fsub {code.lane} {code.literal(1.0)}, {s}")
                    code.store(value, hidden, at)
                    code.store(code.multiply_add(value, rest, s), slope, at)

                loop.each(h, silu)
            loop.product(
                hidden,
                outward,
                hiddens,
                d,
                lambda _, column: code.load(middle, column),
                lambda r, column, total, squashed=squashed: code.store(  # type: ignore[misc]
                    total, squashed, code.integer("add", loop.row(str(r), d), column)
                ),
            )

            def remember(r: str, at: str, column: str, squashed: str = squashed, after: str = after) -> None:
                change = tanh(code, code.fresh(f"fmul {code.lane} {loop.bend}, {code.load(squashed, at)}"))
                code.store(change, squashed, at)
                left = code.load(held, loop.in_room(r, d, column))
                code.store(code.multiply_add(code.load(gain, column), change, left), after, at)

            loop.each(d, remember)
            output = loop.plane("output", o, t)

            def tell(r: int, column: str, total: str, output: str = output) -> None:
                mask = None if wide == o else code.first_lanes(code.integer("sub", str(o), column))
                code.store(total, output, code.integer("add", loop.row(str(r), o), column), mask)

            loop.product(after, read, memories, wide, lambda _, column: code.load(shift, column), tell)
    return code


def backward_code(sizes: Sizes) -> IRBuilder:
    """Return the backward kernel.

    Arguments: gradients of the outputs [T, B, N, o] and of the last memory [B, N, d]; memory [T + 1, B, N, d]; hidden
    units, slope (if smooth), tanh as the forward kernel left them; matrix into the hidden units [N, h, d] and out of
    them [N, d, h], as there; what the memory keeps and gains [N, d]; matrix to the outputs [N, o, d]; then the results:
    gradients of the drive and of the hidden units' sums [T, B, N, h], of the tanh's argument [T, B, N, d], of trace
    [B, N, h] and memory [B, N, d] before the first step, shares in those of offset [B, N, h], middle, keep and gain
    [B, N, d]; units, steps, batch, neurons, kept (1); the trace's decay, the factor inside the tanh.
    """
    given = ("g_output", "g_last", "memory", "hidden", "slope", "squashed", "inward", "outward", "keep", "gain", "read")
    shares = ("share_offset", "share_middle", "share_keep", "share_gain")
    loop = _Loop(sizes, (*given, "g_drive", "g_hidden", "g_squashed", "g_trace", "g_before", *shares))
    code, h, d, o = loop.code, sizes.hidden, sizes.memory, sizes.outputs
    memories, hiddens = (sizes.units[0], d), (sizes.units[1], h)
    trace, offset = loop.room(h), loop.room(h)
    memory, middle, kept, gained = loop.room(d), loop.room(d), loop.room(d), loop.room(d)
    zero, one = code.literal(0.0), code.literal(1.0)

    def clear(room: str, width: int) -> None:
        loop.each(width, lambda r, _, column: code.store(zero, room, loop.in_room(r, width, column)))

    def give(room: str, name: str, width: int, factor: str | None = None) -> None:
        target = loop.plane(name, width)

        def copy(r: str, at: str, column: str) -> None:
            value = code.load(room, loop.in_room(r, width, column))
            code.store(code.fresh(f"fmul {code.lane} {factor}, {value}") if factor else value, target, at)

        loop.each(width, copy)

    with code.loop(loop.first, loop.last) as unit:
        loop.begin(unit)
        inward, outward = loop.own("inward", hiddens[0] * d), loop.own("outward", memories[0] * h)
        keep, gain, read = loop.own("keep", d), loop.own("gain", d), loop.own("read", o * d)
        for room in (trace, offset):
            clear(room, h)
        for room in (middle, kept, gained):
            clear(room, d)
        last = loop.plane("g_last", d)
        loop.each(d, lambda r, at, column: code.store(code.load(last, at), memory, loop.in_room(r, d, column)))
        with code.loop_backwards("0", loop.steps) as t:
            g_output, before = loop.plane("g_output", o, t), loop.plane("memory", d, t)
            squashed, hidden = loop.plane("squashed", d, t), loop.plane("hidden", h, t)
            slope = loop.plane("slope", h, t) if sizes.smooth else ""
            g_drive, g_hidden = loop.plane("g_drive", h, t), loop.plane("g_hidden", h, t)
            g_squashed = loop.plane("g_squashed", d, t)

            def come(r: int, column: str) -> str:
                return code.load(memory, loop.in_room(str(r), d, column))

            def hold(r: int, column: str, total: str) -> None:
                code.store(total, memory, loop.in_room(str(r), d, column))

            loop.product(g_output, read, (o, o), d, come, hold)

            def forget(
                r: str,
                at: str,
                column: str,
                squashed: str = squashed,
                g_squashed: str = g_squashed,
            ) -> None:
                place = loop.in_room(r, d, column)
                g, change = code.load(memory, place), code.load(squashed, at)
                code.store(code.multiply_add(g, change, code.load(gained, place)), gained, place)
                square = code.fresh(f"fmul {code.lane} {change}, {change}")
                flat = code.fresh(f"fsub {code.lane} {one}, {square}")
                bent = code.fresh(f"fmul {code.lane} {loop.bend}, {code.load(gain, column)}")
                scaled = code.fresh(f"fmul {code.lane} {g}, {bent}")
                inner = code.fresh(f"fmul {code.lane} {scaled}, {flat}")
                code.store(code.add(inner, code.load(middle, place)), middle, place)
                code.store(inner, g_squashed, at)

            loop.each(d, forget)

            def activated(
                r: int,
                column: str,
                total: str,
                hidden: str = hidden,
                slope: str = slope,
                g_drive: str = g_drive,
                g_hidden: str = g_hidden,
            ) -> None:
                here = code.integer("add", loop.row(str(r), h), column)
                place = loop.in_room(str(r), h, column)
                if sizes.smooth:
                    g = code.fresh(f"fmul {code.lane} {total}, {code.load(slope, here)}")
                else:
                    on = code.fresh(code.compare("gt", code.load(hidden, here), zero))
                    g = code.fresh(code.choice(on, total, zero))
                code.store(g, g_hidden, here)
                code.store(code.add(g, code.load(offset, place)), offset, place)
                traced = code.multiply_add(loop.kappa, code.load(trace, place), g)
                code.store(traced, trace, place)
                code.store(traced, g_drive, here)

            loop.product(g_squashed, outward, memories, h, lambda *_: zero, activated)

            def decayed(r: int, column: str, total: str, before: str = before) -> None:
                place = loop.in_room(str(r), d, column)
                here = code.load(before, code.integer("add", loop.row(str(r), d), column))
                code.store(code.multiply_add(total, here, code.load(kept, place)), kept, place)
                code.store(code.fresh(f"fmul {code.lane} {code.load(keep, column)}, {total}"), memory, place)

            loop.product(g_hidden, inward, hiddens, d, come, decayed)
        give(trace, "g_trace", h, loop.kappa)
        give(memory, "g_before", d)
        give(offset, "share_offset", h)
        give(middle, "share_middle", d)
        give(kept, "share_keep", d)
        give(gained, "share_gain", d)
    return code


def outer_code(real: str, left: int, right: int) -> IRBuilder:
    """Return the kernel of the weights' gradient: the sum over rows of ``x y^T`` for x [left] and y [right], filled up.

    Arguments: x [R, N, left], y [R, N, right]; result [N, left, right], zero before; units (some values of x of one
    neuron, all of y), rows R, 1, neurons, 0; a number without use. Sums of `_DEEP` rows are added up apart, which keeps
    them in a cache, and exact.
    """
    sizes = Sizes(real, right, left, (right, left), 1, most_rows(), False)
    loop = _Loop(sizes, ("x", "y", "result"))
    code, rows, step = loop.code, sizes.rows, sizes.lanes
    width, whole = tile(sizes, right)
    with code.loop(loop.first, loop.last) as unit:
        neuron = code.integer("sdiv", unit, str(left // rows))
        top = code.integer("mul", code.integer("srem", unit, str(left // rows)), str(rows))
        target = code.address(
            loop.arrays["result"],
            code.integer("mul", code.integer("add", code.integer("mul", neuron, str(left)), top), str(right)),
        )
        with code.loop("0", loop.steps, str(_DEEP)) as begin:
            end = code.minimum(code.integer("add", begin, str(_DEEP)), loop.steps)
            for column, stop, size in ((0, whole, width), (whole, right, right - whole)):
                if not size:
                    continue
                with code.loop(str(column), str(stop), str(size)) as first:
                    columns = [code.integer("add", first, str(c)) for c in range(0, size, step)]
                    totals = {(r, c): code.variable() for r in range(rows) for c in range(len(columns))}
                    for total in totals.values():
                        code.store_variable(total, code.literal(0.0))
                    with code.loop(begin, end) as k:
                        row = code.integer("add", code.integer("mul", k, loop.neurons), neuron)
                        x = code.address(
                            loop.arrays["x"], code.integer("add", code.integer("mul", row, str(left)), top)
                        )
                        y = code.address(
                            loop.arrays["y"], code.integer("add", code.integer("mul", row, str(right)), first)
                        )
                        values = [code.load(y, str(c)) for c in range(0, size, step)]
                        for r in range(rows):
                            factor = code.splat(code.load_scalar(sizes.real, x, str(r)))
                            for c, value in enumerate(values):
                                code.store_variable(
                                    totals[r, c], code.multiply_add(factor, value, code.load_variable(totals[r, c]))
                                )
                    for (r, c), total in totals.items():
                        place = code.integer("add", str(r * right), columns[c])
                        code.store(code.add(code.load(target, place), code.load_variable(total)), target, place)
    return code


_TERMS = {"float": 7, "double": 13}  # of the series of exp on |r| < ln 2 / 2: what is left out is below half a unit
_LN2 = {"float": (0.693359375, -2.12194440054690583e-4), "double": (0.6931471803691238, 1.9082149292705877e-10)}
_MAGIC = {"float": 1.5 * 2**23, "double": 1.5 * 2**52}  # adding it rounds, and leaves the number in the lowest bits


def tanh(code: IRBuilder, x: str) -> str:
    """Return tanh of a lane: ``-e / (e + 2)`` with ``e = exp(-2 |x|) - 1``, exact to a few units in the last place.

    The exponential less one is ``2^n p + (2^n - 1)`` with ``p = exp(r) - 1`` by its series, ``r = -2 |x| - n ln 2``.
    """
    lane, f, real = code.lane, code.literal, code.real
    kind = f"<{code.lanes} x i{32 if real == 'float' else 64}>"

    def whole(value: int) -> str:
        return f"splat ({kind.rpartition(' x ')[2][:-1]} {value})"

    size = code.fresh(code.operation("abs", [x]))
    down = code.fresh(f"fmul {lane} {size}, {f(-2.0)}")
    y = code.fresh(code.operation("max", [down, f(-80.0)]))
    marked = code.multiply_add(y, f(1.4426950408889634), f(_MAGIC[real]))
    n = code.fresh(f"fsub {lane} {marked}, {f(_MAGIC[real])}")
    r = y
    for part in _LN2[real]:
        r = code.multiply_add(n, f(-part), r)
    factors = [1.0]
    for k in range(2, _TERMS[real] + 1):
        factors.append(factors[-1] / k)
    series = f(factors[-1])
    for factor in reversed(factors[:-1]):
        series = code.multiply_add(series, r, f(factor))
    p = code.fresh(f"fmul {lane} {series}, {r}")
    bits = code.fresh(f"bitcast {lane} {marked} to {kind}")
    biased = code.fresh(f"add {kind} {bits}, {whole(127 if real == 'float' else 1023)}")
    shifted = code.fresh(f"shl {kind} {biased}, {whole(23 if real == 'float' else 52)}")
    power = code.fresh(f"bitcast {kind} {shifted} to {lane}")
    rest = code.fresh(f"fsub {lane} {power}, {f(1.0)}")
    e = code.multiply_add(power, p, rest)
    below = code.fresh(f"fadd {lane} {e}, {f(2.0)}")
    ratio = code.fresh(f"fdiv {lane} {e}, {below}")
    return code.fresh(code.intrinsic("copysign", lane, [(lane, ratio), (lane, x)]))


@functools.cache
def compiled_forward(sizes: Sizes) -> CompiledKernel:
    """Return the forward kernel's machine code."""
    return forward_code(sizes).compile()


@functools.cache
def compiled_backward(sizes: Sizes) -> CompiledKernel:
    """Return the backward kernel's machine code."""
    return backward_code(sizes).compile()


@functools.cache
def compiled_outer(real: str, left: int, right: int) -> CompiledKernel:
    """Return the machine code of the weights' gradient."""
    return outer_code(real, left, right).compile()
