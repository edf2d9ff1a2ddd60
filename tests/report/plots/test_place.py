"""Plots are shown by a notebook, and take the place of the user's axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.figure import Figure

from neurosim.errors import InputError
from neurosim.recording.recording import Recording
from neurosim.report import (
    correlogram,
    distributions,
    exit_curve,
    learning_curve,
    population_raster,
    raster,
    rates,
    save_figure,
    traces,
)

PLOTS: dict[str, Callable[..., Any]] = {
    "raster": raster,
    "rates": rates,
    "population_raster": population_raster,
    "distributions": distributions,
    "correlogram": lambda recording, **ax: correlogram(recording, "hidden", "out", bin=1e-3, window=5e-3, **ax),
    "traces": lambda recording, **ax: traces(recording, "hidden.v", **ax),
    "learning_curve": lambda _, **ax: learning_curve([{"epoch": 1, "loss": 0.5, "accuracy": 0.5}], **ax),
    "exit_curve": lambda _, **ax: exit_curve({}, [0.5, 0.6], **ax),
}


@pytest.mark.parametrize("plot", PLOTS)
def test_a_notebook_shows_it(recording: Recording, plot: str) -> None:
    assert PLOTS[plot](recording)._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("layout", ["constrained", None])
def test_it_takes_the_place_of_axes(recording: Recording, plot: str, layout: str | None, tmp_path: Any) -> None:
    figure = Figure(figsize=(12, 8), layout=layout)
    left, right = figure.subplots(1, 2)
    left.plot([1, 2])
    alone = len(PLOTS[plot](recording).axes)
    part = PLOTS[plot](recording, ax=right)
    assert part.figure is figure and right not in figure.axes and len(part.axes) == alone
    save_figure(part, tmp_path / "all.png")
    for axes in part.axes:
        box = axes.get_window_extent()
        assert box.x0 > figure.bbox.width / 2 - 1 and box.width > 10 and box.height > 10


def test_axes_without_a_place_are_refused(recording: Recording) -> None:
    axes = Figure().add_axes((0.1, 0.1, 0.5, 0.5))
    for wrong in (axes, "axes"):
        with pytest.raises(InputError, match="without a place in a grid"):
            raster(recording, ax=wrong)
