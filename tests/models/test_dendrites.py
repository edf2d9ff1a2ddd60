"""Active dendrites: exact probabilities by counting, and segments that err as often as these say."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.models.dendrites import (
    ActiveDendrites,
    Segments,
    any_of,
    false_match,
    k_winners,
    missed_match,
    overlap_count,
    union_density,
    union_false_match,
)

TABLE = [
    (1024, 20, 10, 6, 4.919e-09),
    (2048, 40, 20, 10, 3.911e-13),
    (2048, 40, 20, 12, 5.773e-17),
    (2048, 40, 20, 15, 1.732e-23),
    (4096, 64, 24, 12, 1.682e-16),
    (200, 4, 24, 3, 5.671e-03),
    (200, 10, 8, 4, 2.057e-04),
    (200_000, 2000, 24, 12, 2.343e-18),
]


@pytest.mark.parametrize(("cells", "active", "synapses", "threshold", "wanted"), TABLE)
def test_false_matches_of_the_reference_table(
    cells: int, active: int, synapses: int, threshold: int, wanted: float
) -> None:
    assert f"{false_match(cells, active, synapses, threshold):.3e}" == f"{wanted:.3e}"


@pytest.mark.parametrize(
    ("threshold", "noise", "wanted"),
    [(12, 12, 0.041), (12, 16, 0.374), (12, 20, 0.829), (10, 12, 6.2e-4), (10, 16, 0.053), (10, 20, 0.376)],
)
def test_missed_matches_of_the_reference_table(threshold: int, noise: int, wanted: float) -> None:
    assert missed_match(40, 20, threshold, noise) == pytest.approx(wanted, rel=0.012)


def test_overlaps_by_listing_every_pattern() -> None:
    counts = [0] * 5
    for pattern in itertools.combinations(range(9), 4):
        counts[len({*pattern} & {0, 1, 2, 3, 4})] += 1
    assert [overlap_count(9, 4, 5, b) for b in range(5)] == counts
    assert overlap_count(9, 4, 5, 5) == overlap_count(9, 4, 5, -1) == 0
    assert false_match(9, 4, 5, 3) == sum(counts[3:]) / math.comb(9, 4)


def test_misses_by_listing_every_segment() -> None:
    # The pattern is cells 0 to 6; 5 and 6 are silent; a segment of 4 synapses fails below 3 active ones.
    missed = sum(len({*segment} - {5, 6}) < 3 for segment in itertools.combinations(range(7), 4))
    assert missed_match(7, 4, 3, 2) == missed / math.comb(7, 4) > 0


def test_limits() -> None:
    assert false_match(50, 5, 8, 0) == 1.0 and false_match(50, 5, 8, 6) == 0.0
    assert missed_match(40, 20, 12, 0) == 0.0 and missed_match(40, 20, 12, 40) == 1.0 == missed_match(40, 20, 21, 0)
    assert false_match(50, 50, 8, 8) == 1.0


def test_a_binomial_differs() -> None:
    # Cells drawn without replacement: at small n a binomial with p = a / n is off by more than a tenth.
    p = 10 / 200
    binomial = sum(math.comb(8, b) * p**b * (1 - p) ** (8 - b) for b in range(4, 9))
    assert binomial > 1.5 * false_match(200, 10, 8, 4)


def test_several_segments_and_unions() -> None:
    p = false_match(200, 10, 8, 2)
    assert any_of(p, 3) == pytest.approx(1 - (1 - p) ** 3, rel=1e-12)
    assert any_of(1e-20, 1000) == pytest.approx(1e-17, rel=1e-9, abs=0.0), "1 - (1 - p)^M itself would give 0"
    assert (any_of(0.3, 0), any_of(1.0, 2), any_of(1.0, 0), any_of(0.0, 5)) == (0.0, 1.0, 0.0, 0.0)
    assert union_density(2048, 40, 20) == pytest.approx(1 - (1 - 40 / 2048) ** 20)
    assert union_false_match(2048, 40, 20) == pytest.approx((1 - (1 - 40 / 2048) ** 20) ** 40)


def patterns(count: int, cells: int, active: int, seed: int = 0) -> Tensor:
    """Draw patterns of exactly `active` cells."""
    draw = torch.Generator().manual_seed(seed)
    chosen = torch.rand(count, cells, generator=draw).topk(active, 1).indices
    return torch.zeros(count, cells).scatter(1, chosen, 1.0)


def tail(successes: int, trials: int, p: float) -> tuple[float, float]:
    """P(X <= k) and P(X >= k) of a binomial X, through logarithms."""

    def log_pmf(k: int) -> float:
        ways = math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        return ways + k * math.log(p) + (trials - k) * math.log1p(-p)

    pmf = [math.exp(log_pmf(k)) for k in range(trials + 1)]
    return math.fsum(pmf[: successes + 1]), math.fsum(pmf[successes:])


def agrees(successes: int, trials: int, p: float, level: float = 1e-3) -> bool:
    """Whether p lies in the Clopper-Pearson interval of the count: neither tail is below half the level."""
    return min(tail(successes, trials, p)) > level / 2


@pytest.mark.parametrize(
    ("cells", "active", "synapses", "threshold", "exact"),
    [(200, 10, 8, 2, 0.053743), (200, 20, 10, 3, 0.06529), (1024, 20, 10, 2, 0.01486)],
)
def test_the_rate_of_false_matches_is_that_of_the_formula(
    cells: int, active: int, synapses: int, threshold: int, exact: float
) -> None:
    p = false_match(cells, active, synapses, threshold)
    assert p == pytest.approx(exact, rel=1e-3)
    segments = Segments.sampled(patterns(1, cells, active, seed=7), synapses, threshold=threshold)
    trials = 20_000
    hits = int(segments(patterns(trials, cells, active)).sum())
    assert agrees(hits, trials, p)
    assert not agrees(hits, trials, false_match(cells, active, synapses, threshold + 1))
    assert not agrees(hits, trials, 1.2 * p), "the test can tell a fifth more from p"


def test_the_rate_of_missed_matches_is_that_of_the_formula() -> None:
    trials, noise, missed = 4000, 16, 0
    for seed in range(20):
        whole = patterns(trials // 20, 300, 40, seed)
        segments = Segments.sampled(whole, 20, threshold=12, generator=torch.Generator().manual_seed(seed))
        order = torch.where(whole > 0, torch.rand(whole.shape), 2.0).argsort(1).argsort(1)
        noisy = whole * (order >= noise)
        assert noisy.sum(1).unique().tolist() == [24.0]
        assert bool(segments(whole).diagonal().all())
        missed += int((~segments(noisy).diagonal()).sum())
    assert agrees(missed, trials, missed_match(40, 20, 12, noise))


def test_several_segments_are_active_as_often_as_independent_ones() -> None:
    trials, p = 10_000, false_match(200, 10, 8, 2)
    segments = Segments.sampled(patterns(4, 200, 10, seed=9), 8, threshold=2)
    hits = int(segments(patterns(trials, 200, 10)).any(1).sum())
    # Segments that share no cell are nearly, not exactly, independent: within a twentieth here.
    assert hits / trials == pytest.approx(any_of(p, 4), rel=0.1)
    assert hits / trials > 2 * p


def test_synapses_come_from_active_cells_and_differ() -> None:
    made = patterns(50, 100, 12)
    segments = Segments.sampled(made, 10, threshold=5)
    assert segments.synapses.shape == (50, 10)
    assert bool(made.gather(1, segments.synapses).all())
    assert all(len({*row}) == 10 for row in segments.synapses.tolist())
    assert torch.equal(segments.active(made).diagonal(), torch.full((50,), 10))


def test_segments_take_spikes_of_any_shape_and_count_them_once() -> None:
    segments = Segments(torch.tensor([[0, 1, 2], [2, 3, 4]]), cells=6, threshold=2)
    z = torch.zeros(3, 2, 6)
    z[1, 0, [1, 2]] = 1.0
    z[2, 1, 2] = 9.0  # one strong cell is still one synapse
    answers = segments(z)
    assert answers.shape == (3, 2, 2) and answers.nonzero().tolist() == [[1, 0, 0]]


def test_exactly_k_win() -> None:
    x = torch.tensor([[1.0, 3.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    kept = k_winners(x, 2)
    assert kept.tolist() == [[0.0, 3.0, 0.0, 3.0], [0.0] * 4]
    (slope,) = torch.autograd.grad(kept.sum(), x)
    assert slope.tolist() == [[0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]]


def test_the_strongest_segment_gates_with_its_sign() -> None:
    layer = ActiveDendrites(3, 2, context=2, segments=2, winners=2).double()
    with torch.no_grad():
        layer.segments.copy_(torch.tensor([[[1.0, 0.0], [-3.0, 0.0]], [[2.0, 0.0], [0.5, 9.0]]]))
    context = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    wanted = torch.sigmoid(torch.tensor([[-3.0, 2.0]], dtype=torch.float64))
    torch.testing.assert_close(layer.gate(context), wanted)
    x = torch.randn(1, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x, context), layer.feed_forward(x) * wanted)
    assert torch.equal(layer(x), layer.feed_forward(x))
    many = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(many, context), layer(many, context.expand(5, -1)))
    layer(x, context).sum().backward()
    # Only the segment that won learns.
    assert (layer.segments.grad != 0).any(-1).tolist() == [[False, True], [True, False]]


def test_wrong_input_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="there cannot be"):
        false_match(10, 11, 3, 1)
    with pytest.raises(InputError, match="threshold must be an integer"):
        false_match(10, 5, 3, 0.5)
    with pytest.raises(InputError, match="probability must be"):
        any_of(1.5, 2)
    table = torch.tensor([[0, 1, 2]])
    for synapses, choice, text in (
        (table, dict(cells=2, threshold=1), "indices of cells"),
        (torch.tensor([[0, 1, 1]]), dict(cells=4, threshold=1), "two synapses from one cell"),
        (table, dict(cells=4, threshold=4), "threshold must be a number of synapses"),
    ):
        with pytest.raises(InputError, match=text):
            Segments(synapses, **choice)
    with pytest.raises(ShapeError, match="synapses of each"):
        Segments(table[0], cells=4, threshold=1)
    with pytest.raises(InputError, match="cannot be drawn"):
        Segments.sampled(patterns(2, 20, 3), 4, threshold=2)
    with pytest.raises(ShapeError, match=r"\[segments, cells\]"):
        Segments.sampled(torch.ones(3), 1, threshold=1)
    with pytest.raises(ShapeError, match="cells must be"):
        Segments(table, cells=4, threshold=1)(torch.zeros(5))
    with pytest.raises(InputError, match="k must be"):
        k_winners(torch.zeros(3), 4)
    with pytest.raises(InputError, match="winners must be"):
        ActiveDendrites(2, 3, context=1, segments=1, winners=4)
    with pytest.raises(InputError, match="segments must be"):
        ActiveDendrites(2, 3, context=1, segments=0, winners=1)
    with pytest.raises(ShapeError, match="context must be"):
        ActiveDendrites(2, 3, context=4, segments=1, winners=1)(torch.zeros(1, 2), torch.zeros(1, 5))
