"""Traces: the recorded values, the threshold, the spikes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.recording.recording import Recording
from neurosim.report import traces


def axes_of(figure: Any) -> Any:
    """Untyped on purpose: matplotlib's stubs know less of artists than these tests ask."""
    return figure.axes


def test_values_threshold_and_spikes_are_drawn(recording: Recording) -> None:
    figure = traces(recording, "hidden.v", neurons=[3, 7], sample=2, threshold=1.0)
    spikes = recording.spikes["hidden"]
    assert len(axes_of(figure)) == 2
    for axes, neuron in zip(axes_of(figure), (3, 7), strict=True):
        trace, threshold, marks = axes.lines
        assert np.array_equal(trace.get_ydata(), recording.traces["hidden.v"][:, 2, neuron])
        assert trace.get_xdata() == pytest.approx(np.arange(40))
        assert set(threshold.get_ydata()) == {1.0}
        mine = (spikes.batch == 2) & (spikes.neuron == neuron)
        assert marks.get_xdata() == pytest.approx(spikes.step[mine] * 1.0)
        assert axes.get_ylabel() == f"neuron {neuron}"
    assert axes_of(figure)[-1].get_xlabel() == "time (ms)"
    assert figure.get_supylabel() == "hidden: membrane v"


def test_the_busiest_four_neurons_are_the_default(recording: Recording) -> None:
    figure = traces(recording, "hidden.v", sample=1)
    counts = recording.spikes["hidden"].count()[1]
    chosen = [int(axes.get_ylabel().split()[1]) for axes in axes_of(figure)]
    assert len(chosen) == 4 and chosen == sorted(chosen)
    assert sorted(counts[chosen]) == sorted(counts)[-4:]


def test_each_neuron_may_have_its_own_threshold(recording: Recording) -> None:
    figure = traces(recording, "hidden.v", neurons=[5], threshold=torch.arange(12.0, requires_grad=True))
    assert set(axes_of(figure)[0].lines[1].get_ydata()) == {5.0}


def test_without_recorded_spikes_the_trace_stands_alone(recording: Recording, tmp_path: Path) -> None:
    bare = Recording({}, recording.traces, dt=1e-3, T=40, B=5, state=recording.state)
    figure = traces(bare, "hidden.v")
    assert [axes.get_ylabel() for axes in axes_of(figure)] == ["neuron 0", "neuron 1", "neuron 2", "neuron 3"]
    assert len(axes_of(figure)[0].lines) == 1
    bare.save(tmp_path / "bare.h5")
    with Recording.load(tmp_path / "bare.h5") as kept:
        again = traces(kept, "hidden.v")
    assert np.array_equal(axes_of(again)[0].lines[0].get_ydata(), axes_of(figure)[0].lines[0].get_ydata())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(name="hidden.u"), "no trace 'hidden.u' was recorded. Recorded: hidden.v"),
        (dict(name="hidden.v", sample=5), "sample 5 is not among the 5 recorded ones"),
        (dict(name="hidden.v", neurons=[12]), "neuron 12 is not among the 12 of 'hidden'"),
        (dict(name="hidden.v", neurons=[]), "no neuron was chosen"),
        (dict(name="hidden.v", threshold=[1.0, 2.0]), "one per neuron, 12 of 'hidden'; got 2"),
    ],
)
def test_bad_requests_are_refused(recording: Recording, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        traces(recording, **arguments)


def test_neurons_without_a_spike_are_drawn_at_any_size(tmp_path: Path) -> None:
    net = ns.Sequential(ns.Linear(2, 4), ns.LIF(dt=1e-3, v_th=0.5), names=["hidden"])
    with torch.no_grad():
        net.synapses["input->hidden"][0].weight.copy_(torch.tensor([[9.0, 9.0], [0.0, 0.0], [-9.0, -9.0], [1.0, 1.0]]))
    recording = ns.simulate(net, torch.ones(8, 1, 2), record=["hidden", "hidden.v"])
    figure = traces(recording, "hidden.v")
    figure.savefig(tmp_path / "traces.png")  # matplotlib warns where its layout collapses
    for axes in axes_of(figure):
        assert axes.get_position().height > 0.1


def test_some_neurons_at_some_times_are_drawn_at_theirs() -> None:
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(6, 8), ns.LIF(dt=1e-3, r=80.0), names=["hidden"])
    x = torch.rand(40, 2, 6)
    trace = ns.Trace("hidden.v", neurons=[5, 2], every=4e-3, start=8e-3)  # 8 rows of 2: as many as a row each 5 steps
    some, whole = (ns.simulate(net, x, record=["hidden", each]) for each in (trace, "hidden.v"))
    figure = traces(some, "hidden.v", sample=1)
    for axes, neuron in zip(axes_of(figure), (2, 5), strict=True):
        line, *marks = axes.lines
        assert axes.get_ylabel() == f"neuron {neuron}"
        assert line.get_xdata() == pytest.approx(np.arange(8, 40, 4))
        assert np.array_equal(line.get_ydata(), whole.traces["hidden.v"][8::4, 1, neuron])
        spikes = some.spikes["hidden"]
        own = spikes.step[(spikes.batch == 1) & (spikes.neuron == neuron)]
        assert [list(mark.get_xdata()) for mark in marks] == [list(own)] * (len(own) > 0)
    assert len(some.spikes["hidden"]) > 20
    with pytest.raises(InputError, match=r"neuron 3 is not among the 2 of 'hidden' that were traced, \[5, 2\]"):
        traces(some, "hidden.v", neurons=[3])
