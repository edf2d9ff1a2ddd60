"""Machine code of the gradients of the weights of ELM neurons: sums of outer products."""

from __future__ import annotations

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.kernels.elm.tiles import Sizes, most_rows, tile
from neurosim.kernels.elm.unit_loop import UnitLoop, add_products

_DEEP = 256  # rows that are summed at a time


def outer_code(real: str, left: int, right: int) -> IRBuilder:
    """Return the kernel of a weight gradient: the sum over rows of ``x y^T`` for x [left] and y [right], padded.

    Arguments: x [R, N, left], y [R, N, right]; result [N, left, right], zero before; units (some values of x of one
    neuron, all of y), rows R, 1, neurons, 0; a number without use. Sums of `_DEEP` rows are added up apart, which keeps
    them in a cache, and more exact.
    """
    sizes = Sizes(real, right, left, (right, left), 1, most_rows(), False)
    loop = UnitLoop(sizes, ("x", "y", "result"))
    code, rows = loop.code, sizes.rows
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
                    _add_tile(loop, (begin, end), neuron, top, first, size, target)
    return code


def _add_tile(loop: UnitLoop, rows: tuple[str, str], neuron: str, top: str, first: str, size: int, target: str) -> None:
    """Add the sums of a tile over some rows to the result."""
    code, sizes = loop.code, loop.sizes
    step, left, right = sizes.lanes, sizes.hidden, sizes.memory
    columns = [code.integer("add", first, str(c)) for c in range(0, size, step)]
    totals = {(r, c): code.variable() for r in range(sizes.rows) for c in range(len(columns))}
    for total in totals.values():
        code.store_variable(total, code.literal(0.0))
    with code.loop(*rows) as k:
        row = code.integer("add", code.integer("mul", k, loop.neurons), neuron)
        x = code.address(loop.arrays["x"], code.integer("add", code.integer("mul", row, str(left)), top))
        y = code.address(loop.arrays["y"], code.integer("add", code.integer("mul", row, str(right)), first))
        values = [code.load(y, str(c)) for c in range(0, size, step)]
        for r in range(sizes.rows):
            add_products(code, code.splat(code.load_scalar(sizes.real, x, str(r))), values, totals, r)
    for (r, c), total in totals.items():
        place = code.integer("add", str(r * right), columns[c])
        code.store(code.add(code.load(target, place), code.load_variable(total)), target, place)
