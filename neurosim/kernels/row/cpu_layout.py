"""Where the arrays of a row of layers lie, and the kernels that both directions add to their lists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from neurosim.compiler.llvm.call_list import OWN_STATUS, CallList, Place
from neurosim.compiler.llvm.ir import LINE
from neurosim.compiler.llvm.jit import has_wide_vectors
from neurosim.compiler.plan import Plan, find
from neurosim.kernels.common import bits
from neurosim.kernels.linear import dense_product, tiles
from neurosim.kernels.linear.policy import CROSSOVER
from neurosim.kernels.row.arguments import Layer, Row
from neurosim.kernels.row.cpu_code import clearing, summing

NO_LIMIT = 1 << 62
TOTALS = 3  # numbers of each layer: events of its input, bits of its mask, events of its loop
# Numbers of the arrays that both directions are given, before those of the layers. The two planes, `PLANE` and `OTHER`,
# have a number for each step, sample and neuron of the widest layer.
SAVED, SCRATCH, X, BITS, MASK, OUT, PLANE, OTHER = range(8)
FIRST = 8


class Arena:
    """Places in an array of bytes; the attribute `at` may be set back, to place over what is not read any more."""

    def __init__(self, array: int) -> None:
        self._number, self.at, self.size = array, 0, 0

    def place(self, nbytes: int) -> Place:
        """Return a place for so many bytes, which begins at a line of the caches."""
        place = Place(self._number, self.at)
        self.at += -(-nbytes // LINE) * LINE
        self.size = max(self.size, self.at)
        return place


class Events(NamedTuple):
    """Places of an input's bits and of its events; see `bits.events`."""

    bits: Place
    starts: Place
    listed: Place


class Kept(NamedTuple):
    """Places of what a layer keeps for the backward pass."""

    events: Events
    stored: Sequence[Place]
    mask: Place | None
    sent: Place | None
    sent_starts: Place | None


class Layout:
    """The arrays of a row of layers.

    Parameters
    ----------
    row : Row

    Attributes
    ----------
    row : Row
    rows : int
        T B.
    size : int
        Bytes of a number.
    dtype : torch.dtype
    saved, scratch : Arena
        What the backward pass reads, and what is free after a call.
    totals : Place
        Of the numbers of events; see `TOTALS`.
    widest : int
        Neurons of a plane.
    count_of_arrays : int
        Number of arrays with those of the layers.
    """

    def __init__(self, row: Row) -> None:
        self.row, self.rows = row, row.steps * row.batch
        self.size = 4 if row.real == "float" else 8
        self.dtype = torch.float32 if row.real == "float" else torch.float64
        self.saved, self.scratch = Arena(SAVED), Arena(SCRATCH)
        self.totals = self.saved.place(8 * TOTALS * len(row.layers))
        self._arrays: list[dict[str, int]] = []
        number = FIRST
        for layer in row.layers:
            names = ["weight", *(["bias"] if layer.is_biased else []), *(f"s{k}" for k in range(layer.states))]
            names += [f"c{k}" for k in range(layer.coefficients)] + (["loop", "z0"] if layer.has_loop else [])
            self._arrays.append({name: number + k for k, name in enumerate(names)})
            number += len(names)
        self.count_of_arrays = number
        self.widest = max(max(each.width, each.n_in * bool(n)) for n, each in enumerate(row.layers))

    def plan_of(self, layer: Layer) -> Plan:
        """Return the plan of a layer's neurons."""
        return find(layer.plan_key)

    def array(self, layer: int, name: str) -> Place:
        """Return a tensor of a layer."""
        return Place(self._arrays[layer][name])

    def several(self, layer: int, name: str) -> list[Place]:
        """Return the states, `name` "s", or the coefficients, "c", of a layer."""
        return [Place(number) for key, number in self._arrays[layer].items() if key[0] == name and key[1:].isdigit()]

    def total(self, layer: int, number: int) -> Place:
        """Return where a number of events is counted; see `TOTALS`."""
        return Place(SAVED, self.totals.offset + 8 * (TOTALS * layer + number))

    def limit(self, inputs: int) -> int:
        """Return how many events of so many inputs are event-driven."""
        return inputs if self.row.by_events else math.floor(CROSSOVER * inputs)

    def is_last(self, number: int) -> bool:
        """Return whether a layer is the last."""
        return number == len(self.row.layers) - 1

    def count(self, calls: CallList, held: Place, width: int, arena: Arena, total: Place, limit: int) -> Place:
        """Count the bits of each row, and return where the events of each begin."""
        starts = arena.place(4 * (self.rows + 1))
        counts = Place(starts.array, starts.offset + 4)
        grain = bits.rows_per_thread(width * bits.WORD // 4)
        calls.add(bits.counting(), self.rows, (held, counts), width, grain=grain)
        calls.add(summing(), 1, (starts, total, OWN_STATUS), self.rows, limit)
        return starts

    def list_bits(self, calls: CallList, held: Place, starts: Place, width: int, index: Place) -> None:
        """List the events of bits."""
        grain = bits.rows_per_thread(width * bits.WORD // 4)
        calls.add(bits.listing(has_wide_vectors()), self.rows, (held, starts, index), width, grain=grain)

    def tiled(self, calls: CallList, weight: Place, width: int, n_in: int, lanes: int) -> Place:
        """Lay out weights as `tiles.tiled` does."""
        count, real = -(-width // lanes), self.row.real
        to = self.scratch.place(count * n_in * lanes * self.size)
        total = count * lanes // tiles.SQUARE[real]
        grain = tiles.grain_of(n_in, real)
        calls.add(tiles.turning(real, True), total, (weight, to), width, n_in, lanes, grain=grain)
        return to

    def clear(self, calls: CallList, place: Place, nbytes: int) -> None:
        """Write zeros, to the end of the last line of the caches."""
        lines = -(-nbytes // LINE)
        calls.add(clearing(), lines, (place,), grain=1 << 12)

    def laid_out(self, calls: CallList, matrix: Place, width: int, columns: int) -> Place:
        """Return a matrix [N, n] as [panels, N, lanes]."""
        real = self.row.real
        count = dense_product.panels_of(columns, real)
        to = self.scratch.place(count * width * dense_product.LANES[real] * self.size)
        calls.add(dense_product.laying_out(real), count * width, (matrix, to), width, columns, grain=1 << 10)
        return to
