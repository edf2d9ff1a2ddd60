"""Machine code of a convolution at the cost of its spikes.

Of each sample the outputs stand channels-last in a room that fits the second-level cache. Forward, a spike adds its
block of weights to its window of the room. Backward, the gradient of the outputs is put there, a spike adds its window
to the gradient of its block of weights, and the gradient of an input is the product of window and block.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.kernels.conv.layout import Layout

_UNROLLED = 64  # vectors of a block of weights that are written one after the other
_CHAINS = 4  # sums that run beside each other in a product of window and block

Dimension = tuple[int, tuple[int, int]]  # how often, and how far the two arrays move on each time


@dataclasses.dataclass(frozen=True)
class Backward:
    """Which gradients a backward kernel finds.

    Parameters
    ----------
    inward : bool
        Whether that of the input is found.
    weight, bias : bool
        Whether those of the weights, and of the bias beside them, are found.
    masked : bool
        Whether only where the input is active.
    graded : bool
        Whether spikes have values other than 1.
    """

    inward: bool
    weight: bool
    bias: bool
    masked: bool
    graded: bool


class _Convolution:
    """What the two directions share."""

    def __init__(self, layout: Layout, real: str) -> None:
        self.layout, self.code = layout, IRBuilder(real, layout.lanes)
        self.window = self.code.pointer_argument("window")
        self.phase = self.code.pointer_argument("phase")

    @contextmanager
    def samples(self) -> Iterator[str]:
        """Walk every so many samples."""
        first, last, step = map(self.code.integer_argument, ("first", "last", "step"))
        with self.code.loop(first, last, step) as sample:
            yield sample

    def reach(self, j: str) -> tuple[str, str]:
        """Return where the window of input `j` begins, and where its weights do."""
        code, layout = self.code, self.layout
        channel = code.integer("udiv", j, str(layout.pixels))
        pixel = code.integer("sub", j, code.integer("mul", channel, str(layout.pixels)))
        window = code.load_index(self.window, pixel)
        if layout.groups > 1:
            group = code.integer("udiv", channel, str(layout.own_in))
            window = code.integer("add", window, code.integer("mul", group, str(layout.padded)))
        block = code.integer("mul", channel, str(layout.weights // layout.c_in))
        if layout.rows.stride * layout.columns.stride > 1:
            block = code.integer("add", block, code.load_index(self.phase, pixel))
        return window, block

    def block(self, window: str, block: str, body: Callable[[str, str, str, str], None]) -> None:
        """Write `body` for each vector of a window and a block: two addresses and the distances from them."""
        layout = self.layout
        rows, columns = layout.rows, layout.columns
        dimensions: list[Dimension] = [
            (rows.taps, (rows.step * columns.extent * layout.channels, columns.taps * layout.padded)),
            (columns.taps, (columns.step * layout.channels, layout.padded)),
            (layout.padded // layout.lanes, (layout.lanes, layout.lanes)),
        ]
        _each(self.code, dimensions, (window, block), body)

    def value(self, x: str, sample: str, j: str) -> str:
        """Return the value of the spike at `j`, in all lanes."""
        code, size = self.code, self.layout.c_in * self.layout.pixels
        at = code.integer("add", code.integer("mul", sample, str(size)), j)
        return code.splat(code.load_scalar(code.real, x, at))

    def tiles(self, sample: str, body: Callable[[str, str, int, int, int, str], None]) -> None:
        """Write `body` for each square of channels by places along a row of outputs.

        It is given where the square stands in the room and in the outputs [R, c_out, H', W'], the number of channels
        and places in it, that of the places which the square before had already, and its first channel in the room.
        """
        code, layout, lanes = self.code, self.layout, self.layout.lanes
        height, width = layout.rows.places, layout.columns.places
        corner = (layout.rows.origin * layout.columns.extent + layout.columns.origin) * layout.channels

        def row(group: str, channel: str, held: int) -> None:
            in_room = code.integer("add", code.integer("mul", group, str(layout.padded)), channel)
            in_outputs = code.integer("add", code.integer("mul", group, str(layout.own)), channel)
            in_outputs = code.integer("add", in_outputs, code.integer("mul", sample, str(layout.c_out)))
            with code.loop("0", str(height)) as y:
                inner = code.integer("mul", y, str(layout.columns.extent * layout.channels))
                inner = code.integer("add", code.integer("add", inner, in_room), str(corner))
                outer = code.integer("mul", in_outputs, str(height * width))
                outer = code.integer("add", outer, code.integer("mul", y, str(width)))

                def tile(x: str, places: int, again: int) -> None:
                    a = code.integer("add", inner, code.integer("mul", x, str(layout.channels)))
                    body(a, code.integer("add", outer, x), held, places, again, in_room)

                whole = width // lanes * lanes
                with code.loop("0", str(whole), str(lanes)) as x:
                    tile(x, lanes, 0)
                if width > whole:  # the last square overlaps the one before, so that it needs no mask
                    tile(str(max(width - lanes, 0)), min(width, lanes), whole - max(width - lanes, 0))

        with code.loop("0", str(layout.groups)) as group:
            whole = layout.own // lanes * lanes
            with code.loop("0", str(whole), str(lanes)) as channel:
                row(group, channel, lanes)
            if layout.own > whole:
                row(group, str(whole), layout.own - whole)

    def mask(self, places: int) -> str | None:
        """Return the mask of so many lanes, None for all."""
        return None if places == self.layout.lanes else self.code.first_lanes(str(places))


def forward_code(layout: Layout, real: str, graded: bool) -> IRBuilder:
    """Return the forward kernel.

    Arguments: window, phase, starts, index, [x], weight, bias, room, out; first and last sample, and the step between.
    """
    this = _Convolution(layout, real)
    code = this.code
    starts, index = code.pointer_argument("starts"), code.pointer_argument("index")
    x = code.pointer_argument("x") if graded else ""
    weight, bias, room, out = map(code.pointer_argument, ("weight", "bias", "room", "out"))
    lanes, pixel = layout.lanes, str(layout.channels)
    outputs = layout.rows.places * layout.columns.places
    with this.samples() as sample:
        with code.loop("0", str(layout.rows.extent * layout.columns.extent)) as place:
            here = code.address(room, code.integer("mul", place, pixel))
            start: list[Dimension] = [(layout.channels // lanes, (lanes, lanes))]
            _each(code, start, (here, bias), lambda a, i, b, j: code.store(code.load(b, j), a, i))
        with code.loop_over_list(starts, index, sample) as j:
            window, block = this.reach(j)
            value = this.value(x, sample, j) if graded else None

            def add(a: str, i: str, b: str, j: str, value: str | None = value) -> None:
                now, weights = code.load(a, i), code.load(b, j)
                sum_ = code.add(now, weights) if value is None else code.multiply_add(weights, value, now)
                code.store(sum_, a, i)

            this.block(code.address(room, window), code.address(weight, block), add)

        def write(inner: str, outer: str, channels: int, places: int, again: int, _: str) -> None:
            square = [code.load(code.address(room, inner), str(n * layout.channels)) for n in range(lanes)]
            for n, line in enumerate(code.transposed(square)[:channels]):
                code.store(line, code.address(out, outer), str(n * outputs), this.mask(places))

        this.tiles(sample, write)
    return code


def backward_code(layout: Layout, real: str, wanted: Backward) -> IRBuilder:
    """Return the backward kernel.

    Arguments: window, phase, [starts, index, [x], gradient of the weights, [that of the bias]], [weight, [starts and
    index of the active inputs], gradient of the input], gradient of the outputs, room; first and last sample, and the
    step between. The margin of the room and the gradients of weights and bias must be set to 0 before.
    """
    this = _Convolution(layout, real)
    code, lanes = this.code, layout.lanes
    outputs, inputs = layout.rows.places * layout.columns.places, layout.c_in * layout.pixels
    if wanted.weight:
        starts, index = code.pointer_argument("starts"), code.pointer_argument("index")
        x = code.pointer_argument("x") if wanted.graded else ""
        g_weight = code.pointer_argument("g.weight")
        g_bias = code.pointer_argument("g.bias") if wanted.bias else ""
    if wanted.inward:
        weight = code.pointer_argument("weight")
        active = (
            (code.pointer_argument("active.starts"), code.pointer_argument("active.index"))
            if wanted.masked
            else ("", "")
        )
        g_x = code.pointer_argument("g.x")
    g, room = code.pointer_argument("g"), code.pointer_argument("room")
    chains = [code.variable() for _ in range(_CHAINS)]

    def read(inner: str, outer: str, channels: int, places: int, again: int, channel: str) -> None:
        mask = this.mask(places)
        square = [code.load(code.address(g, outer), str(n * outputs), mask) for n in range(channels)]
        square += [code.literal(0.0)] * (lanes - channels)
        lines = code.transposed(square)[:places]
        for n, line in enumerate(lines):
            code.store(line, code.address(room, inner), str(n * layout.channels))
        if wanted.weight and wanted.bias:
            total = functools.reduce(code.add, lines[again:])
            code.store(code.add(code.load(g_bias, channel), total), g_bias, channel)

    def weigh(j: str, sample: str) -> None:
        window, block = this.reach(j)
        for chain in chains:
            code.store_variable(chain, code.literal(0.0))
        turn = itertools.cycle(chains)

        def multiply(a: str, i: str, b: str, j: str) -> None:
            chain = next(turn)
            code.store_variable(chain, code.multiply_add(code.load(a, i), code.load(b, j), code.load_variable(chain)))

        this.block(code.address(room, window), code.address(weight, block), multiply)
        total = code.lane_sum(functools.reduce(code.add, map(code.load_variable, chains)))
        code.store_scalar(real, total, g_x, code.integer("add", code.integer("mul", sample, str(inputs)), j))

    with this.samples() as sample:
        this.tiles(sample, read)
        if wanted.weight:
            with code.loop_over_list(starts, index, sample) as j:
                window, block = this.reach(j)
                value = this.value(x, sample, j) if wanted.graded else None

                def add(a: str, i: str, b: str, j: str, value: str | None = value) -> None:
                    now, gradient = code.load(b, j), code.load(a, i)
                    sum_ = code.add(now, gradient) if value is None else code.multiply_add(gradient, value, now)
                    code.store(sum_, b, j)

                this.block(code.address(room, window), code.address(g_weight, block), add)
        if wanted.inward and wanted.masked:
            start = code.integer("mul", sample, str(inputs))
            with code.loop(start, code.integer("add", start, str(inputs))) as j:
                code.store_scalar(real, "0.0", g_x, j)
            with code.loop_over_list(*active, sample) as j:
                weigh(j, sample)
        elif wanted.inward:
            with code.loop("0", str(inputs)) as j:
                weigh(j, sample)
    return code


def _each(
    code: IRBuilder,
    dimensions: Sequence[Dimension],
    bases: tuple[str, str],
    body: Callable[[str, str, str, str], None],
) -> None:
    """Write `body` for all places of a box in two arrays; with loops where the box is large."""
    if math.prod(count for count, _ in dimensions) > _UNROLLED:
        (count, moves), *inner = dimensions
        with code.loop("0", str(count)) as i:
            here = [
                code.address(base, code.integer("mul", i, str(move))) for base, move in zip(bases, moves, strict=True)
            ]
            _each(code, inner, (here[0], here[1]), body)
        return
    for place in itertools.product(*(range(count) for count, _ in dimensions)):
        a, b = (sum(n * moves[which] for n, (_, moves) in zip(place, dimensions, strict=True)) for which in range(2))
        body(bases[0], str(a), bases[1], str(b))


@functools.cache
def compiled_forward(layout: Layout, real: str, graded: bool) -> CompiledKernel:
    """Return the machine code of the forward kernel."""
    return forward_code(layout, real, graded).compile()


@functools.cache
def compiled_backward(layout: Layout, real: str, wanted: Backward) -> CompiledKernel:
    """Return the machine code of the backward kernel."""
    return backward_code(layout, real, wanted).compile()
