"""What the machine code of both directions of ELM neurons shares: arguments, units, places in arrays, products.

The work is divided into units: some samples of one neuron. A unit runs over time alone, with the matrices of its neuron
in the caches. A product computes a tile at a time: a few samples times a few vectors of outputs, their sums in
registers, so that each weight that is loaded serves all samples of the unit.
"""

from __future__ import annotations

from collections.abc import Callable

from neurosim.compiler.llvm.ir import IRBuilder
from neurosim.kernels.elm.tiles import Sizes, tile


class UnitLoop:
    """A kernel over units.

    Parameters
    ----------
    sizes : Sizes
    arrays : tuple of str
        Names of the arrays that it takes, in order.
    """

    def __init__(self, sizes: Sizes, arrays: tuple[str, ...]) -> None:
        self.sizes, self.code = sizes, IRBuilder(sizes.real, sizes.lanes)
        code = self.code
        self.arrays = {name: code.pointer_argument(name) for name in arrays}
        names = ("first", "last", "steps", "batch", "neurons", "kept")
        self.first, self.last, self.steps, self.batch, self.neurons, self.kept = map(code.integer_argument, names)
        self.kappa, self.bend = code.real_argument("kappa"), code.real_argument("bend")

    def begin(self, unit: str) -> None:
        """Compute which samples of which neuron a unit has; the last unit of a neuron may overlap the one before."""
        code, rows = self.code, self.sizes.rows
        groups = code.integer("sdiv", code.integer("add", self.batch, str(rows - 1)), str(rows))
        self.neuron = code.integer("sdiv", unit, groups)
        top = code.integer("mul", code.integer("srem", unit, groups), str(rows))
        self.top = code.minimum(top, code.integer("sub", self.batch, str(rows)))

    def of_neuron(self, name: str, count: int) -> str:
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

    def in_array(self, row: int, width: int, column: str) -> str:
        """Return how far a value of a sample is from the first of the unit in an array [..., B, N, width]."""
        return self.code.integer("add", self.row(str(row), width), column)

    def buffer(self, width: int) -> str:
        """Return a buffer of `width` numbers for each sample of the unit."""
        return self.code.variable(self.code.lane, self.sizes.rows * width // self.sizes.lanes)

    def in_buffer(self, row: str, width: int, column: str) -> str:
        """Return the place of a sample's value in such a buffer."""
        return self.code.integer("add", self.code.integer("mul", row, str(width)), column)

    def each(self, width: int, body: Callable[[str, str, str], None]) -> None:
        """Call `body` with the sample, its distance in an array, and the column of each vector of each sample."""
        code = self.code
        with code.loop("0", str(self.sizes.rows)) as row:
            begin = self.row(row, width)
            with code.loop("0", str(width), str(self.sizes.lanes)) as column:
                body(row, code.integer("add", begin, column), column)

    def product(
        self,
        source: str,
        weights: str,
        inner: tuple[int, int],
        outer: int,
        start: Callable[[int, str], str],
        done: Callable[[int, str, str], None],
        *,
        is_buffer: bool = False,
    ) -> None:
        """Multiply the unit's values [rows, inner] in `source`, an array or a buffer, by `weights` [inner, outer].

        Parameters
        ----------
        source, weights : str
            Where they begin.
        inner : tuple of int
            How many values there are, without and with padding.
        outer : int
            Columns of the weights.
        start : callable
            From a sample and a column to the value that the sum starts with.
        done : callable
            Called with sample, column and sum.
        is_buffer : bool
            Whether the source is a buffer.
        """
        code, rows, step = self.code, self.sizes.rows, self.sizes.lanes
        width, whole = tile(self.sizes, outer)
        starts = [str(r * inner[1]) if is_buffer else self.row(str(r), inner[1]) for r in range(rows)]
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
                        add_products(
                            code, code.splat(code.load_scalar(self.sizes.real, sources[r], k)), values, totals, r
                        )
                for (r, c), total in totals.items():
                    done(r, columns[c], code.load_variable(total))


def add_products(code: IRBuilder, x: str, values: list[str], totals: dict[tuple[int, int], str], row: int) -> None:
    """Add `x` times each of `values` to the sums of a sample."""
    for c, value in enumerate(values):
        code.store_variable(totals[row, c], code.multiply_add(x, value, code.load_variable(totals[row, c])))
