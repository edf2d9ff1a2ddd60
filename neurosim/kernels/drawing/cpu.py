"""Drawn synapses by compiled code, bit for bit those of the reference, straight into their final memory.

The synapses of each presynaptic neuron are counted, which says where each row begins; then rows are filled, some at a
time so that what is drawn stays in the caches. Rules by presynaptic neuron count before they draw. A rule by
postsynaptic neuron draws twice: once to count, once to fill. Threads have rows or columns of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from neurosim.compiler.llvm.threads import at_once, shares
from neurosim.kernels.drawing import reference
from neurosim.kernels.drawing.arguments import DELAYS, LONG, WEIGHTS, Drawing, Key, Levels, Pairs
from neurosim.kernels.drawing.cpu_code import (
    GUIDE,
    column_machine,
    level_machine,
    row_machine,
    total_machine,
)
from neurosim.kernels.drawing.memory import zeros
from neurosim.kernels.drawing.reference import Synapses

CHUNK = 1 << 15  # synapses drawn at once by a thread: some arrays of so many words fit a second cache
GRAIN = 1 << 16  # synapses that are worth a thread
PIECE = 1 << 12  # words of a piece of a fixed total


class Scratch(NamedTuple):
    """Memory of one thread for the partners of a row.

    Attributes
    ----------
    list, buffer : ndarray of int32
        For the partners of the longest row, and for words.
    bits : ndarray of int64
        A bit for each partner.
    """

    list: np.ndarray
    bits: np.ndarray
    buffer: np.ndarray


def draw(drawing: Drawing) -> Synapses:
    """Return the synapses of a projection; see `reference.draw`."""
    key = drawing.key
    starts, post = draw_pairs(drawing.pairs, key)
    weight: int | np.ndarray | None = drawing.listed_weight
    delay: int | np.ndarray | None = drawing.listed_delay
    if weight is None:
        weight = _levels(drawing.weight, key, WEIGHTS, starts)
    if delay is None:
        delay = _levels(drawing.delay, key, DELAYS, starts)
    return Synapses(starts, post, weight, delay)


def draw_pairs(pairs: Pairs, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts of the rows and the postsynaptic neurons; see `reference.draw_pairs`."""
    structure = Structure(pairs, key)
    starts = np.concatenate(([0], np.cumsum(structure.counts)))
    post = zeros((int(starts[-1]),), np.int32)
    structure.place(post, starts[:-1], 0)
    if structure.is_by_row:
        _each_share(len(structure.counts), len(post), lambda a, b: structure.draw_rows(post, starts, 0, a, b, 0))
    return starts, post


def _levels(levels: Levels, key: Key, purpose: int, starts: np.ndarray) -> int | np.ndarray:
    if levels.is_constant:
        return levels.first
    out = zeros((int(starts[-1]),), np.int32)
    drawer = LevelDrawer(levels, key, purpose, np.arange(levels.first, levels.last + 1))
    counts = np.diff(starts)
    _each_share(len(counts), len(out), lambda a, b: drawer(out, starts, counts, 0, a, b))
    return out


class Structure:
    """The pairs of a rule: how many synapses each presynaptic neuron has, and their targets.

    Attributes
    ----------
    is_by_row : bool
        Whether rows are drawn one by one, by `draw_rows`; else `place` sets all targets.
    counts : ndarray [n_in] of int64
        Synapses of each presynaptic neuron.
    """

    def __init__(self, pairs: Pairs, key: Key) -> None:
        self.pairs, self.key = pairs, key
        self._words = np.array([key.stream, key.seed & 0xFFFFFFFF, key.seed >> 32], np.int64)
        self.is_by_row = pairs.kind in ("out", "binomial", "all") or (pairs.kind == "total" and not pairs.is_distinct)
        self._is_by_column = pairs.kind == "in"
        self._listed: tuple[np.ndarray, np.ndarray] | None = None
        if self._is_by_column:
            self._parts = self._columns()
            self._part_counts = np.zeros((len(self._parts), pairs.n_in), np.int64)
            nothing = np.empty(0, np.int32)
            self._draw_columns("count", self._part_counts, nothing, 0, 0)
            self.counts = self._part_counts.sum(0)
        elif pairs.kind == "total" and not pairs.is_distinct:
            self.counts = self._total()
        elif self.is_by_row:
            self.counts = np.asarray(reference.row_counts(pairs, key), np.int64)
        else:
            self._listed = reference.draw_pairs(pairs, key)
            self.counts = np.diff(self._listed[0])

    def scratch(self) -> Scratch:
        """Return memory for one thread."""
        pairs = self.pairs
        choices = pairs.n_in if self._is_by_column else pairs.n_out
        longest = pairs.number if self._is_by_column else int(self.counts.max(initial=0))
        return Scratch(
            np.empty(longest + 64, np.int32), np.zeros(choices // 64 + 1, np.int64), np.empty(64 + 32, np.int32)
        )

    def place(self, out: np.ndarray, begins: np.ndarray, offset: int) -> None:
        """Set the targets of rules that are not drawn row by row, from `begins` on for each presynaptic neuron.

        Parameters
        ----------
        out : ndarray of uint16 or int32
        begins : ndarray [n_in] of int64
        offset : int
            Added to the targets.
        """
        if self._listed is not None:
            starts, post = self._listed
            places = np.arange(len(post)) + np.repeat(begins - starts[:-1], self.counts)
            out[places] = post + np.int64(offset)
        elif self._is_by_column:
            before = np.cumsum(self._part_counts, axis=0) - self._part_counts
            before += begins
            self._draw_columns("i16" if out.dtype == np.uint16 else "i32", before, out, 0, offset)

    def mark(self, words: np.ndarray, offset: int) -> None:
        """Set the bits of all pairs in words [n_in, width] of int64."""
        pairs, width = self.pairs, words.shape[1]
        if self._is_by_column:
            self._draw_columns("bits", self._part_counts, words, width, offset)
        elif self.is_by_row:
            call = row_machine(pairs.is_distinct, "bits").call

            def rows(first: int, last: int) -> None:
                scratch = self.scratch()
                arrays = (self.counts, self.counts, words, self._words, *scratch)
                choices = pairs.n_out - pairs.without_self
                call(*map(address, arrays), first, last, choices, pairs.without_self, width, offset)

            _each_share(pairs.n_in, pairs.expected, rows)
        else:
            assert self._listed is not None
            pre = np.repeat(np.arange(pairs.n_in), self.counts)
            slot = self._listed[1].astype(np.int64) + offset
            np.bitwise_or.at(words, (pre, slot >> 6), np.int64(1) << (slot & 63))

    def draw_rows(self, out: np.ndarray, place: np.ndarray, base: int, first: int, last: int, offset: int) -> None:
        """Set the targets of presynaptic neurons `first` up to before `last`, from ``place - base`` on for each."""
        pairs = self.pairs
        arrays = (place, self.counts, out, self._words, *self.scratch())
        choices = pairs.n_out - pairs.without_self
        call = row_machine(pairs.is_distinct, "list").call
        call(*map(address, arrays), first, last, choices, pairs.without_self, base, offset)

    def _columns(self) -> list[tuple[int, int]]:
        """Return the postsynaptic neurons that each thread draws; slots of a word of bits are of one thread."""
        pairs = self.pairs
        grain = int(GRAIN / pairs.number) + 1
        workers, share = shares(pairs.n_out, grain, 64)
        share = pairs.n_out if workers <= 1 else share
        return [(first, min(first + share, pairs.n_out)) for first in range(0, pairs.n_out, share)]

    def _draw_columns(self, sink: str, cursors: np.ndarray, out: np.ndarray, width: int, offset: int) -> None:
        pairs = self.pairs
        call = column_machine(pairs.is_distinct, sink).call
        # Bits of one word must be of one thread: parts begin at multiples of 64 beyond an offset that need not be one.
        is_alone = sink == "bits" and offset % 64

        def part(number: int) -> None:
            first, last = self._parts[number]
            arrays = (cursors[number], out, self._words, *self.scratch())
            choices = pairs.n_in - pairs.without_self
            call(*map(address, arrays), first, last, choices, pairs.without_self, pairs.number, width, offset)

        parts = [functools.partial(part, number) for number in range(len(self._parts))]
        if is_alone or len(parts) == 1:
            for each in parts:
                each()
        else:
            at_once(parts)

    def _total(self) -> np.ndarray:
        """Return the number of synapses of each presynaptic neuron of a fixed total."""
        pairs, call = self.pairs, total_machine().call
        found: list[np.ndarray] = []

        def part(first: int, last: int) -> None:
            counts = np.zeros(pairs.n_in, np.int64)
            arrays: tuple[np.ndarray, ...] = (counts, self._words, np.empty(PIECE + 32, np.int32))
            call(*map(address, arrays), first, last, PIECE, LONG // PIECE, pairs.number, pairs.n_in)
            found.append(counts)

        _each_share(-(-pairs.number // PIECE), pairs.number, part)
        return np.sum(found, axis=0)


class LevelDrawer:
    """Draws the levels of a distribution for rows of synapses.

    Parameters
    ----------
    levels : Levels
    key : Key
    purpose : int
    values : ndarray [levels] of int
        What to write for each level.
    """

    def __init__(self, levels: Levels, key: Key, purpose: int, values: np.ndarray) -> None:
        cells = np.arange(1 << GUIDE, dtype=np.int64) << (32 - GUIDE)
        self._guide = np.searchsorted(levels.limits, cells, side="right").astype(np.int32)
        self._limits = np.ascontiguousarray(levels.limits)
        self._values = values.astype(np.int32)
        self._words = np.array([key.stream, key.seed & 0xFFFFFFFF, key.seed >> 32], np.int64)
        self._purpose, self._is_constant = purpose, levels.is_constant

    def __call__(
        self, out: np.ndarray, place: np.ndarray, counts: np.ndarray, base: int, first: int, last: int
    ) -> None:
        """Set the levels of rows `first` up to before `last`, from ``place - base`` on for each."""
        if last <= first:
            return
        buffer = np.empty(int(counts[first:last].max()) + 32, np.int32)
        arrays = (place, counts, out, self._words, buffer, self._guide, self._limits, self._values)
        level_machine().call(*map(address, arrays), first, last, base, len(self._limits), self._purpose)


def address(array: np.ndarray) -> int:
    """Return where the elements of an array begin."""
    return int(array.ctypes.data)


def _each_share(rows: int, synapses: float, part: Callable[[int, int], None]) -> None:
    """Call `part` with the rows of each thread."""
    grain = int(GRAIN * rows / max(synapses, 1)) + 1
    workers, share = shares(rows, grain, 1)
    if workers <= 1:
        part(0, rows)
        return
    at_once([functools.partial(part, first, min(first + share, rows)) for first in range(0, rows, share)])
