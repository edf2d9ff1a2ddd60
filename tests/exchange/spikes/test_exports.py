"""Spikes for Neo, pandas and NWB: complete, in integer steps and double precision; what does not fit is refused."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, InputError
from neurosim.exchange.spikes import to_neo, to_pandas, write_nwb, write_sonata

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def drawn(T: int, dt: float, shape: int | tuple[int, ...], B: int = 1, seed: int = 0) -> ns.Events:
    """Return spikes up to the last step, so that a time is off by rounding if it can be."""
    random = np.random.default_rng(seed)
    size = int(np.prod(shape))
    step, batch, neuron = random.integers(0, T, 300), random.integers(0, B, 300), random.integers(0, size, 300)
    kept = np.unique(np.stack([np.r_[step, T - 1], np.r_[batch, 0], np.r_[neuron, 0]]), axis=1)
    return ns.Events(step=kept[0], batch=kept[1], neuron=kept[2], T=T, B=B, dt=dt, shape=shape)


def same(one: ns.Events, other: ns.Events) -> None:
    assert (one.T, one.B, one.dt, one.shape, one.duration) == (other.T, other.B, other.dt, other.shape, other.duration)
    for name in ("step", "time", "batch", "neuron"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=False), name


@pytest.fixture
def recording() -> ns.Recording:
    spikes = {"E": drawn(10_000, 1e-4, (4, 5), B=3, seed=1), "I": drawn(10_000, 1e-4, 7, B=3, seed=2)}
    trace = np.random.default_rng(3).random((10_000, 3, 2))
    return ns.Recording(spikes, {"E.v": trace}, dt=1e-4, T=10_000, B=3, state=ns.NetworkState({}, {}))


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 7.3e-4])
def test_pandas_and_back(dt: float) -> None:
    pytest.importorskip("pandas")
    given = {"E": drawn(20_000_000, dt, (4, 5), B=3, seed=1), "I": drawn(20_000_000, dt, 7, B=3, seed=2)}
    frame = to_pandas(given)
    assert frame["step"].dtype == np.int64 and frame["time"].dtype == np.float64
    for name, rows in frame.groupby("population", observed=False):
        about = frame.attrs["populations"][name]
        columns = {key: rows[key].to_numpy() for key in ("step", "neuron")}
        same(ns.Events(**columns, batch=rows["sample"].to_numpy(), **about), given[name])
        assert np.array_equal(rows["time"], given[name].time)


def test_pandas_of_real_times() -> None:
    pytest.importorskip("pandas")
    events = ns.Events(time=[0.1, 0.3], neuron=[1, 0], duration=1.0, shape=3)
    frame = to_pandas(events)
    assert [*frame.columns] == ["population", "sample", "neuron", "time"]
    assert frame["population"].tolist() == ["spikes"] * 2
    about = frame.attrs["populations"]["spikes"]
    same(ns.Events(time=frame["time"].to_numpy(), neuron=frame["neuron"].to_numpy(), **about), events)


def test_neo_and_back(recording: ns.Recording) -> None:
    pytest.importorskip("neo")
    block = to_neo(recording)
    assert [segment.name for segment in block.segments] == ["sample 0", "sample 1", "sample 2"]
    for group in block.groups:
        given = recording.spikes[group.name]
        shape, samples = (block.annotations["populations"][group.name][key] for key in ("shape", "B"))
        found = [(t.annotations["steps"], i) for i, t in enumerate(group.spiketrains)]
        step = np.concatenate([steps for steps, _ in found])
        cell = np.concatenate([np.full(len(steps), i) for steps, i in found])
        size = int(np.prod(shape))
        assert len(group.spiketrains) == samples * size
        back = ns.Events(
            step=step, batch=cell // size, neuron=cell % size, T=given.T, B=samples, dt=given.dt, shape=shape
        )
        same(back, given)
        for train in group.spiketrains:
            assert train.dtype == np.float64 and str(train.dimensionality) == "s"
            assert float(train.t_stop) == given.duration
            assert np.array_equal(train.magnitude, train.annotations["steps"] * 1e-4)
    for b, segment in enumerate(block.segments):
        (signal,) = segment.analogsignals
        assert np.array_equal(signal.magnitude, recording.traces["E.v"][:, b])
        assert float(signal.sampling_period) == 1e-4


def test_nwb_and_back(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    given = {"E": drawn(10_000, 1e-4, (2, 3), seed=4), "I": drawn(10_000, 1e-4, 5, seed=5)}
    write_nwb(tmp_path / "run.nwb", given, start=START, identifier="a", description="b")
    with pynwb.NWBHDF5IO(str(tmp_path / "run.nwb"), "r") as reader:
        file = reader.read()
        assert (file.identifier, file.session_description, file.session_start_time) == ("a", "b", START)
        assert file.units.resolution == 1e-4
        assert len(file.units) == 11
        rows = [
            (file.units["population"][k], file.units["neuron"][k], file.units.get_unit_spike_times(k))
            for k in range(11)
        ]
        assert file.units.get_unit_obs_intervals(0).tolist() == [[0.0, 1.0]]
    for name, events in given.items():
        mine = [(neuron, times) for population, neuron, times in rows if population == name]
        time = np.concatenate([times for _, times in mine])
        assert time.dtype == np.float64
        neuron = np.concatenate([np.full(len(times), k) for k, times in mine])
        back = ns.Events(time=time, neuron=neuron, duration=1.0, shape=events.shape).binned(1e-4, 10_000)
        same(back, events)


def test_several_samples_and_traces_are_refused_where_there_is_no_place(
    recording: ns.Recording, tmp_path: Path
) -> None:
    pytest.importorskip("pandas")
    doors = [lambda s: write_sonata(tmp_path / "a.h5", s)]
    if "pynwb" in sys.modules or _is_there("pynwb"):
        doors.append(lambda s: write_nwb(tmp_path / "a.nwb", s, start=START, identifier="a"))
    for write in doors:
        with pytest.raises(ExportError, match=r"'E' has 3 samples.*a file of its own"):
            write(recording.spikes)
    for write in [*doors, to_pandas]:
        with pytest.raises(ExportError, match=r"traces \['E.v'\].*Give recording.spikes"):
            write(recording)
    assert [*tmp_path.iterdir()] == []


def _is_there(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_times_of_single_precision_are_refused(tmp_path: Path) -> None:
    events = ns.Events(time=np.array([0.5], dtype=np.float32), neuron=[0], duration=1.0, shape=1)
    doors = [lambda e: write_sonata(tmp_path / "a.h5", e)]
    doors += [to_pandas] * _is_there("pandas") + [to_neo] * _is_there("neo")
    doors += [lambda e: write_nwb(tmp_path / "a.nwb", e, start=START, identifier="a")] * _is_there("pynwb")
    for write in doors:
        with pytest.raises(ExportError, match="times of 'spikes' are float32"):
            write(events)


def test_clocks_that_cannot_be_together_are_refused(tmp_path: Path) -> None:
    grid, real = drawn(100, 1e-3, 2), ns.Events(time=[0.1], neuron=[0], duration=1.0, shape=1)
    if _is_there("pandas"):
        with pytest.raises(ExportError, match="some populations lie on a grid and some at real times"):
            to_pandas({"a": grid, "b": real})
    if _is_there("pynwb"):
        with pytest.raises(InputError, match=r"one resolution; got dt of \[0.001, None\]"):
            write_nwb(tmp_path / "a.nwb", {"a": grid, "b": real}, start=START, identifier="a")
        with pytest.raises(InputError, match="datetime with a time zone"):
            write_nwb(tmp_path / "a.nwb", grid, start=datetime.datetime(2026, 1, 1), identifier="a")
        with pytest.raises(InputError, match="identifier must not be empty"):
            write_nwb(tmp_path / "a.nwb", grid, start=START, identifier="")


@pytest.mark.parametrize("wrong", [{}, {"E": 3}, 3, None])
def test_what_holds_no_spikes_is_refused(wrong: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"write_sonata: (give a Recording|no spikes were recorded)"):
        write_sonata(tmp_path / "a.h5", wrong)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("pandas", "s.to_pandas(e)"),
        ("neo", "s.to_neo(e)"),
        (
            "pynwb",
            "s.write_nwb('a', e, start=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), identifier='a')",
        ),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(name: str, call: str, root: Path) -> None:
    script = f"""
import sys, datetime
sys.modules[{name!r}] = None
import neurosim as ns, neurosim.exchange.spikes as s
e = ns.Events(step=[0], neuron=[0], T=1, dt=1e-3, shape=1)
try:
    {call}
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=120, check=True
    )
    expected = f"{name} is not installed. Install it with: pip install 'neurosim-toolkit[spikes]'"
    assert done.stdout.strip() == expected


def test_the_clock_of_a_trace_of_some_neurons_is_its_own() -> None:
    pytest.importorskip("neo")
    net = ns.Sequential(ns.Linear(6, 8), ns.LIF(dt=1e-3), names=["E"])
    run = ns.simulate(net, torch.rand(40, 1, 6), record=["E", ns.Trace("E.v", neurons=[5, 2], every=4e-3, start=8e-3)])
    (signal,) = to_neo(run).segments[0].analogsignals
    assert signal.shape == (8, 2) and list(signal.annotations["neurons"]) == [5, 2]
    assert (float(signal.sampling_period), float(signal.t_start)) == (4e-3, 8e-3)
