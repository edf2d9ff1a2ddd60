"""The energy figure shows what the report holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.energy import Operations, count_operations, energy
from neurosim.report import energy_figure


def axes_of(figure: Any) -> Any:
    """Untyped on purpose: matplotlib's stubs know less of artists than these tests ask."""
    return figure.axes


@pytest.fixture(scope="module")
def counts() -> Operations:
    torch.manual_seed(1)
    net = ns.Sequential(ns.Linear(20, 12), ns.LIF(dt=1e-3), ns.Linear(12, 4), ns.LIF(dt=1e-3), names=("hidden", "out"))
    with torch.no_grad():
        for edge in net.edges:
            edge.synapses[0].get_parameter("weight").abs_().mul_(8)
    return count_operations(net, (torch.rand(15, 3, 20) < 0.3).float())


def test_far_apart_totals_are_points_on_a_logarithmic_axis(counts: Operations) -> None:
    report = energy(counts)
    left, layers, parts = axes_of(energy_figure(report))
    assert left.get_xscale() == "log"
    drawn = [line for line in left.lines if line.get_marker() == "o"]
    priced = [column for column in report.columns if not column.refused]
    assert [line.get_xdata()[0] for line in drawn] == pytest.approx([column.total for column in priced])
    assert [tick.get_text() for tick in left.get_yticklabels()] == [column.target.title for column in report.columns]
    for axes in (layers, parts):
        ends = np.zeros(len(report.columns))
        for bar in axes.patches:
            row = round(bar.get_y() + bar.get_height() / 2)
            ends[row] = max(ends[row], bar.get_x() + bar.get_width())
        assert ends == pytest.approx([0.0 if column.refused else 1.0 for column in report.columns])


def test_totals_of_like_size_are_stacked_bars_on_a_linear_axis(counts: Operations) -> None:
    report = energy(counts, ("loihi1", "loihi1_board", "truenorth"))
    left = axes_of(energy_figure(report))[0]
    assert left.get_xscale() == "linear"
    unit = {"nJ": 1e-9, "pJ": 1e-12, "µJ": 1e-6}[left.get_xlabel().split("(")[1].rstrip(")")]
    ends = [
        max(b.get_x() + b.get_width() for b in left.patches if round(b.get_y() + b.get_height() / 2) == row)
        for row in range(3)
    ]
    assert np.array(ends) * unit == pytest.approx([column.total for column in report.columns])


def test_a_refused_target_is_a_row_without_a_mark_and_with_its_reason(counts: Operations) -> None:
    figure = energy_figure(energy(counts, ("loihi2", "loihi1")))
    assert any("refused: no public figure" in text.get_text() for text in axes_of(figure)[0].texts)
    assert "Intel Loihi 2 (2021) is refused: Intel has published no energy" in figure.get_supxlabel()
    assert all(
        round(bar.get_y() + bar.get_height() / 2) == 1
        for axes in axes_of(figure)
        for bar in axes.patches
        if bar.get_width()
    )


def test_only_refused_targets_still_make_a_figure(counts: Operations) -> None:
    figure = energy_figure(energy(counts, "loihi2"))
    figure.draw_without_rendering()
    assert any("refused" in text.get_text() for text in axes_of(figure)[0].texts)


def test_a_run_without_spikes_and_price_makes_a_figure() -> None:
    net = ns.Sequential(ns.Linear(3, 2), ns.LIF(dt=1e-3), names=("out",))
    figure = energy_figure(energy(count_operations(net, torch.zeros(3, 1, 3)), ("truenorth", "loihi1")))
    figure.draw_without_rendering()
    assert any(text.get_text() == "0 J" for text in axes_of(figure)[0].texts)


def test_many_layers_are_gathered_to_what_can_be_told_apart() -> None:
    parts: list[Any] = []
    for _ in range(12):
        parts += [ns.Linear(4, 4), ns.LIF(dt=1e-3)]
    net = ns.Sequential(*parts, names=tuple(f"layer{k}" for k in range(12)))
    figure = energy_figure(energy(count_operations(net, torch.ones(3, 1, 4)), "loihi1"))
    labels = [text.get_text() for text in axes_of(figure)[1].get_legend().get_texts()]
    assert len(labels) == 9 and labels[-1] == "other"
