"""HDF5 files of events: DSEC, Metavision, NIRData, NWB, spoken words."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from neurosim import Events
from neurosim.datasets import read_shd
from neurosim.datasets.events import (
    SensorEvents,
    event_pieces,
    read_events,
    read_nirdata,
    read_nwb_spikes,
    read_spoken_events,
    write_events,
    write_nirdata,
)
from neurosim.errors import FileError, InputError

SHAPE = (2, 30, 40)


def drawn(number: int = 500, B: int = 1, start: int = 0) -> SensorEvents:
    rng = np.random.default_rng(3)
    offsets = np.array([0, *np.sort(rng.integers(0, number, B - 1)), number])
    columns = (start + rng.integers(0, 90_000, number), *(rng.integers(0, n, number) for n in SHAPE[::-1]))
    return SensorEvents(*columns, shape=SHAPE, offsets=offsets, repair=["sort"])


def test_the_layout_of_dsec_is_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, path = drawn(start=1_633_953_629_213_182), tmp_path / "a.h5"
    write_events(path, events)
    assert read_events(path) == events
    monkeypatch.setattr("neurosim.datasets.events.files.reading.PIECE", 1600)
    parts = list(event_pieces(path))
    assert len(parts) == 5 and np.array_equal(np.concatenate([part.t for part in parts]), events.t)
    with h5py.File(path) as file:  # the table by which readers of DSEC find a millisecond
        t, table = file["events/t"][:], file["ms_to_idx"][:]
        assert table.tolist() == [int((t < 1000 * k).sum()) for k in range(len(table))]
        assert int(file["t_offset"][()]) == events.first


@pytest.mark.parametrize("value", ["30", np.array([30, 40]), 30.5])
def test_a_side_that_is_no_integer_is_not_read(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_events(path, drawn())
    with h5py.File(path, "r+") as file:
        file["events"].attrs["height"] = value
    with pytest.raises(FileError, match="does not state the shape"):
        read_events(path)
    assert read_events(path, shape=SHAPE) == drawn()


def test_a_table_of_metavision_is_read(tmp_path: Path) -> None:
    events, path = drawn(), tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        kind = np.dtype([("x", "u2"), ("y", "u2"), ("p", "i2"), ("t", "i8")])
        file.create_dataset("CD/events", data=events.to_array(kind), chunks=(64,), compression="gzip")
        file.attrs["geometry"] = "40x30"
    assert read_events(path, shape=SHAPE) == events
    with pytest.raises(FileError, match="does not state the shape"):
        read_events(path)


def change(path: Path, name: str, values: Any, **how: Any) -> None:
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if values is not None:
            file.create_dataset(name, data=values, **how)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("events/t", np.zeros(500), "types fuuu; integers are read"),
        ("events/x", np.zeros(499, int), r"lengths \[499, 500\]"),
        ("events/x", np.full(500, -1), r"x\[0\] = -1"),
        ("events/p", None, "has neither events/t, x, y and p nor a table CD/events. read_nirdata reads"),
        ("t_offset", np.int64(2**63 - 1), "has a t_offset of 9223372036854775807 us"),
        ("t_offset", np.zeros(2, int), "has a t_offset that is no integer"),
        ("t_offset", np.int64(-(10**6)), r"t\[0\] = -\d+.*repair=\['negative'\]"),
    ],
)
def test_other_arrays_are_refused(name: str, values: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_events(path, drawn())
    change(path, name, values)
    with pytest.raises(FileError, match=message):
        read_events(path)


def test_an_array_that_the_file_does_not_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        kind = np.dtype([("x", "u2"), ("y", "u2"), ("p", "i2"), ("t", "i8")])
        file.create_dataset("CD/events", shape=(2**40,), dtype=kind, chunks=(64,))
    with pytest.raises(FileError, match=r"declares .* bytes, of which the file stores 0|brings the file to"):
        read_events(path, shape=SHAPE)


@pytest.mark.parametrize("shape", [None, SHAPE])
def test_nirdata_holds_samples(shape: tuple[int, ...] | None, tmp_path: Path) -> None:
    events, path = drawn(B=4), tmp_path / "a.nir"
    write_nirdata(path, events)
    found = read_nirdata(path, shape=shape)
    assert found == (events if shape else SensorEvents(events.t, events.address, shape=2400, offsets=events.offsets))


def test_nir_reads_what_was_written_and_is_read(tmp_path: Path) -> None:
    nir = pytest.importorskip("nir")
    events, path = drawn(B=3), tmp_path / "a.nir"
    write_nirdata(path, events, node="cam", observable="z", duration=0.1)
    data = nir.read_data(path).nodes["cam"].observables["z"]
    assert (data.n_neurons, data.t_max) == (2400, 0.1)
    for k in range(3):
        sample, is_event = events.samples(k), data.idx[k] >= 0
        assert data.idx[k][is_event].tolist() == sample.address.tolist() and is_event.sum() == len(sample)
        assert np.rint(1e6 * data.time[k][is_event]).tolist() == sample.t.tolist()
    assert np.isinf(data.time[data.idx < 0]).all()
    graph = nir.NIRGraphData({"a": nir.NIRNodeData({"s": data}), "b": nir.NIRNodeData({"s": data, "r": data})})
    nir.write_data(path, graph)
    assert read_nirdata(path, node="b", observable="r", shape=SHAPE) == events
    with pytest.raises(FileError, match="has 2; give node= one of a, b"):
        read_nirdata(path)
    with pytest.raises(InputError, match="is not of 2400 neurons"):
        read_nirdata(path, node="a", shape=(2, 3, 4))


def test_the_spike_times_of_units_are_read(tmp_path: Path) -> None:
    pytest.importorskip("pynwb")
    from neurosim.exchange.spikes import write_nwb

    spikes = Events(time=[0.25, 0.1, 0.3], neuron=[0, 2, 0], duration=0.5, shape=4)
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    write_nwb(tmp_path / "a.nwb", spikes, start=start, identifier="1")
    assert read_nwb_spikes(tmp_path / "a.nwb") == SensorEvents([100_000, 250_000, 300_000], [2, 0, 0], shape=4)


def test_spoken_words_are_events_with_labels(tmp_path: Path) -> None:
    path, rng = tmp_path / "shd_train.h5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, kind in (("times", "f2"), ("units", "u2")):
            rows = file.create_dataset(f"spikes/{name}", (3,), dtype=h5py.vlen_dtype(np.dtype(kind)))
            for k in range(3):
                values = rng.random(9 * k) if kind == "f2" else rng.integers(0, 700, 9 * k)
                rows[k] = values.astype(kind)
        file["labels"] = np.array([3, 0, 19])
    events, labels = read_spoken_events(path)
    assert labels.tolist() == [3, 0, 19] and np.diff(events.offsets).tolist() == [0, 9, 18]
    counts = events.binned(10e-3, 101)
    assert torch.equal(counts.transpose(0, 1), read_shd(path, dt=10e-3, duration=1.01).x)
    some, _ = read_spoken_events(path, samples=[2, 1])
    assert some == events.samples([2, 1])
    with pytest.raises(InputError, match="sample 3; the file has 0 to 2"):
        read_spoken_events(path, samples=[3])
    with pytest.raises(FileError, match=r"x\[\d+\] = \d+.*outside 0 to 9"):
        read_spoken_events(path, channels=10)


@pytest.mark.parametrize("bad", [-1e-3, np.nan, np.inf, 1e30])
def test_impossible_times_are_refused(bad: float, tmp_path: Path) -> None:
    path = tmp_path / "a.nwb"
    with h5py.File(path, "w") as file:
        file["units/spike_times"], file["units/spike_times_index"] = np.array([0.1, bad]), np.array([2])
    with pytest.raises(FileError, match=r"negative or too large|NaN or infinity"):
        read_nwb_spikes(path)
    with h5py.File(path, "r+") as file:
        file["units/spike_times_index"][0] = 1
    with pytest.raises(FileError, match=r"does not rise to the number|NaN or infinity"):
        read_nwb_spikes(path)


def test_times_in_floating_point_are_refused(tmp_path: Path) -> None:
    kind = [("t", "f8"), ("x", "u2"), ("y", "u2"), ("p", "i2")]
    for time in (1.7, np.nan):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["CD/events"] = np.array([(time, 1, 1, 1)], dtype=kind)
        with pytest.raises(FileError, match="CD/events of types fuui; integers are read"):
            read_events(tmp_path / "a.h5", shape=SHAPE)


def test_nirdata_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    events, path = SensorEvents([0, 1500], [0, 1], shape=3), tmp_path / "a.nir"
    wrong: tuple[dict[str, Any], ...] = (
        *({"duration": each} for each in (np.nan, np.inf, "1", True, 1e-3)),
        *({name: each} for name in ("node", "observable") for each in ("a/b", "", ".", 3)),
    )
    for about in wrong:
        with pytest.raises(InputError, match=f"write_nirdata: {next(iter(about))} = "):
            write_nirdata(path, events, **about)
    with pytest.raises(InputError, match="times in s hold each microsecond below 2251799813685248 us"):
        write_nirdata(path, SensorEvents([2**60 + 1], [0], shape=3))
    assert not path.exists()
    write_nirdata(path, events)
    for neurons in (0, -1, 2**40):
        with h5py.File(path, "a") as file:
            file["nodes/input/observables/spikes"].attrs["n_neurons"] = neurons
        with pytest.raises(FileError, match=f"n_neurons is {neurons}; 1 to 65,536 are read"):
            read_nirdata(path)


def test_arguments_of_reading_are_checked_before_the_file(tmp_path: Path) -> None:
    for about in ({"limit": 0}, {"limit": "1"}, {"repair": ["sorted"]}):
        with pytest.raises(InputError, match=f"{next(iter(about))} = "):
            read_events(tmp_path / "none.raw", **about)  # type: ignore[arg-type]


def test_channels_are_checked_before_the_file(tmp_path: Path) -> None:
    for channels in (0, 2**30, "a"):
        with pytest.raises(InputError, match="shape = "):
            read_spoken_events(tmp_path / "none.h5", channels=channels)  # type: ignore[arg-type]
