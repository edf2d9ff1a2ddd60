"""The definition of drawn synapses: words at counters, limits of levels, and the order of a neuron's synapses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neurosim.kernels.common.philox import WORD, philox
from neurosim.kernels.drawing import reference
from neurosim.kernels.drawing.arguments import COUNTS, DELAYS, PICKS, WEIGHTS, Drawing, Key, Pairs
from neurosim.kernels.drawing.levels import binomial, constant, grid_unit, limited, on_grid
from neurosim.kernels.drawing.reference import draw
from neurosim.kernels.drawing.words import row_words

KEY = Key((7 << 32) + 5, 123)


def word(purpose: int, row: int, index: int) -> int:
    return int(philox((index // 4, row, purpose, KEY.stream), (5, 7))[index % 4])


def test_words_lie_at_their_counters():
    words = row_words(KEY, WEIGHTS, np.array([3, 0, 9]), np.array([5, 0, 8]))
    places = [(3, n) for n in range(5)] + [(9, n) for n in range(8)]
    assert words.tolist() == [word(WEIGHTS, *place) for place in places]


def test_synapse_m_of_a_neuron_has_the_words_of_its_row():
    weight, delay = limited(np.array([0.2, 0.5, 0.9]), -3), limited(np.array([0.5]), 4)
    for block in (3, 1 << 18):
        reference.BLOCK, kept = block, reference.BLOCK
        try:
            drawn = draw(Drawing(Pairs("out", 5, 70, 35, 7, is_distinct=False), weight, delay, 1.0, KEY))
        finally:
            reference.BLOCK = kept
        assert drawn.starts.tolist() == [0, 7, 14, 21, 28, 35]
        for k in range(35):
            i, m = divmod(k, 7)
            assert drawn.post[k] == word(PICKS, i, m) * 70 >> 32
            share = word(WEIGHTS, i, m) / WORD
            assert drawn.weight[k] == -3 + (share >= 0.2) + (share >= 0.5) + (share >= 0.9)
            assert drawn.delay[k] == 4 + (word(DELAYS, i, m) >= WORD // 2)


def test_different_targets_are_the_first_that_differ():
    pairs = Pairs("out", 20, 24, 240, 12, without_self=True)
    drawn = draw(Drawing(pairs, constant(1), constant(0), 1.0, KEY))
    for i in range(20):
        taken: dict[int, None] = {}
        index = 0
        while len(taken) < (12 if 24 > 23 + 1 else 11):  # 12 of 23 are more than half: 11 are left out
            taken[word(PICKS, i, index) * 23 >> 32] = None
            index += 1
        kept = [target + (target >= i) for target in range(23) if target not in taken]
        assert drawn.post[drawn.starts[i] : drawn.starts[i + 1]].tolist() == kept
    few = draw(Drawing(pairs._replace(number=9), constant(1), constant(0), 1.0, KEY))
    for i in range(20):
        taken, index = {}, 0
        while len(taken) < 9:
            target = word(PICKS, i, index) * 23 >> 32
            taken[target + (target >= i)] = None
            index += 1
        assert few.post[few.starts[i] : few.starts[i + 1]].tolist() == [*taken]


def test_a_total_gives_each_synapse_a_presynaptic_neuron():
    drawn = draw(Drawing(Pairs("total", 6, 9, 50, 50, is_distinct=False), constant(1), constant(0), 1.0, KEY))
    sources = [word(COUNTS, 0, k) * 6 >> 32 for k in range(50)]
    assert np.diff(drawn.starts).tolist() == np.bincount(sources, minlength=6).tolist()
    assert drawn.post[drawn.starts[4] : drawn.starts[5]].tolist() == [
        word(PICKS, 4, m) * 9 >> 32 for m in range(sources.count(4))
    ]


@pytest.mark.parametrize(("trials", "probability"), [(10, 0.3), (1000, 0.02), (20_000, 0.9), (7, 1.0), (1, 1e-9)])
def test_the_limits_of_the_binomial_distribution(trials, probability):
    levels = binomial(trials, probability)
    edges = np.concatenate(([0], levels.limits, [WORD])).astype(np.float64) / WORD
    assert levels.first >= 0 and levels.last <= trials and (np.diff(edges) >= 0).all()
    counts = np.arange(levels.first, levels.last + 1)
    shares = np.diff(edges)
    assert shares @ counts == pytest.approx(trials * probability, rel=1e-6, abs=1e-6)
    variance = trials * probability * (1 - probability)
    assert shares @ counts**2 - (shares @ counts) ** 2 == pytest.approx(variance, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("largest", "unit"), [(1.0, 2**-14), (0.75, 2**-14), (1.0001, 2**-13), (2**14, 1.0), (0, 1.0)])
def test_the_unit_is_the_least_power_of_two_that_holds_the_largest_weight(largest, unit):
    assert grid_unit(largest, 15) == unit


def test_numbers_are_rounded_to_the_nearest_level():
    levels = on_grid(lambda x: np.clip(x / 4, 0, 1), 0.0, 4.0, 1.0)  # uniform in [0, 4)
    assert levels.first == 0 and (levels.limits / WORD).tolist() == [0.125, 0.375, 0.625, 0.875]
    law = on_grid(lambda x: np.array([0.5 * math.erfc(-v) for v in x]), -9.0, 9.0, 0.5)
    assert law.first in (-10, -9) and law.last == -law.first  # levels of no word are left out
