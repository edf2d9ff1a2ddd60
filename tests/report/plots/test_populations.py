"""The raster of a circuit with the rates below."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import neurosim as ns
from neurosim.errors import InputError, UnitError
from neurosim.recording.recording import Recording
from neurosim.report import population_raster


def axes_of(figure: Any) -> Any:
    """Untyped on purpose: matplotlib's stubs know less of artists than these tests ask."""
    return figure.axes


def circuit(sizes: dict[str, int], T: int = 2000) -> Recording:
    random = np.random.default_rng(0)
    spikes = {
        name: ns.Events.from_grid((random.random((T, 2, size)) < 0.02).astype(np.int64), dt=1e-3)
        for name, size in sizes.items()
    }
    return Recording(spikes, {}, dt=1e-3, T=T, B=2, state=ns.NetworkState({}, {}))


def test_every_spike_of_the_sample_is_drawn_at_its_time_in_its_population() -> None:
    run = circuit({"E": 20, "I": 15})
    upper, _ = axes_of(population_raster(run, sample=1, start=0.5, stop=1.5))
    marks = [line for line in upper.lines if line.get_marker() == "|"]
    top = 0
    for name, line in zip(("E", "I"), marks, strict=True):
        part = run.spikes[name].samples(1).between(500, 1500)
        assert line.get_xdata() == pytest.approx((part.step + 500) * 1.0)
        assert (top - line.get_ydata()).tolist() == part.neuron.tolist()
        top -= run.spikes[name].shape[0]
    assert [label.get_text() for label in upper.get_yticklabels()] == ["E", "I"]
    assert upper.get_xlim() == pytest.approx((500, 1500))
    assert upper.get_ylabel() == "35 neurons"


@pytest.mark.parametrize(("bin", "bins"), [(None, 200), (7e-3, 143)])
def test_the_rates_hold_every_spike(bin: float | None, bins: int) -> None:
    run = circuit({"E": 20, "I": 15})
    _, lower = axes_of(population_raster(run, ["I"], start=0.5, stop=1.5, bin=bin))
    heights, edges, _ = lower.patches[0].get_data()
    assert len(heights) == bins and edges[[0, -1]] == pytest.approx([500, 1500])
    assert (heights * np.diff(edges) * 1e-3).sum() * 15 == pytest.approx(
        len(run.spikes["I"].samples(0).between(500, 1500))
    )


def test_neurons_are_divided_by_the_sizes_and_small_populations_are_seen() -> None:
    run = circuit({"large": 900, "small": 100, "least": 5}, T=1000)
    upper, _ = axes_of(population_raster(run, neurons=60))
    rows = [np.unique(line.get_ydata()) for line in upper.lines if line.get_marker() == "|"]
    assert [len(row) for row in rows] == [54, 12, 5]
    assert upper.get_ylabel() == "71 of 1,005 neurons"
    assert min(rows[0]) > max(rows[1]) > min(rows[1]) > max(rows[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(names=["x"]), "no spikes of 'x' were recorded"),
        (dict(sample=2), "sample 2 is not among the 2"),
        (dict(neurons=0), "neurons must be at least 1"),
        (dict(start=0.0005), "start must be an integer number of steps"),
        (dict(start=1.0, stop=1.0), "start must be before stop"),
        (dict(stop=3.0), "stop at most 2 s"),
        (dict(bin=1.5e-3), "bin must be an integer number of steps"),
    ],
)
def test_what_was_not_recorded_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, UnitError), match=message):
        population_raster(circuit({"E": 4}), **arguments)
