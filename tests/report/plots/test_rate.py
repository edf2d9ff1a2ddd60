"""Rates over neurons and over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurosim.errors import InputError
from neurosim.recording.recording import Recording
from neurosim.report import rates


def axes_of(figure: Any) -> Any:
    """Untyped on purpose: matplotlib's stubs know less of artists than these tests ask."""
    return figure.axes


def test_the_distribution_over_neurons_is_that_of_the_counts(recording: Recording) -> None:
    left, _ = axes_of(rates(recording, ["hidden"]))
    expected = np.sort(recording.spikes["hidden"].count().sum(0)) / (5 * 0.040)
    assert left.lines[0].get_xdata()[1:] == pytest.approx(expected)
    assert left.lines[0].get_ydata()[-1] == 1.0


@pytest.mark.parametrize("bins", [7, 40, 1000])
def test_the_rate_over_time_holds_every_spike(recording: Recording, bins: int) -> None:
    _, right = axes_of(rates(recording, ["out"], bins=bins))
    heights, edges, _ = right.patches[0].get_data()
    assert len(heights) == min(bins, 40)
    total = (heights * np.diff(edges) * 1e-3).sum() * 5 * 3
    assert total == pytest.approx(len(recording.spikes["out"]))
    assert edges[-1] == pytest.approx(40.0) and right.get_xlabel() == "time (ms)"


def test_the_legend_names_layers_and_means(recording: Recording) -> None:
    figure = rates(recording)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [text.split(":")[0] for text in texts] == ["hidden", "out"]
    assert f"mean {recording.spikes['out'].rate():.3g} Hz" in texts[1]


def test_a_layer_that_was_not_recorded_is_refused(recording: Recording) -> None:
    with pytest.raises(InputError, match="no spikes of 'input' were recorded"):
        rates(recording, ["input"])
    with pytest.raises(InputError, match="bins must be at least 1; got 0"):
        rates(recording, bins=0)
