"""The raster shows each spike once, in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from neurosim.errors import InputError
from neurosim.recording.recording import Recording
from neurosim.report import raster
from neurosim.report.plots.style import PALETTE


def axes_of(figure: Any) -> Any:
    """Untyped on purpose: matplotlib's stubs know less of artists than these tests ask."""
    return figure.axes


def marks(axes: Any) -> list[Any]:
    return [line for line in axes.lines if line.get_marker() == "|"]


def test_every_spike_is_a_mark_at_its_time_and_neuron(recording: Recording) -> None:
    figure = raster(recording, ["hidden"], samples=[2])
    spikes = recording.spikes["hidden"]
    mine = spikes.batch == 2
    (drawn,) = marks(axes_of(figure)[0])
    assert mine.sum() > 20
    assert drawn.get_xdata() == pytest.approx(spikes.step[mine] * 1.0)
    assert np.array_equal(drawn.get_ydata(), spikes.neuron[mine])
    assert axes_of(figure)[0].get_xlabel() == "time (ms)"


def test_samples_stand_side_by_side_with_separators(recording: Recording) -> None:
    figure = raster(recording, ["out"], samples=[4, 0, 1])
    axes = axes_of(figure)[0]
    spikes = recording.spikes["out"]
    for place, (sample, drawn) in enumerate(zip((4, 0, 1), marks(axes), strict=True)):
        assert drawn.get_xdata() == pytest.approx(place * 40 + spikes.step[spikes.batch == sample] * 1.0)
    separators = [line.get_xdata()[0] for line in axes.lines if line.get_marker() != "|"]
    assert separators == [40.0, 80.0]
    assert [text.get_text() for text in axes.texts] == ["sample 4", "sample 0", "sample 1"]


def test_the_first_four_samples_and_all_layers_are_the_default(recording: Recording) -> None:
    figure = raster(recording)
    assert len(axes_of(figure)) == 4, "two layers, each with its rates"
    assert [len(marks(axes_of(figure)[k])) for k in (0, 2)] == [4, 4]
    assert [axes_of(figure)[k].get_ylabel() for k in (0, 2)] == ["hidden", "out"]


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_layers_or_classes_have_a_colour_each(recording: Recording, kind: Any) -> None:
    by_layer = raster(recording)
    assert {to_hex(line.get_color()).upper() for line in marks(axes_of(by_layer)[0])} == {PALETTE[0]}
    assert {to_hex(line.get_color()).upper() for line in marks(axes_of(by_layer)[2])} == {PALETTE[1]}
    by_class = raster(recording, labels=kind([7, 2, 7, 5, 2]), colour_by="class")
    drawn = [to_hex(line.get_color()).upper() for line in marks(axes_of(by_class)[0])]
    assert drawn == [PALETTE[2], PALETTE[0], PALETTE[2], PALETTE[1]]
    assert axes_of(by_class)[0].texts[0].get_text() == "sample 0, class 7"


def test_the_rates_at_the_side_are_the_means_over_the_shown_samples(recording: Recording) -> None:
    figure = raster(recording, ["out"], samples=[1, 3])
    (bars,) = axes_of(figure)[1].patches
    counts = recording.spikes["out"].count()[[1, 3]].sum(0)
    assert bars.get_data().values == pytest.approx(counts / (2 * 0.040))
    assert axes_of(figure)[1].get_xlabel() == "rate (Hz)"


def test_a_large_layer_is_thinned_and_says_so(recording: Recording) -> None:
    figure = raster(recording, ["hidden"], samples=[0], neurons=4)
    axes = axes_of(figure)[0]
    assert axes.get_ylabel() == "hidden\n4 of 12"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "4", "7", "11"]
    spikes = recording.spikes["hidden"]
    kept = (spikes.batch == 0) & np.isin(spikes.neuron, [0, 4, 7, 11])
    assert len(marks(axes)[0].get_xdata()) == kept.sum() > 0


def test_a_recording_on_disk_is_drawn_as_one_in_memory(recording: Recording, tmp_path: Path) -> None:
    recording.save(tmp_path / "run.h5")
    with Recording.load(tmp_path / "run.h5") as kept:
        a, b = raster(recording), raster(kept)
    for left, right in zip(marks(axes_of(a)[0]), marks(axes_of(b)[0]), strict=True):
        assert np.array_equal(left.get_xydata(), right.get_xydata())


def test_a_silent_layer_is_drawn_empty(recording: Recording) -> None:
    silent = recording.spikes["out"].between(0, 0)
    empty = Recording({"out": silent}, {}, dt=1e-3, T=40, B=5, state=recording.state)
    figure = raster(empty)
    figure.draw_without_rendering()
    assert len(marks(axes_of(figure)[0])[0].get_xdata()) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(names=["hiden"]), "no spikes of 'hiden' were recorded. Recorded: hidden, out"),
        (dict(names=[]), "no spikes were recorded"),
        (dict(samples=[5]), r"sample 5 is not among the 5 recorded ones \(0 to 4\)"),
        (dict(samples=[]), "no sample was chosen"),
        (dict(labels=[1, 2]), "one class for each of the 5 samples; got 2"),
        (dict(colour_by="neuron"), "colour_by is 'neuron'. Allowed: 'layer', 'class'"),
        (dict(colour_by="class"), "colour_by='class' needs labels"),
        (dict(neurons=0), "neurons must be at least 1; got 0"),
    ],
)
def test_bad_requests_are_refused(recording: Recording, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        raster(recording, **arguments)
