"""What the two directions of a recurrent layer share: units of work, the dense product, the step of all neurons.

The work is cut into units: some samples of one head, a block of neurons with a matrix of its own. A unit walks the time
alone, with the matrix in cache. At each step it computes what comes through the matrix, the current, then takes the
core's step on vectors of neurons.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.compiler.llvm.jit import has_wide_vectors
from neurosim.compiler.plan import Plan, find
from neurosim.compiler.printer import Kernel


@dataclasses.dataclass(frozen=True)
class Shape:
    """What the machine code of a recurrent layer is made for.

    Parameters
    ----------
    key : str
        Key of the plan.
    real : {"float", "double"}
    lanes : int
        Columns of a panel of weights, and neurons that take their step together.
    ragged : bool
        Whether the last panel of a head has fewer neurons.
    port : int
        Position of the input port of the recurrent edge.
    few : bool
        Whether the gradient of the output is computed for those neurons alone whose surrogate is not zero.
    """

    key: str
    real: str
    lanes: int
    ragged: bool
    port: int = 0
    few: bool = False

    @property
    def rows(self) -> int:
        """Samples that share a loaded weight in a dense product: as many as the registers hold sums for."""
        # Narrower ones count as parts of one of 64 bytes.
        return (32 if has_wide_vectors() else 8) // 4

    @property
    def together(self) -> int:
        """Samples that share a loaded weight where few neurons stand near threshold."""
        return min(self.rows, 4)

    @property
    def plan(self) -> Plan:
        """The plan."""
        return find(self.key)


class Loop:
    """What the two directions share: arguments, units, places in arrays, the product."""

    def __init__(self, shape: Shape, kernel: Kernel) -> None:
        self.shape, self.kernel, self.code = shape, kernel, IRBuilder(shape.real, shape.lanes)
        code = self.code
        self.arrays = {name: code.pointer_argument(name) for name in kernel.arrays}
        self.carried = {**kernel.carried, **kernel.sums}

    def arguments(self, others: tuple[str, ...] = (), listing: bool = False) -> None:
        """Add the arguments after the arrays of the core; `listing` asks for room for lists of integers."""
        code = self.code
        self.before, self.weight = code.pointer_argument("before"), code.pointer_argument("weight")
        self.arrays.update({name: code.pointer_argument(name) for name in others})
        self.current = code.scratch_argument("current")
        self.events = code.scratch_argument("events") if listing else ""
        names = ("first", "last", "steps", "batch", "heads", "n", "each")
        self.first, self.last, self.steps, self.batch, self.heads, self.n, self.each = map(code.integer_argument, names)
        for number, node in enumerate(self.kernel.uniforms):
            code.bind(node, code.real_argument(f"u{number}"))
        lanes = str(self.shape.lanes)
        self.width = code.integer("mul", self.heads, self.n)
        self.plane = code.integer("mul", self.batch, self.width)
        self.panels = code.integer("sdiv", code.integer("add", self.n, str(self.shape.lanes - 1)), lanes)
        self.padded = code.integer("mul", self.panels, lanes)
        self.panel = code.integer("mul", self.n, lanes)

    def begin(self, unit: str) -> None:
        """Work out which samples of which head a unit has."""
        code = self.code
        groups = code.integer("sdiv", code.integer("add", self.batch, code.integer("sub", self.each, "1")), self.each)
        self.head = code.integer("sdiv", unit, groups)
        self.top = code.integer("mul", code.integer("srem", unit, groups), self.each)
        self.rows = code.minimum(self.each, code.integer("sub", self.batch, self.top))
        # Of the unit in an array [batch, width].
        self.corner = code.integer(
            "add", code.integer("mul", self.top, self.width), code.integer("mul", self.head, self.n)
        )
        self.matrix = code.address(
            self.weight, code.integer("mul", self.head, code.integer("mul", self.n, self.padded))
        )

    def plane_at(self, array: str, t: str) -> str:
        """Return where the unit's values of step `t` begin in an array over time."""
        return self.code.address(array, self.code.integer("add", self.code.integer("mul", t, self.plane), self.corner))

    def each_panel(self, panel: str) -> tuple[str, str]:
        """Return where the weights of a panel begin, and its first column."""
        code = self.code
        begin = code.address(self.matrix, code.integer("mul", panel, self.panel))
        return begin, code.integer("mul", panel, str(self.shape.lanes))

    def product(self, source: str) -> None:
        """Let the current be the weights times the unit's values [rows, n], a row every `width`, from `source` on."""
        code = self.code
        with code.loop("0", self.panels) as panel:
            weights, column = self.each_panel(panel)
            done = "0"
            for size in (self.shape.rows, 1):
                many = code.integer("sub", self.rows, code.integer("srem", self.rows, str(size)))
                with code.loop(done, many, str(size)) as row:
                    self._tile(weights, source, row, column, size)
                done = many

    def _tile(self, weights: str, source: str, row: str, column: str, size: int) -> None:
        code = self.code
        numbers = [code.integer("add", row, str(k)) for k in range(size)]
        sources = [code.address(source, code.integer("mul", r, self.width)) for r in numbers]
        totals = [code.variable() for _ in numbers]
        for total in totals:
            code.store_variable(total, code.literal(0.0))
        with code.loop("0", self.n) as k:
            weight = code.load(weights, code.integer("mul", k, str(self.shape.lanes)))
            for begin, total in zip(sources, totals, strict=True):
                value = code.splat(code.load_scalar(self.shape.real, begin, k))
                code.store_variable(total, code.multiply_add(value, weight, code.load_variable(total)))
        for r, total in zip(numbers, totals, strict=True):
            code.store(code.load_variable(total), self.current, self.room(r, column))

    def neurons(self, t: str, sent: Callable[[str, str, str | None], None] | None = None) -> None:
        """Take step `t` of all neurons with the current; `sent` is called with row, panel and mask after each part."""
        code, kernel = self.code, self.kernel
        driven = "g_out" if kernel.backwards else kernel.inputs[self.shape.port]
        with code.loop("0", self.rows) as row:
            begin = code.integer("add", self.corner, code.integer("mul", row, self.width))
            with code.loop("0", self.panels) as panel, code.scope():
                column = code.integer("mul", panel, str(self.shape.lanes))
                mask = self.mask(column)
                here = code.integer("add", begin, column)
                at = code.integer("add", code.integer("mul", t, self.plane), here)
                current = code.load(self.current, self.room(row, column))
                for name, node in kernel.reads.items():
                    value = code.load(self.arrays[name], at, mask)
                    code.bind(node, code.add(value, current) if name == driven else value)
                for name, (before, _) in self.carried.items():
                    code.bind(before, code.load(self.arrays[name], here, mask))
                for name, node in kernel.coefficients.items():
                    code.bind(node, code.load(self.arrays[name], here, mask))
                code.emit(kernel.order())
                for name, node in kernel.writes.items():
                    code.store(code.value(node), self.arrays[name], at, mask)
                if sent is not None:
                    sent(row, panel, mask)
                after = {name: code.value(node) for name, (_, node) in self.carried.items()}
                for name, value in after.items():
                    code.store(value, self.arrays[name], here, mask)

    def mask(self, column: str) -> str | None:
        """Return the mask of the neurons of a panel, or None if all panels are full."""
        return self.code.first_lanes(self.code.integer("sub", self.n, column)) if self.shape.ragged else None

    def room(self, row: str, column: str) -> str:
        """Return where a row's values from `column` on stand in the current."""
        return self.code.integer("add", self.code.integer("mul", row, self.padded), column)
