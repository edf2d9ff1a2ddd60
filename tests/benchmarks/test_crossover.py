"""Where event-driven products become cheaper than dense ones is measured and drawn."""

from __future__ import annotations

import pytest

from benchmarks import crossover
from benchmarks.options import Options
from benchmarks.timing import ImplausibleError
from neurosim.kernels.common.policy import is_forced
from neurosim.kernels.linear import cpu as linear_cpu


def points(*ratios):
    return [
        {"rate": rate, "event-driven": ratio, "dense": 1.0}
        for rate, ratio in zip((0.01, 0.1, 1.0), ratios, strict=True)
    ]


def test_both_ways_are_timed_and_drawn(tmp_path):
    found = crossover.measure(Options(quick=True, plot=tmp_path / "crossover.svg"))
    assert not is_forced()
    assert {point["rate"] for point in found["work"]["linear 70 to 32"]} == set(crossover.RATES)
    assert all(name in crossover.table(found) for name in found["work"])
    drawn = (tmp_path / "crossover.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml") and "time of event-driven" in drawn.replace("\n", " ")


@pytest.mark.parametrize(
    ("ratios", "rate"),
    [((0.1, 1.0, 2.0), 0.1), ((0.5, 0.5, 2.0), 10**-0.5), ((2.0, 3.0, 4.0), None), ((0.1,) * 3, None)],
)
def test_the_crossing_lies_on_the_line_between_two_rates(ratios, rate):
    assert crossover.crossing(points(*ratios)) == (rate if rate is None else pytest.approx(rate))


def test_ways_that_differ_are_not_timed(monkeypatch):
    monkeypatch.setattr(linear_cpu, "untiled", lambda weight, width: weight.new_zeros(width, weight.shape[1]))
    with pytest.raises(ImplausibleError, match="the two methods differ"):
        crossover.measure(Options(quick=True))
