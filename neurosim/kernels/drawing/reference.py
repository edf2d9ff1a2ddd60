"""The definition of drawn synapses, in NumPy.

The synapses of a presynaptic neuron have an order. Synapse m of neuron i has the target that its rule draws, and the
weight and the delay of the words (i, m). So weights and delays do not depend on the rule's way of drawing, and
another distribution of weights leaves pairs and delays as they are.

- *in*, *out*: the words of a row of the rule, a postsynaptic or a presynaptic neuron, give its partners one by one.
- *binomial*: the number of targets of a neuron is drawn, then that many different targets.
- *total* with multapses: a word gives the presynaptic neuron of each synapse, the words of a row then its targets.
- *total* without: pairs of words give pairs of neurons, of which the first different ones count.

Different partners are the first that differ, in the order drawn. Where more than half of all are wanted, those left
out are drawn instead and the others are listed in ascending order: no draw can be endless, whatever is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from neurosim.kernels.drawing.arguments import COUNTS, DELAYS, LONG, PICKS, WEIGHTS, Drawing, Key, Levels, Pairs
from neurosim.kernels.drawing.words import row_words

BLOCK = 1 << 18  # words drawn at once


class Synapses(NamedTuple):
    """Drawn synapses, by presynaptic neuron, in the order of the definition.

    Attributes
    ----------
    starts : ndarray [n_in + 1] of int64
        The synapses of neuron i are those from ``starts[i]`` up to, but without, ``starts[i + 1]``.
    post : ndarray [n] of int32
        Postsynaptic neuron.
    weight : int or ndarray [n] of int32
        In units.
    delay : int or ndarray [n] of int32
        In steps.
    """

    starts: np.ndarray
    post: np.ndarray
    weight: int | np.ndarray
    delay: int | np.ndarray


def draw(drawing: Drawing) -> Synapses:
    """Return the synapses of a projection."""
    starts, post = draw_pairs(drawing.pairs, drawing.key)
    weight: int | np.ndarray
    delay: int | np.ndarray
    weight, delay = drawing.listed_weight, drawing.listed_delay  # type: ignore[assignment]
    if weight is None:
        weight = draw_levels(drawing.weight, drawing.key, WEIGHTS, starts)
    if delay is None:
        delay = draw_levels(drawing.delay, drawing.key, DELAYS, starts)
    return Synapses(starts, post, weight, delay)


def draw_levels(levels: Levels, key: Key, purpose: int, starts: np.ndarray) -> int | np.ndarray:
    """Return the level of each synapse, int32; one integer if there is one level."""
    if levels.is_constant:
        return levels.first
    found = np.empty(starts[-1], np.int32)
    for rows in _blocks(np.diff(starts)):
        part = slice(starts[rows.start], starts[rows.stop])
        words = row_words(key, purpose, np.arange(rows.start, rows.stop), np.diff(starts[rows.start : rows.stop + 1]))
        found[part] = levels.first + np.searchsorted(levels.limits, words, side="right")
    return found


def draw_pairs(pairs: Pairs, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts [n_in + 1] of the rows, int64, and the postsynaptic neurons [n], int32."""
    n_in, n_out = pairs.n_in, pairs.n_out
    if pairs.kind == "listed":
        assert pairs.listed is not None
        return pairs.listed(key)
    if pairs.kind == "one":
        return np.arange(n_in + 1, dtype=np.int64), np.arange(n_in, dtype=np.int32)
    if pairs.kind == "in":
        counts = np.full(n_out, pairs.number, np.int64)
        sources = _picks(key, counts, n_in, pairs.is_distinct, pairs.without_self)
        order = np.argsort(sources, kind="stable")
        return _starts(np.bincount(sources, minlength=n_in)), (order // pairs.number).astype(np.int32)
    if pairs.kind == "total" and pairs.is_distinct:
        places = _places(key, pairs)
        pre, post = np.divmod(places, n_out - pairs.without_self)
        post += pairs.without_self & (post >= pre)
        return _starts(np.bincount(pre, minlength=n_in)), post.astype(np.int32)
    counts = row_counts(pairs, key)
    return _starts(counts), _picks(key, counts, n_out, pairs.is_distinct, pairs.without_self)


def row_counts(pairs: Pairs, key: Key) -> np.ndarray:
    """Return the number of synapses of each presynaptic neuron [n_in], int64, where the rule draws it before them."""
    n_in = pairs.n_in
    if pairs.kind == "binomial":
        assert pairs.limits is not None
        words = row_words(key, COUNTS, np.arange(n_in), np.ones(n_in, np.int64))
        return pairs.number + np.searchsorted(pairs.limits, words, side="right")
    if pairs.kind == "total":
        words = np.zeros(n_in, np.int64)
        for row in range(-(-pairs.number // LONG)):
            held = np.array([min(LONG, pairs.number - row * LONG)])
            words += np.bincount(row_words(key, COUNTS, np.array([row]), held) * n_in >> 32, minlength=n_in)
        return words
    each = pairs.number if pairs.kind == "out" else pairs.n_out - pairs.without_self
    return np.full(n_in, each, np.int64)


def _picks(key: Key, counts: np.ndarray, others: int, distinct: bool, without_self: bool) -> np.ndarray:
    """Return the partners of each row, one row behind the other, int32, among `others` neurons."""
    choices = others - without_self
    found = np.empty(counts.sum(), np.int32)
    starts = _starts(counts)
    for rows in _blocks(counts):
        part = slice(starts[rows.start], starts[rows.stop])
        numbers, wanted = np.arange(rows.start, rows.stop), counts[rows]
        if not distinct:
            picked = row_words(key, PICKS, numbers, wanted) * choices >> 32
        else:
            picked = _different(key, numbers, wanted, choices)
        if without_self:
            picked += picked >= np.repeat(numbers, wanted)
        found[part] = picked
    return found


def _different(key: Key, rows: np.ndarray, counts: np.ndarray, choices: int) -> np.ndarray:
    """Return `counts` different numbers below `choices` for each row, one row behind the other."""
    is_left_out = 2 * counts > choices
    drawn = np.where(is_left_out, choices - counts, counts)
    values = _first_different(key, rows, drawn, choices)
    if not is_left_out.any():
        return values
    parts = np.split(values, np.cumsum(drawn)[:-1])
    return np.concatenate(
        [
            np.setdiff1d(np.arange(choices), part, assume_unique=True) if left else part
            for part, left in zip(parts, is_left_out, strict=True)
        ]
    )


def _first_different(key: Key, rows: np.ndarray, counts: np.ndarray, choices: int) -> np.ndarray:
    """Return the first `counts` numbers of each row that differ, one row behind the other, in the order drawn."""
    length = np.minimum(counts + counts * counts // max(choices, 1) + 16, 3 * counts + 64)
    while True:
        values = row_words(key, PICKS, rows, length) * choices >> 32
        owner = np.repeat(np.arange(len(rows)), length)
        first = np.zeros(len(values), bool)
        first[np.unique(owner * choices + values, return_index=True)[1]] = True
        rank = np.cumsum(first)
        rank -= np.concatenate(([0], rank))[(np.cumsum(length) - length)][owner]
        enough = np.bincount(owner, weights=first, minlength=len(rows)) >= counts
        if enough.all():
            return values[first & (rank <= counts[owner])]
        length = np.where(enough, length, 2 * length)


def _places(key: Key, pairs: Pairs) -> np.ndarray:
    """Return the places ``pre * targets + target`` of `count` different pairs, ascending."""
    n_in, targets = pairs.n_in, pairs.n_out - pairs.without_self
    every = n_in * targets
    is_left_out = 2 * pairs.number > every
    wanted = every - pairs.number if is_left_out else pairs.number
    length = wanted + wanted * wanted // every + 64
    while True:
        rows = np.arange(-(-2 * length // LONG))
        held = np.minimum(2 * length - rows * LONG, LONG)
        words = row_words(key, PICKS, rows, held).reshape(-1, 2)
        places = (words[:, 0] * n_in >> 32) * targets + (words[:, 1] * targets >> 32)
        places, index = np.unique(places, return_index=True)
        if len(places) >= wanted:
            break
        length *= 2
    chosen = places[np.sort(np.argsort(index, kind="stable")[:wanted])]
    if not is_left_out:
        return chosen
    exists = np.ones(every, bool)
    exists[chosen] = False
    return np.flatnonzero(exists)


def _blocks(counts: np.ndarray) -> Iterator[slice]:
    """Yield ranges of rows that hold `BLOCK` synapses or one row."""
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        before = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, before + BLOCK, side="right")), first + 1)
        yield slice(first, last)
        first = last


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
