"""Structural plasticity against its definition: which synapses are lost, and which partners the new ones get."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neurosim.errors import InputError
from neurosim.kernels.common.philox import philox
from neurosim.plasticity import Rewiring
from neurosim.plasticity.rewiring import Pairing


def drawn(n_in: int, n_out: int, degree: int, seed: int = 0, loop: bool = False) -> Pairing:
    """Return synapses with so many distinct inputs of each neuron, none from itself in a loop."""
    random = np.random.default_rng(seed)
    pre = [random.permutation([k for k in range(n_in) if not loop or k != j])[:degree] for j in range(n_out)]
    return Pairing(np.repeat(np.arange(n_out), degree), np.concatenate(pre))


def by_hand(
    rule: Rewiring, pairing: Pairing, lost: list[int], n_in: int, n_out: int, number: int, loop: bool
) -> Pairing:
    """Choose the partner of each new synapse from a list of those that are free."""
    post, pre = pairing.post.tolist(), pairing.pre.tolist()
    alive = set(range(len(post))) - set(lost)
    for n in lost:
        kept, end = (post, post[n]) if rule.keep == "in" else (pre, pre[n])
        free = pre if rule.keep == "in" else post
        taken = set() if rule.multapses else {free[k] for k in alive if kept[k] == end}
        taken |= {end} if loop and not rule.autapses else set()
        choices = [k for k in range(n_in if rule.keep == "in" else n_out) if k not in taken]
        word = philox((n, number, 0, 77), (rule.seed & 0xFFFFFFFF, rule.seed >> 32))[0]
        free[n] = choices[word * len(choices) >> 32]
        alive.add(n)
    return Pairing(np.array(post), np.array(pre))


RULES = [
    Rewiring(every=1.0, weight=1.0, fraction=0.3),
    Rewiring(every=1.0, weight=1.0, below=0.4, keep="out", seed=2**40 + 5),
    Rewiring(every=1.0, weight=1.0, below=0.2, fraction=0.25, multapses=True, autapses=True, seed=3),
]


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_the_partners_are_those_of_the_definition(rule, loop):
    sizes = (30, 30) if loop else (40, 25)
    pairing = drawn(*sizes, 8, loop=loop)
    for number in (1, 2, 3):
        weight = np.random.default_rng(number).uniform(-1, 1, len(pairing.post))
        lost = rule.lost(weight)
        wanted = by_hand(rule, pairing, lost.tolist(), *sizes, number, loop)
        found, grown = rule.grown(pairing, lost, sizes, number, 77, is_loop=loop)
        assert np.array_equal(grown, lost)
        assert np.array_equal(found.post, wanted.post)
        assert np.array_equal(found.pre, wanted.pre)
        kept = 0 if rule.keep == "in" else 1
        assert np.array_equal(found[kept], pairing[kept])  # so the degrees stay
        assert (found[1 - kept] != pairing[1 - kept]).sum() > len(lost) / 2
        if not rule.multapses:
            assert len(set(zip(*found, strict=True))) == len(found.post)
        if loop and not rule.autapses:
            assert (found.post != found.pre).all()
        pairing = found


def test_the_weak_are_lost():
    weight = np.array([0.5, -0.1, 0.0, 0.1, -2.0, 0.3])
    assert Rewiring(1.0, 1.0).lost(weight).tolist() == [2]
    assert Rewiring(1.0, 1.0, below=0.1).lost(weight).tolist() == [1, 2, 3]
    assert Rewiring(1.0, 1.0, fraction=0.34).lost(weight).tolist() == [1, 2]
    assert Rewiring(1.0, 1.0, below=0.3, fraction=0.34).lost(weight).tolist() == [1, 2, 3, 5]
    assert Rewiring(1.0, 1.0, fraction=0.5).lost(np.ones(6)).tolist() == [0, 1, 2]


def test_all_free_partners_are_equally_likely():
    pairing, sizes = drawn(12, 400, 4), (12, 400)
    counts, chances = np.zeros(12), np.zeros(12)
    for number in range(1, 11):
        rule = Rewiring(1.0, 1.0, fraction=0.25)
        lost = np.arange(number % 4, 1600, 4)
        found, _ = rule.grown(pairing, lost, sizes, number, 5, is_loop=False)
        for n in lost:
            gone = [found.pre[k] for k in range(4 * (n // 4), 4 * (n // 4) + 4) if k != n]
            chances[np.setdiff1d(np.arange(12), gone)] += 1 / 9
        counts += np.bincount(found.pre[lost], minlength=12)
    square = ((counts - chances) ** 2 / chances).sum()
    assert square < 11 + 4 * math.sqrt(22)  # chi squared with 11 degrees of freedom


def test_where_no_partner_is_free_the_synapse_stays():
    full = drawn(4, 3, 4)
    found, grown = Rewiring(1.0, 1.0).grown(full, np.array([2, 5]), (4, 3), 1, 5, is_loop=False)
    assert grown.tolist() == [2, 5]  # each takes the one place that it left
    assert np.array_equal(found.pre, full.pre)
    selves = Pairing(np.array([0, 0]), np.array([0, 1]))
    found, grown = Rewiring(1.0, 1.0).grown(selves, np.array([0]), (2, 2), 1, 5, is_loop=True)
    assert grown.tolist() == []
    assert np.array_equal(found.pre, selves.pre)


@pytest.mark.parametrize("keep", ["in", "out"])
def test_a_loop_of_all_pairs_never_gets_a_pair_twice(keep):
    rule = Rewiring(1.0, 1.0, keep=keep)
    for neurons in (2, 3, 4, 6):
        pairing = Pairing(*(each.ravel() for each in np.indices((neurons, neurons))))
        for number in range(1, 30):
            lost = np.flatnonzero(np.random.default_rng(number).random(neurons**2) < 0.6)
            found, grown = rule.grown(pairing, lost, (neurons, neurons), number, 5, is_loop=True)
            assert len(set(zip(*found, strict=True))) == neurons**2
            stays = np.setdiff1d(np.arange(neurons**2), grown)
            assert np.array_equal(found.pre[stays], pairing.pre[stays])
            assert np.array_equal(found.post[stays], pairing.post[stays])


def test_a_fraction_is_a_number_of_synapses_whatever_its_rounding():
    for total in (7, 100, 300):
        numbers = [len(Rewiring(1.0, 1.0, fraction=k / total).lost(np.ones(total))) for k in range(total)]
        assert numbers == list(range(total))
    assert len(Rewiring(1.0, 1.0, fraction=0.29).lost(np.ones(100))) == 29


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(every=0.0), "every must be a time"),
        (dict(weight=math.nan), "weight must be a finite number"),
        (dict(below=-1.0), "below must be a number from 0"),
        (dict(fraction=1.0), "fraction must be in"),
        (dict(keep="both"), 'keep must be "in" or "out"'),
        (dict(seed=-1), "seed must be an integer"),
    ],
)
def test_impossible_numbers_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Rewiring(**{"every": 1.0, "weight": 1.0, **arguments})
