"""Machine code of a recurrent layer, backward.

The gradient of the current goes back through the matrix to the outputs of the step before: by a dense product in tiles
of samples, so that a weight that is loaded serves several of them, or, where few neurons stand near threshold, by a sum
for each of those alone.
"""

from __future__ import annotations

import functools

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.printer import backward_kernel
from neurosim.kernels.recurrent.cpu_code import Loop, Shape


def backward_code(shape: Shape) -> IRBuilder:
    """Return the backward kernel.

    Arguments: the arrays of the core's backward kernel; the gradient of the output before the first step [B, N]; the
    transposed weights in panels, or with ``few`` the weights by neuron before the synapse, filled up to panels; room
    for the gradients that come back to a unit, and with ``few`` for the samples that each neuron is near threshold in;
    first and last unit, steps, batch, heads, neurons of a head, samples of a unit; the plan's numbers.
    """
    loop = Loop(shape, backward_kernel(shape.plan))
    code = loop.code
    loop.arguments(listing=shape.few)

    with code.loop(loop.first, loop.last) as unit:
        loop.begin(unit)
        with code.loop("0", code.integer("mul", loop.rows, loop.padded), str(shape.lanes)) as place:
            code.store(code.literal(0.0), loop.current, place)
        with code.loop_backwards("0", loop.steps) as t:
            later = code.integer("add", t, "1")
            with code.branch_if(code.fresh(f"icmp slt i64 {later}, {loop.steps}")):
                _come_back(loop, later, t)
            loop.neurons(t)
        _come_back(loop, "0", None)
        with code.loop("0", loop.rows) as row, code.loop("0", loop.panels) as panel:
            column = code.integer("mul", panel, str(shape.lanes))
            here = code.integer("add", code.integer("add", loop.corner, code.integer("mul", row, loop.width)), column)
            code.store(code.load(loop.current, loop.room(row, column)), loop.before, here, loop.mask(column))
    return code


def _come_back(loop: Loop, t: str, to: str | None) -> None:
    """Let the current be what the gradient of the currents of step `t` gives to the outputs one step before.

    With ``few``, to those outputs alone whose surrogate is not zero at step `to`; to all where `to` is None.
    """
    code, shape = loop.code, loop.shape
    source = loop.plane_at(loop.arrays[loop.kernel.inputs[shape.port]], t)
    if not shape.few:
        loop.product(source)
        return
    _find_near(loop, to)
    left = code.variable("i64")
    with code.loop("0", loop.n) as j:
        near = code.fresh(f"zext i32 {code.load_scalar('i32', loop.events, j)} to i64")
        code.store_variable(left, near, "i64")
        groups = code.integer(
            "udiv", code.integer("add", code.popcount(near), str(shape.together - 1)), str(shape.together)
        )
        with code.loop("0", groups):
            rows = []
            for _ in range(shape.together):
                rest = code.load_variable(left, "i64")
                rows.append(code.lowest_set_bit(rest))
                fewer = code.integer("and", rest, code.integer("sub", rest, "1"))
                none = code.fresh(f"icmp eq i64 {fewer}, 0")  # the last one then stands in for those that lack
                code.store_variable(left, code.fresh(f"select i1 {none}, i64 {rest}, i64 {fewer}"), "i64")
            for row, total in zip(rows, _dots(loop, source, rows, j), strict=True):
                code.store_scalar(shape.real, total, loop.current, loop.room(row, j))


def _find_near(loop: Loop, to: str | None) -> None:
    """Write down for each neuron the samples in which its surrogate is not zero, a bit each; set the current to 0."""
    code, shape = loop.code, loop.shape
    distance = shape.plan.program.output.args[0]
    (name,) = (name for name, node in loop.kernel.reads.items() if node is distance)
    support = code.value(shape.plan.program.support)
    kind = f"<{shape.lanes} x i32>"
    found = code.variable(kind)
    with code.loop("0", loop.panels) as panel:
        column = code.integer("mul", panel, str(shape.lanes))
        mask = loop.mask(column)
        code.store_variable(found, "zeroinitializer", kind)
        with code.loop("0", loop.rows) as row:
            code.store(code.literal(0.0), loop.current, loop.room(row, column))
            held = "splat (i1 true)"
            if to is not None:
                begin = code.integer("add", code.integer("mul", row, loop.width), column)
                x = code.load(loop.plane_at(loop.arrays[name], to), begin, mask)
                held = code.fresh(code.compare("lt", code.fresh(code.operation("abs", [x])), support))
            bit = code.fresh(f"trunc i64 {code.integer('shl', '1', row)} to i32")
            first = code.fresh(f"insertelement {kind} poison, i32 {bit}, i64 0")
            each = code.fresh(f"shufflevector {kind} {first}, {kind} poison, {kind} zeroinitializer")
            more = code.fresh(f"select {code.truths} {held}, {kind} {each}, {kind} zeroinitializer")
            code.store_variable(found, code.fresh(f"or {kind} {code.load_variable(found, kind)}, {more}"), kind)
        code.store_scalar(kind, code.load_variable(found, kind), code.address(loop.events, column, "i32"))


def _dots(loop: Loop, source: str, rows: list[str], j: str) -> list[str]:
    """Return for each of `rows` the sum of its gradients times the weights that neuron `j` sends its spikes through."""
    code = loop.code
    weights = code.address(loop.matrix, code.integer("mul", j, loop.padded))
    gradients = [code.address(source, code.integer("mul", row, loop.width)) for row in rows]
    totals = [code.variable() for _ in rows]
    for total in totals:
        code.store_variable(total, code.literal(0.0))
    with code.loop("0", loop.n, str(loop.shape.lanes)) as k:
        mask = loop.mask(k)
        weight = code.load(weights, k)
        for gradient, total in zip(gradients, totals, strict=True):
            code.store_variable(
                total, code.multiply_add(code.load(gradient, k, mask), weight, code.load_variable(total))
            )
    return [code.lane_sum(code.load_variable(total)) for total in totals]


@functools.cache
def compiled_backward(shape: Shape) -> CompiledKernel:
    """Return the backward kernel's machine code."""
    return backward_code(shape).compile()
