"""Rules that draw synapses: numbers, equal probabilities, the same for a seed, and memory for synapses alone."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.kernels.drawing import reference
from neurosim.kernels.sparse.rows import Rows, sorted_rows
from neurosim.synapses.connectivity import (
    AllToAll,
    Bernoulli,
    ConnectionRule,
    FixedInDegree,
    FixedOutDegree,
    FixedTotal,
    OneToOne,
    listed_pairs,
)
from neurosim.synapses.distributions import Constant, LogNormal, Normal, Uniform
from neurosim.synapses.drawing import drawing_of, drawn_rows, key_of, pairs_between

WORDS = [(m, a) for m in ("allowed", "excluded") for a in ("allowed", "excluded")]


def draw_rows(rule: ConnectionRule, n_in: int, n_out: int, seed: int) -> Rows:
    pairs = pairs_between(rule, n_in, n_out)
    return drawn_rows(drawing_of(rule, pairs, Constant(1.0), Constant(0.0), 15, key_of(seed, ""), 1e-3)).rows


def drawn(rule: ConnectionRule, n_in: int, n_out: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return presynaptic and postsynaptic neurons, after a look at their order."""
    rows = draw_rows(rule, n_in, n_out, seed)
    pre, post = rows.pre, rows.post.long()
    again, order = sorted_rows(pre, post, n_in, n_out)
    assert torch.equal(order, torch.arange(len(pre)))  # they are sorted
    assert torch.equal(again.starts, rows.starts) and rows.post.dtype is again.post.dtype
    assert not len(pre) or (pre.min() >= 0 and pre.max() < n_in and post.min() >= 0 and post.max() < n_out)
    return pre.numpy(), post.numpy()


def is_near(found: np.ndarray | float, expected: float, deviation: float) -> bool:
    return bool(np.all(np.abs(np.asarray(found) - expected) < 4.5 * deviation))


@pytest.mark.parametrize("block", [7, 1 << 20])
@pytest.mark.parametrize("autapses", ["allowed", "excluded"])
@pytest.mark.parametrize("p", [0.04, 0.4, 1.0])
def test_bernoulli_connects_each_pair_with_the_same_probability(p, autapses, block, monkeypatch):
    monkeypatch.setattr(reference, "BLOCK", block)
    n, seeds = 8, 250
    counts = np.zeros((n, n))
    for seed in range(seeds):
        rows = draw_rows(Bernoulli(p, autapses), n, n, seed)
        each = np.zeros((n, n))
        np.add.at(each, (rows.pre, rows.post.long()), 1)
        assert each.max() <= 1
        counts += each
    others = ~np.eye(n, dtype=bool) if autapses == "excluded" else np.ones((n, n), bool)
    assert not counts[~others].any()
    assert is_near(counts[others], seeds * p, max((seeds * p * (1 - p)) ** 0.5, 0.1))
    total = seeds * p * others.sum()
    assert is_near(counts.sum(), total, max((total * (1 - p)) ** 0.5, 0.1))


def test_bernoulli_pairs_are_independent():
    pre, post = drawn(Bernoulli(0.1), 500, 400)
    matrix = np.zeros((500, 400))
    matrix[pre, post] = 1
    for axis in (0, 1):  # binomial in rows and columns, no correlation between neighbours
        counts = matrix.sum(axis)
        assert abs(counts.var() / (0.09 * matrix.shape[axis]) - 1) < 0.35
        neighbours = np.corrcoef(*(np.moveaxis(matrix, axis, 0)[k : len(matrix[0]) - 1 + k].ravel() for k in (0, 1)))
        assert abs(neighbours[0, 1]) < 4.5 / matrix.size**0.5


@pytest.mark.parametrize("block", [50, 1 << 20])
@pytest.mark.parametrize(("multapses", "autapses"), WORDS)
@pytest.mark.parametrize("count", [3, 17, 28])
def test_fixed_degrees(count, multapses, autapses, block, monkeypatch):
    monkeypatch.setattr(reference, "BLOCK", block)
    n = 30
    for rule, fixed in ((FixedOutDegree, 0), (FixedInDegree, 1)):
        ends = drawn(rule(count, multapses, autapses), n, n)
        assert np.bincount(ends[fixed], minlength=n).tolist() == [count] * n
        pairs = {*zip(*(e.tolist() for e in ends), strict=True)}
        assert multapses == "allowed" or len(pairs) == n * count
        assert autapses == "allowed" or not (ends[0] == ends[1]).any()
        if count > 3:
            assert multapses == "excluded" or len(pairs) < n * count
            assert autapses == "excluded" or (ends[0] == ends[1]).any()
        others = np.bincount(ends[1 - fixed], minlength=n)
        assert is_near(others, count, count**0.5) and others.std() > 0


@pytest.mark.parametrize(("multapses", "autapses"), WORDS)
@pytest.mark.parametrize("count", [5, 300, 552])
def test_a_fixed_total(count, multapses, autapses):
    pre, post = drawn(FixedTotal(count, multapses, autapses), 24, 24)
    assert len(pre) == count
    pairs = {*zip(pre.tolist(), post.tolist(), strict=True)}
    assert multapses == "allowed" or len(pairs) == count
    assert autapses == "allowed" or not (pre == post).any()
    if count == 300:
        assert (len(pairs) == count) == (multapses == "excluded")
        assert bool((pre == post).any()) == (autapses == "allowed")


@pytest.mark.parametrize("count", [2, 3])  # of five: drawn, or those left out are
@pytest.mark.parametrize("rule", [FixedOutDegree, FixedInDegree])
def test_each_set_of_targets_is_equally_probable(rule, count):
    ends = drawn(rule(count, "excluded"), *((8000, 5) if rule is FixedOutDegree else (5, 8000)))
    fixed, drawn_ones = ends if rule is FixedOutDegree else ends[::-1]
    sets = drawn_ones[np.lexsort((drawn_ones, fixed))].reshape(8000, count)
    found = {each: 0 for each in itertools.combinations(range(5), count)}
    for each in sets.tolist():
        found[tuple(each)] += 1
    assert is_near(np.array([*found.values()]), 800, (8000 * 0.1 * 0.9) ** 0.5)


def test_one_to_one():
    pre, post = drawn(OneToOne(), 9, 9)
    assert pre.tolist() == post.tolist() == [*range(9)]


@pytest.mark.parametrize(
    "rule", [Bernoulli(0.1), FixedOutDegree(5), FixedInDegree(5, "excluded"), FixedTotal(200, "excluded", "excluded")]
)
def test_a_seed_gives_the_same_synapses_and_another_gives_others(rule):
    one, same, other = (ns.Sparse.drawn(50, 50, rule, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.connections, same.connections) and torch.equal(one.weight, same.weight)
    assert one.weight.numel() != other.weight.numel() or not torch.equal(one.connections, other.connections)
    heavy = ns.Sparse.drawn(50, 50, rule, weight=Constant(2.0), seed=3)
    assert torch.equal(heavy.connections, one.connections) and (heavy.weight == 2.0).all()


def test_what_a_seed_gives_stays_as_it_is():
    # Golden values: the definition must not change unnoticed.
    golden = {
        FixedOutDegree(2): [[4, 4, 0, 2, 0, 4, 3, 4, 3, 3, 1, 3], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]],
        FixedInDegree(2, "excluded"): [[1, 2, 4, 0, 1, 3, 4, 0, 2, 3], [0, 0, 2, 3, 3, 3, 4, 5, 5, 5]],
        FixedTotal(4): [[4, 0, 2, 4], [0, 1, 1, 2]],
        FixedTotal(4, "excluded"): [[3, 3, 4, 4], [2, 3, 4, 5]],
    }
    for rule, connections in golden.items():
        assert ns.Sparse.drawn(6, 5, rule, seed=1).connections.tolist() == connections
    synapse = ns.Sparse.drawn(6, 5, FixedOutDegree(2), weight=Uniform(0.0, 1.0), seed=1)
    assert synapse.weight[[0, -1]].tolist() == [0.90313720703125, 0.590087890625]
    assert ns.Sparse.drawn(1000, 1000, Bernoulli(0.01), seed=1).weight.numel() == 9_940


def test_weights_are_those_of_a_linear_layer_unless_said():
    synapse = ns.Sparse.drawn(300, 100, FixedInDegree(25), seed=0)
    weight = synapse.weight.detach()
    assert 0.199 < weight.max() <= 0.2 and -0.2 <= weight.min() < -0.199 and abs(weight.mean()) < 0.01
    assert weight.dtype is torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert ns.Sparse.drawn(3, 4, AllToAll(), seed=0).weight.dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


class Ring(ConnectionRule):
    """A rule of a user: each neuron to the next."""

    def pairs(self, n_in, n_out, has_same_ends):
        pre = np.arange(n_in)[::-1]
        return listed_pairs(pre, (pre + 1) % n_out, n_in, n_out)


def test_a_rule_of_a_user():
    synapse = ns.Sparse.drawn(3, 3, Ring(), weight=Constant(2.0), seed=0)
    assert synapse.dense().tolist() == [[0.0, 0.0, 2.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    with pytest.raises(InputError, match=r"post must lie in 0 ... 1; got 0 to 2"):
        listed_pairs(np.arange(3), np.arange(3), 3, 2)


@pytest.mark.parametrize("autapses", ["allowed", "excluded"])
def test_all_to_all(autapses):
    pre, post = drawn(AllToAll(autapses), 6, 6)
    matrix = np.zeros((6, 6))
    np.add.at(matrix, (pre, post), 1)
    assert (matrix == 1 - (np.eye(6) if autapses == "excluded" else 0)).all()


@pytest.mark.parametrize("rule", [FixedInDegree(40, "excluded", "excluded"), FixedInDegree(41, "excluded")])
def test_r5_an_in_degree_of_the_population_takes_all(rule):
    """No rejection that never ends: all presynaptic neurons, each once."""
    pre, post = drawn(rule, 41, 41)
    assert len({*zip(pre.tolist(), post.tolist(), strict=True)}) == len(pre) == 41 * rule.count


@pytest.mark.parametrize("rule", [FixedInDegree(64), FixedOutDegree(64), FixedTotal(64 * 500), Bernoulli(0.16)])
def test_partners_are_uniform(rule):
    """Chi-square of the number of synapses of each neuron on the free side: 399 or 499 degrees of freedom."""
    pre, post = drawn(rule, *((400, 500) if not isinstance(rule, FixedOutDegree) else (500, 400)), seed=2)
    free, size = (pre, 400) if isinstance(rule, FixedInDegree) else (post, 500)
    size = 400 if isinstance(rule, FixedOutDegree) else size
    counts = np.bincount(free, minlength=size)
    scale = 1 - 0.16 if isinstance(rule, Bernoulli) else 1.0
    chi = ((counts - counts.mean()) ** 2 / (counts.mean() * scale)).sum()
    assert abs(chi - (size - 1)) < 4.5 * (2 * (size - 1)) ** 0.5


def test_the_number_of_targets_is_binomial():
    counts = np.diff(draw_rows(Bernoulli(0.3), 40_000, 10, 5).starts.numpy())
    found = np.bincount(counts, minlength=11) / 40_000
    law = np.array([math.comb(10, k) * 0.3**k * 0.7 ** (10 - k) for k in range(11)])
    assert is_near(found, law, np.maximum((law * (1 - law) / 40_000) ** 0.5, 1e-5))


@pytest.mark.parametrize("law", [Normal(0.5, 0.1), Uniform(-3.0, 1.0), LogNormal(-2.0, 0.5), Normal(-87.8, 8.78)])
def test_weights_lie_on_a_grid_of_a_power_of_two(law):
    pairs = pairs_between(AllToAll(), 100, 100)
    drawing = drawing_of(AllToAll(), pairs, law, Constant(0.0), 15, key_of(1, ""), 1e-3)
    weight = ns.Sparse.drawn(100, 100, AllToAll(), weight=law, seed=1).weight.detach().double().numpy()
    levels = weight / drawing.unit
    assert math.log2(drawing.unit).is_integer()
    assert (levels == np.rint(levels)).all() and np.abs(levels).max() <= 1 << 14
    assert max(abs(drawing.weight.first), drawing.weight.last) > 1 << 12  # the grid is as fine as the bits allow


@pytest.mark.parametrize(
    "rule", [Bernoulli(1e-4), FixedOutDegree(10), FixedInDegree(10), FixedTotal(10**6, "excluded", "excluded")]
)
def test_memory_is_that_of_the_synapses(rule):
    n = 100_000  # a dense matrix of bits would take 1.25 GB
    tracemalloc.start()
    try:
        rows = draw_rows(rule, n, n, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    count = rows.post.numel()
    assert abs(count - 10**6) < 5000
    assert peak < 12 * count + sum(t.nbytes for t in (rows.starts, rows.post)) + 200 * reference.BLOCK


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Bernoulli(0.0), "Bernoulli: probability must be in (0, 1]; got 0.0."),
        (lambda: Bernoulli(0.5, "never"), "Bernoulli: autapses must be 'allowed' or 'excluded'; got 'never'."),
        (lambda: FixedInDegree(0), "FixedInDegree: count must be an integer from 1; got 0."),
        (lambda: FixedTotal(True), "FixedTotal: count must be an integer from 1; got True."),
        (
            lambda: FixedOutDegree(2, multapses="no"),
            "FixedOutDegree: multapses must be 'allowed' or 'excluded'; got 'no'.",
        ),
        (lambda: drawn(OneToOne(), 3, 4), "OneToOne: n_in and n_out must be equal; got 3 and 4."),
        (
            lambda: drawn(FixedInDegree(6, "excluded"), 5, 9),
            "FixedInDegree: count=6 synapses without multapses are more than the 5 presynaptic neurons; use "
            "multapses='allowed', or a smaller count.",
        ),
        (
            lambda: drawn(FixedInDegree(5, "excluded", "excluded"), 5, 5),
            "FixedInDegree: count=5 synapses without multapses are more than the 4 presynaptic neurons other than the "
            "neuron itself; use multapses='allowed', or a smaller count.",
        ),
        (
            lambda: drawn(FixedTotal(13, "excluded", "excluded"), 4, 4),
            "FixedTotal: count=13 synapses without multapses are more than the 12 pairs; use multapses='allowed', or a "
            "smaller count.",
        ),
        (
            lambda: drawn(Bernoulli(0.5, "excluded"), 3, 4),
            "Bernoulli: autapses='excluded' needs a projection of a population to itself; got n_in=3 and n_out=4.",
        ),
        (
            lambda: drawn(Bernoulli(0.5, "excluded"), 1, 1),
            "Bernoulli: one neuron has no synapse where autapses are excluded.",
        ),
        (lambda: key_of(-1, ""), "seed must be an integer from 0 to 2^64 - 1; got -1."),
        (
            lambda: ns.Sparse.drawn(3, 3, 0.1, seed=0),
            "rule must be a ConnectionRule such as Bernoulli(0.1) or FixedInDegree(100); got 0.1.",
        ),
        (
            lambda: ns.Sparse.drawn(3, 3, OneToOne(), weight=0.1, seed=0),
            "weight must be a Distribution such as Constant(1.0); got 0.1.",
        ),
        (
            lambda: draw_rows(OneToOne(), 1 << 32, 1 << 32, 0),
            "OneToOne: 4294967296 x 4294967296 neurons are too many; the limit is 2^31 each.",
        ),
    ],
)
def test_r5_what_cannot_be_drawn_is_refused(make, said):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == said


def test_rows_go_into_a_synapse_as_they_are():
    rows = draw_rows(FixedOutDegree(4), 20, 30, 2)
    synapse = ns.Sparse(20, 30, rows, torch.arange(80.0))
    assert isinstance(synapse.rows, Rows) and torch.equal(synapse.weight, torch.arange(80.0))
    assert torch.equal(synapse.connections, torch.stack((rows.post.long(), rows.pre)))
