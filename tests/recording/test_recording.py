"""Event lists, and recordings that go to disk and come back."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import FileError, InputError
from neurosim.recording.recording import events

DT = 1e-3


@pytest.fixture
def grid():
    return (np.random.default_rng(0).random((7, 3, 2, 4)) < 0.3).astype(np.float32)


@pytest.fixture
def net():
    loop = ns.Recurrent(ns.ALIF(dt=DT, v_th=0.05), ns.Linear(5, 5), delay=2e-3)
    return ns.Sequential(ns.Linear(4, 5), loop, ns.Linear(5, 3), ns.LI(dt=DT), names=("hidden", "out"))


@pytest.fixture
def recording(net):
    return ns.simulate(net, torch.rand(20, 3, 4) * 4, record=("hidden", "out", "hidden.v"))


def test_events_are_sorted_and_hold_the_spikes(grid):
    spikes = events(grid, DT)
    order = list(zip(spikes.step.tolist(), spikes.batch.tolist(), spikes.neuron.tolist(), strict=True))
    assert order == sorted(order)
    assert {(t, b, 4 * y + x) for t, b, y, x in np.argwhere(grid).tolist()} == set(order)
    assert (spikes.step.dtype, spikes.T, spikes.B, spikes.shape, len(spikes)) == (
        np.int64,
        7,
        3,
        (2, 4),
        int(grid.sum()),
    )
    assert spikes.dense().dtype == np.uint8
    assert np.array_equal(spikes.dense(), grid)


def test_counts_rates_and_times(grid):
    spikes = events(grid, DT)
    assert np.array_equal(spikes.count(), grid.sum(0))
    assert spikes.rate() == pytest.approx(grid.mean() / DT)
    assert np.allclose(spikes.time, (np.nonzero(grid)[0] + 1) * DT)
    assert events(grid[:0], DT).rate() == 0.0
    assert events(grid[:0], DT).dense().shape == (0, 3, 2, 4)


@pytest.mark.parametrize(("start", "stop"), [(0, 7), (2, 5), (3, 3), (6, 99), (-4, 2), (5, 2)])
def test_a_part_counts_from_its_start(grid, start, stop):
    part = events(grid, DT).between(start, stop)
    wanted = grid[max(start, 0) : max(stop, 0)]
    assert len(wanted) == part.T
    assert np.array_equal(part.dense(), wanted)


def test_what_is_no_spike_is_not_made_one(grid):
    with pytest.raises(InputError) as caught:
        events(grid * 0.5, DT)
    assert str(caught.value) == "spikes must be 0 or 1 to be kept as events; record this node as a trace instead."


def same(one, other):
    assert (one.dt, one.T, one.B) == (other.dt, other.T, other.B)
    assert sorted(one.spikes) == sorted(other.spikes)
    for name, spikes in one.spikes.items():
        twin = other.spikes[name]
        assert (spikes.T, spikes.B, spikes.shape, spikes.dt) == (twin.T, twin.B, twin.shape, twin.dt)
        for field in ("step", "batch", "neuron"):
            assert np.array_equal(np.asarray(getattr(spikes, field)), np.asarray(getattr(twin, field))), (name, field)
    assert sorted(one.traces) == sorted(other.traces)
    for name, trace in one.traces.items():
        assert np.array_equal(np.asarray(trace), np.asarray(other.traces[name])), name
    for kind in ("nodes", "edges"):
        held, twins = getattr(one.state, kind), getattr(other.state, kind)
        assert sorted(held) == sorted(twins)
        for name, values in held.items():
            assert getattr(values, "_fields", None) == getattr(twins[name], "_fields", None)
            assert all(torch.equal(a, b) for a, b in zip(values, twins[name], strict=True))


def test_a_recording_comes_back_as_it_went(recording, tmp_path):
    recording.save(tmp_path / "run.h5")
    with ns.Recording.load(tmp_path / "run.h5") as loaded:
        same(recording, loaded)
        assert np.array_equal(loaded.spikes["hidden"].dense(), recording.spikes["hidden"].dense())
        assert np.array_equal(loaded.spikes["hidden"].between(4, 9).dense(), recording.spikes["hidden"].dense()[4:9])
        loaded.save(tmp_path / "again.h5")
    with ns.Recording.load(tmp_path / "again.h5") as again:
        same(recording, again)


def test_a_recording_can_be_saved_over_itself(recording, tmp_path):
    recording.save(tmp_path / "run.h5")
    with ns.Recording.load(tmp_path / "run.h5") as loaded:
        loaded.save(tmp_path / "run.h5")
    with ns.Recording.load(tmp_path / "run.h5") as again:
        same(recording, again)


def test_rates_and_summary(recording):
    spikes = recording.spikes["hidden"]
    assert len(spikes) > 0
    assert recording.rates() == {"hidden": spikes.rate()}
    assert repr(recording) == f"<Recording T=20 B=3 dt=0.001 s; hidden: {len(spikes)} spikes; out, hidden.v>"


def test_a_missing_recording_is_named(tmp_path):
    with pytest.raises(FileError) as caught:
        ns.Recording.load(tmp_path / "no.h5")
    assert (
        str(caught.value)
        == f"no recording at {tmp_path / 'no.h5'}; give the path that simulate(..., path=...) or save wrote."
    )


@pytest.mark.parametrize("kept", [0, 1, 40, 0.5, 0.9, -1])
def test_a_truncated_recording_is_refused_and_left(recording, tmp_path, kept):
    path = tmp_path / "run.h5"
    recording.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    before = path.read_bytes()
    with pytest.raises(FileError) as caught:
        ns.Recording.load(path)
    assert str(caught.value).startswith(f"{path} is no readable HDF5 file (")
    assert str(caught.value).endswith("it is left as it is. Simulate again.")
    assert path.read_bytes() == before


def _no_format(file):
    del file.attrs["format"]


def _other_format(file):
    file.attrs["format"] = 99


def _no_neurons(file):
    del file["spikes/hidden/neuron"]


def _short_list(file):
    file["spikes/hidden/step"].resize(1, axis=0)


def _short_trace(file):
    file["traces/out"].resize(3, axis=0)


def _no_group(file):
    del file["spikes"]
    file["spikes"] = 1.0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_no_format, "format"),
        (_other_format, "format 99 instead of 1"),
        (_no_neurons, "neuron"),
        (_short_list, "event lists of 'hidden' differ in length"),
        (_short_trace, r"traces \['out'\] are not \[20, 3, ...\]"),
        (_no_group, "spikes|items"),
    ],
)
def test_a_file_that_is_no_whole_recording_is_refused_and_left(recording, tmp_path, damage, said):
    path = tmp_path / "run.h5"
    recording.save(path)
    with h5py.File(path, "r+") as file:
        damage(file)
    before = path.read_bytes()
    with pytest.raises(
        FileError, match=rf"run\.h5 is not a whole recording \(.*({said}).*\); it is left as it is\. Simulate again\."
    ):
        ns.Recording.load(path)
    assert path.read_bytes() == before


def test_a_node_without_state_is_kept_on_disk(tmp_path):
    @ns.core(state=())
    def relay(i, *, spike):
        return (spike(i),)

    net = ns.Sequential(ns.Linear(3, 2), ns.layer(relay)(dt=1e-3), names=["out"])
    kept = ns.simulate(net, torch.randn(5, 2, 3), path=tmp_path / "run.h5")
    assert kept.spikes["out"].T == 5 and kept.state.nodes["out"] == ()
    assert ns.simulate(net, torch.randn(5, 2, 3), state=kept.state).T == 5
