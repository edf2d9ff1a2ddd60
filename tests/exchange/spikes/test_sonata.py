"""SONATA spike files: the layout that other readers expect, the round trip, files of other programs, and bad files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import neurosim as ns
from neurosim.errors import ExportError, FileError, InputError
from neurosim.exchange.spikes import read_sonata, write_sonata
from tests.exchange.spikes.test_exports import drawn, same


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 7.3e-4, 1 / 300])
def test_what_is_written_comes_back(dt: float, tmp_path: Path) -> None:
    given = {"E": drawn(20_000_000, dt, 40, seed=1), "I x": drawn(20_000_000, dt, 7, seed=2)}
    write_sonata(tmp_path / "a.h5", given)
    back = read_sonata(tmp_path / "a.h5")
    assert [*back] == [*given]
    for name, events in given.items():
        same(back[name], events)


def test_real_times_come_back_in_double_precision(tmp_path: Path) -> None:
    events = ns.Events(time=[0.1, 1 / 3, 0.7], neuron=[1, 0, 2], duration=1.0, shape=4)
    write_sonata(tmp_path / "a.h5", events)
    back = read_sonata(tmp_path / "a.h5")["spikes"]
    assert back.time.dtype == np.float64 and back.time == pytest.approx(events.time, rel=1e-15)
    assert (back.neuron.tolist(), back.shape, back.duration) == ([1, 0, 2], (4,), 1.0)


def test_the_layout_is_that_of_the_format(tmp_path: Path) -> None:
    write_sonata(tmp_path / "a.h5", {"E": drawn(1000, 1e-4, 5)})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["magic"] == 0x0A7A and file.attrs["version"].tolist() == [0, 1]
        group = file["spikes/E"]
        assert group["timestamps"].dtype == np.float64 and group["timestamps"].attrs["units"] == b"ms"
        assert group["node_ids"].dtype == np.uint64
        kinds = h5py.check_enum_dtype(group.attrs.get_id("sorting").dtype)
        assert kinds == {"none": 0, "by_id": 1, "by_time": 2} and group.attrs["sorting"] == kinds["by_time"]
        assert group["timestamps"][-1] == pytest.approx(99.9)


def other(path: Path, **changes: object) -> None:
    """Write a file as another program does, sorted by neuron."""
    with h5py.File(path, "w") as file:
        group = file.create_group("spikes/cortex")
        group["timestamps"] = changes.get("timestamps", [5.0, 20.5, 1.0])
        group["node_ids"] = changes.get("node_ids", np.array([0, 0, 2], dtype=np.uint64))
        if "units" in changes:
            group["timestamps"].attrs["units"] = changes["units"]
        for name in ("size", "dt", "T", "duration"):
            if name in changes:
                group.attrs[f"neurosim_{name}"] = changes[name]


@pytest.mark.parametrize("units", [None, "ms", np.bytes_("ms")])
def test_a_file_of_another_program_needs_sizes_and_duration(units: object, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    other(path, **({} if units is None else {"units": units}))
    back = read_sonata(path, sizes={"cortex": 3}, duration=0.1)["cortex"]
    assert back.time.tolist() == pytest.approx([1e-3, 5e-3, 20.5e-3])
    assert (back.neuron.tolist(), back.duration) == ([2, 0, 0], 0.1)
    assert back.binned(0.5e-3, 200).step.tolist() == [2, 10, 41]
    with pytest.raises(InputError, match="number of neurons of 'cortex'; give sizes="):
        read_sonata(path, duration=0.1)
    with pytest.raises(InputError, match="length of the run of 'cortex'; give duration="):
        read_sonata(path, sizes={"cortex": 3})
    with pytest.raises(InputError, match="lies outside"):
        read_sonata(path, sizes={"cortex": 3}, duration=0.02)
    with pytest.raises(FileError, match="node_ids holds neuron 2, where 0 to 1 are allowed"):
        read_sonata(path, sizes={"cortex": 2}, duration=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(units="s"), "is in 's', where SONATA has 'ms'"),
        (dict(units=[1, 2]), "attribute 'units' of type"),
        (dict(node_ids=[0, 1]), r"timestamps is of shape \[3\], where \[2\] is expected"),
        (dict(node_ids=[0, 1, -1]), "node_ids holds neuron"),
        (dict(node_ids=[0.5, 1, 2]), "where integers are expected"),
        (dict(timestamps=[1.0, np.nan, 2.0]), "holds NaN or infinity"),
        (dict(dt=1e-3, T=100), "not on the grid of 100 steps"),
        (dict(dt=5e-4, T=41), "not on the grid of 41 steps"),
        (dict(dt=-1.0, T=41), "is no time grid"),
        (dict(dt=1e-3, T=2**60), "is no time grid"),
        (dict(size=0), "has 0 neurons"),
        (dict(size=2.5), "has 2.5 neurons"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_its_place(changes: dict, message: str, tmp_path: Path) -> None:
    other(tmp_path / "a.h5", **({"size": 3} | changes))
    with pytest.raises(FileError, match=message):
        read_sonata(tmp_path / "a.h5", duration=0.1)


@pytest.mark.parametrize("duration", ["text", -1.0, np.nan, np.inf])
def test_a_declared_duration_that_is_none_is_refused(duration: object, tmp_path: Path) -> None:
    other(tmp_path / "a.h5", size=3, duration=duration)
    with pytest.raises(FileError, match="spikes/cortex declares a duration of"):
        read_sonata(tmp_path / "a.h5")


def test_no_file_and_no_population_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        read_sonata(tmp_path / "none.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("spikes")
    with pytest.raises(FileError, match="holds no population"):
        read_sonata(tmp_path / "a.h5")


def test_several_axes_and_names_with_a_slash_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"shape \[2, 3\].*Give Events of the same spikes with shape=6"):
        write_sonata(tmp_path / "a.h5", drawn(100, 1e-3, (2, 3)))
    for name in ("a/b", "", "."):
        with pytest.raises(ExportError, match="use no slash"):
            write_sonata(tmp_path / "a.h5", {name: drawn(100, 1e-3, 2)})
    assert [*tmp_path.iterdir()] == []
