"""Learning rules beside plain loops: both find the same, and what is alive is counted right."""

from __future__ import annotations

import pytest
import torch

from benchmarks import rules
from benchmarks.activations import Alive, activations
from benchmarks.options import Options
from benchmarks.plain_rules import RULES
from benchmarks.timing import ImplausibleError

SIZES = (40, 16, 10)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_and_its_plain_loop_find_the_same(name: str) -> None:
    # Neurons at the threshold may part with rounding; such a difference of sums leaves the direction as it is.
    assert rules.agreement(name, 20, SIZES) > 0.9999


def test_the_memory_of_online_rules_does_not_grow_and_that_of_bptt_does() -> None:
    flat = {"SLTT", "SLTT-K, K = 4", "OTTT", "e-prop"}
    flat |= {"FPTT, an update per step", "FPTT, an update per 10 steps", "DECOLLE", "DECOLLE, an update per step"}
    for name in RULES:
        steps = 20 if name.endswith("update per step") else 200  # e-prop works in chunks
        ratio = rules.peak(name, 2 * steps, SIZES) / rules.peak(name, steps, SIZES)
        assert (ratio < 1.1) == (name in flat), (name, ratio)
    assert rules.peak("BPTT, recompute", 400, SIZES) < rules.peak("BPTT", 400, SIZES)


def test_the_benchmark_says_all() -> None:
    found = rules.measure(Options(quick=True))
    shown = rules.table(found)
    for name, each in found["rules"].items():
        assert name in shown and each["agreement"] > 0.999
        assert each["neurosim"]["median_s"] > 0 and each["plain loop"]["median_s"] > 0
        assert list(each["peak_bytes"]) == ["10", "30"]


def test_a_loop_that_does_something_else_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "agreement", lambda *_: 0.5)
    with pytest.raises(ImplausibleError, match="BPTT and its plain loop have different results: their cosine is 0"):
        rules.measure(Options(quick=True))


def test_the_count_of_activations_is_right() -> None:
    x = torch.ones(1000, requires_grad=True)
    with activations(x) as count:
        y = (x * 2).exp()  # exp keeps its result; the product keeps nothing of its own
        assert (count.now, count.peak) == (4000, 4000)
        z = y * y  # the same memory, kept twice more
        assert count.now == 4000
        z.sum().backward()
    assert (count.now, count.peak) == (0, 4000)


def test_the_count_of_what_is_alive_is_right() -> None:
    x = torch.ones(1000)
    with Alive() as alive:
        y = x * 2
        view = y.view(10, 100)
        assert alive.peak == 4000
        y = y + 1  # both are there for a moment, and the view holds the first
        assert alive.peak == 8000
        del view
        x.add_(y)
        for _ in range(5):
            y = y * 2
        assert alive.peak == 8000
    with Alive(lambda tensor: tensor.dim() == 1) as alive:
        kept = x.view(10, 100) * 2
    assert alive.peak == 0 and kept.shape == (10, 100)
