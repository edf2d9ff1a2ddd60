"""Machine code of a recurrent layer, forward.

Each spike of the step before adds one row of weights to the current, panel by panel of columns, and the spikes of this
step are left as bits for the next. A core whose output is graded has a dense product there instead.
"""

from __future__ import annotations

import functools

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.printer import forward_kernel
from neurosim.kernels.recurrent.cpu_code import Loop, Shape


def forward_code(shape: Shape) -> IRBuilder:
    """Return the forward kernel.

    Arguments: the arrays of the core's forward kernel; its output before the first step [B, N]; the weights in panels;
    [spikes as bits [T + 1, B, heads, words], those before the first step being given]; room for the currents of a unit
    [and for its events]; first and last unit, steps, batch, heads, neurons of a head, samples of a unit; the plan's
    numbers. What is in brackets belongs to a core that spikes.
    """
    loop = Loop(shape, forward_kernel(shape.plan))
    code, spiking = loop.code, shape.plan.program.is_spiking
    loop.arguments(("bits",) if spiking else (), listing=spiking)

    with code.loop(loop.first, loop.last) as unit:
        loop.begin(unit)
        with code.loop("0", loop.steps) as t:
            start = code.fresh(f"icmp eq i64 {t}, 0")
            initial = code.address(loop.before, loop.corner)
            earlier = loop.plane_at(loop.arrays["out"], code.integer("sub", t, "1"))
            source = code.fresh(f"select i1 {start}, ptr {initial}, ptr {earlier}")
            if not spiking:
                loop.product(source)
                loop.neurons(t)
            else:
                _gather(loop, source, _list_events(loop, t))
                loop.neurons(t, functools.partial(_send, loop, code.integer("add", t, "1")))
    return code


def _send(loop: Loop, t: str, row: str, panel: str, mask: str | None) -> None:
    """Leave the spikes of a row and panel as bits for step `t`."""
    code = loop.code
    held = code.truth(loop.shape.plan.program.output)
    if mask is not None:
        held = code.fresh(f"and {code.truths} {held}, {mask}")
    parts = code.integer("mul", _line(loop, t, row), str(64 // code.lanes))
    code.store_scalar(f"i{code.lanes}", code.bits_of_mask(held), loop.arrays["bits"], code.integer("add", parts, panel))


def _words(loop: Loop) -> str:
    """Return how many words hold the bits of a head."""
    return loop.code.integer("lshr", loop.code.integer("add", loop.n, "63"), "6")


def _line(loop: Loop, t: str, row: str) -> str:
    """Return the number of the first word of what comes back to a row at step `t`."""
    code = loop.code
    sample = code.integer("add", code.integer("mul", t, loop.batch), code.integer("add", loop.top, row))
    return code.integer("mul", code.integer("add", code.integer("mul", sample, loop.heads), loop.head), _words(loop))


def _list_events(loop: Loop, t: str) -> str:
    """List the events of each row of a unit, `n` places for each, and return where their numbers stand, after all."""
    code = loop.code
    counts = code.address(loop.events, code.integer("mul", loop.each, loop.n), "i32")
    at, left = code.variable("i64"), code.variable("i64")
    with code.loop("0", loop.rows) as row:
        begin = _line(loop, t, row)
        room = code.address(loop.events, code.integer("mul", row, loop.n), "i32")
        code.store_variable(at, "0", "i64")
        with code.loop("0", _words(loop)) as w:
            held = code.load_scalar("i64", loop.arrays["bits"], code.integer("add", begin, w))
            code.store_variable(left, held, "i64")
            base = code.integer("shl", w, "6")
            with code.loop("0", code.popcount(held)):
                rest, place = code.load_variable(left, "i64"), code.load_variable(at, "i64")
                j = code.integer("add", base, code.lowest_set_bit(rest))
                code.store_scalar("i32", code.fresh(f"trunc i64 {j} to i32"), room, place)
                code.store_variable(left, code.integer("and", rest, code.integer("sub", rest, "1")), "i64")
                code.store_variable(at, code.integer("add", place, "1"), "i64")
        code.store_scalar("i32", code.fresh(f"trunc i64 {code.load_variable(at, 'i64')} to i32"), counts, row)
    return counts


def _gather(loop: Loop, source: str, counts: str) -> None:
    """Let the current be the rows of weights of all events, each times the value that stands in `source`."""
    code = loop.code
    total = code.variable()
    with code.loop("0", loop.panels) as panel:
        weights, column = loop.each_panel(panel)
        with code.loop("0", loop.rows) as row:
            room = code.address(loop.events, code.integer("mul", row, loop.n), "i32")
            values = code.address(source, code.integer("mul", row, loop.width))
            code.store_variable(total, code.literal(0.0))
            with code.loop("0", code.load_index(counts, row)) as event:
                j = code.load_index(room, event)
                value = code.splat(code.load_scalar(loop.shape.real, values, j))
                weight = code.load(weights, code.integer("mul", j, str(loop.shape.lanes)))
                code.store_variable(total, code.multiply_add(value, weight, code.load_variable(total)))
            code.store(code.load_variable(total), loop.current, loop.room(row, column))


@functools.cache
def compiled_forward(shape: Shape) -> CompiledKernel:
    """Return the forward kernel's machine code."""
    return forward_code(shape).compile()
