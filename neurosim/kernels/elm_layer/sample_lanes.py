"""What the machine code of a layer of ELM neurons shares: a vector holds the same number of several samples.

The work is divided into units, the samples of one vector. A unit runs over time alone; in each step it goes through all
neurons, whose input is gathered from the values of all sources a vector at a time. Arrays are [..., P], with P samples
padded to full vectors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from neurosim.compiler.llvm.ir import IRBuilder

_BLOCK = 8  # sums that are computed at a time, in registers


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the machine code is compiled for.

    Parameters
    ----------
    real : {"float", "double"}
    lanes : int
        Samples in a vector.
    branches, synapses, hidden, memory : int
        J, S, h and d.
    smooth : bool
        Whether the hidden units are SiLU (else ReLU).
    """

    real: str
    lanes: int
    branches: int
    synapses: int
    hidden: int
    memory: int
    smooth: bool


class SampleLoop:
    """A kernel over units.

    Parameters
    ----------
    sizes : Sizes
    arrays : sequence of str
        Names of the arrays that it takes, in order.
    numbers : sequence of str
        Names of its integers after the first and last unit.
    reals : sequence of str
        Names of its numbers in floating point.
    """

    def __init__(self, sizes: Sizes, arrays: Sequence[str], numbers: Sequence[str], reals: Sequence[str]) -> None:
        self.sizes, self.code = sizes, IRBuilder(sizes.real, sizes.lanes)
        code = self.code
        self.arrays = {name: code.pointer_argument(name) for name in arrays}
        self.first, self.last = map(code.integer_argument, ("first", "last"))
        self.numbers = {name: code.integer_argument(name) for name in numbers}
        self.reals = {name: code.real_argument(name) for name in reals}
        self.width, self.lane = self.numbers["width"], "0"

    def times(self, a: str, b: str) -> str:
        """Return the product of two integers."""
        return self.code.integer("mul", a, b)

    def plus(self, a: str, b: str) -> str:
        """Return the sum of two integers."""
        return self.code.integer("add", a, b)

    def row(self, name: str, *places: tuple[str, str]) -> str:
        """Return where the unit's vector of an array [..., P] begins, from size and index of each axis in turn."""
        place = "0"
        for size, index in places:
            place = self.plus(self.times(place, size), index)
        return self.code.address(self.arrays[name], self.plus(self.times(place, self.width), self.lane))

    def vector(self, base: str, number: str) -> str:
        """Return vector `number` of rows [k, P] from `base` on."""
        return self.code.load(base, self.times(number, self.width))

    def put(self, value: str, base: str, number: str) -> None:
        """Set vector `number` of rows [k, P] from `base` on."""
        self.code.store(value, base, self.times(number, self.width))

    def number(self, base: str, place: str) -> str:
        """Return a number of an array without samples, in all lanes."""
        return self.code.splat(self.code.load_scalar(self.sizes.real, base, place))

    def held(self, buffer: str, number: str) -> str:
        """Return vector `number` of a buffer."""
        return self.code.load(buffer, self.times(number, str(self.sizes.lanes)))

    def hold(self, value: str, buffer: str, number: str) -> None:
        """Set vector `number` of a buffer."""
        self.code.store(value, buffer, self.times(number, str(self.sizes.lanes)))

    def sums(
        self,
        count: int,
        start: Callable[[str], str],
        terms: Sequence[tuple[int, Callable[[str, list[str], list[str]], None]]],
        done: Callable[[str, str], None],
    ) -> None:
        """Compute `count` sums, a block of them at a time.

        Parameters
        ----------
        count : int
        start : callable
            From the number of a sum to the value that it starts with.
        terms : sequence of (int, callable)
            How many terms there are, and a function of the number of a term, the numbers of the block's sums and their
            variables, which adds the term to each.
        done : callable
            Called with the number of a sum and its value.
        """
        code = self.code
        whole = count // _BLOCK * _BLOCK
        for begin, end, size in ((0, whole, _BLOCK), (whole, count, count - whole)):
            if begin == end:
                continue
            with code.loop(str(begin), str(end), str(size)) as first:
                numbers = [self.plus(first, str(k)) for k in range(size)]
                totals = [code.variable() for _ in numbers]
                for total, number in zip(totals, numbers, strict=True):
                    code.store_variable(total, start(number))
                for length, add in terms:
                    with code.loop("0", str(length)) as k:
                        add(k, numbers, totals)
                for total, number in zip(totals, numbers, strict=True):
                    done(number, code.load_variable(total))

    def add_product(self, total: str, a: str, b: str) -> None:
        """Add ``a b`` to a variable."""
        self.code.store_variable(total, self.code.multiply_add(a, b, self.code.load_variable(total)))

    def product(
        self, weights: str, stride: tuple[str, str], source: Callable[[str], str]
    ) -> Callable[[str, list[str], list[str]], None]:
        """Return the terms of a product: weight ``sum * stride[0] + term * stride[1]`` times ``source(term)``."""

        def add(k: str, numbers: list[str], totals: list[str]) -> None:
            value, column = source(k), self.times(k, stride[1])
            for number, total in zip(numbers, totals, strict=True):
                place = self.plus(self.times(number, stride[0]), column)
                self.add_product(total, self.number(weights, place), value)

        return add
