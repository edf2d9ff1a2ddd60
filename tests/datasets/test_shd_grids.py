"""Files of the Spiking Heidelberg Digits: what they cannot hold is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from neurosim.datasets import read_shd
from neurosim.errors import FileError, InputError, UnitError


def write(path: Path, times: list[list[float]], units: list[list[float]], labels: list[int], kind: str = "u2") -> Path:
    with h5py.File(path, "w") as file:
        for name, lists, of in (("times", times, "f4"), ("units", units, kind)):
            rows = file.create_dataset(f"spikes/{name}", (len(lists),), dtype=h5py.vlen_dtype(np.dtype(of)))
            for n, each in enumerate(lists):
                rows[n] = np.array(each, of)
        file["labels"] = np.array(labels)
    return path


@pytest.mark.parametrize(
    ("times", "units", "labels", "kind", "message"),
    [
        ([[0.1, 0.2]], [[1]], [0], "u2", "times has 2 spikes in sample 0, and units has 1"),
        (
            [[0.1, float("nan")]],
            [[1, 2]],
            [0],
            "u2",
            "times of sample 0 holds a time that is negative, infinite or NaN",
        ),
        ([[-0.1]], [[1]], [0], "u2", "holds a time that is negative"),
        ([[float("inf")]], [[1]], [0], "u2", "infinite"),
        ([[0.1]], [[700]], [0], "u2", "units of sample 0 holds something other than channels 0 to 699"),
        ([[0.1]], [[-1]], [0], "i2", "channels 0 to 699"),
        ([[0.1]], [[1.5]], [0], "f4", "channels 0 to 699"),
        ([[0.1]], [[1]], [20], "u2", "labels holds 20, where 0 to 19 is allowed"),
        ([[0.1]], [[1]], [-1], "u2", "labels holds -1"),
        ([[0.1]], [[1]], [0, 1], "u2", "times holds 1 samples, where there are 2 labels"),
    ],
)
def test_a_file_out_of_form_is_refused(
    tmp_path: Path, times: list[list[float]], units: list[list[float]], labels: list[int], kind: str, message: str
) -> None:
    with pytest.raises(FileError, match=message):
        read_shd(write(tmp_path / "a.h5", times, units, labels, kind))


def test_events_in_any_order_are_counted(tmp_path: Path) -> None:
    data = read_shd(write(tmp_path / "a.h5", [[0.5, 0.1, 0.1]], [[3, 2, 2]], [7]))
    assert data.x[0, 50, 3] == 1 and data.x[0, 10, 2] == 2 and data.x.sum() == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"dt": 10.0}, UnitError),
        ({"duration": 0.0}, InputError),
        ({"duration": 1e9}, InputError),
        ({"duration": 0.1, "dt": 0.03}, UnitError),
        ({"duration": float("nan")}, InputError),
        ({"channels": 0}, InputError),
        ({"samples": [-1]}, InputError),
        ({"samples": [1]}, InputError),
        ({"samples": [0.5]}, InputError),
    ],
)
def test_arguments_out_of_range_are_refused(
    tmp_path: Path, arguments: dict[str, object], error: type[Exception]
) -> None:
    path = write(tmp_path / "a.h5", [[0.1]], [[1]], [0])
    with pytest.raises(error):
        read_shd(path, **arguments)
