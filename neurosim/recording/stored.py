"""The arrays of a recording on disk: checked before their numbers are used, read when they are needed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurosim.errors import FileError

MOST_STEPS = 2**48
MOST_VALUES = 2**40  # neurons of all samples
CHUNK = 2**20  # events that are checked at a time
_DAMAGE = (OSError, RuntimeError, zlib.error, ValueError, TypeError)


class StoredArray:
    """An HDF5 dataset that names its file where it cannot be read.

    Parameters
    ----------
    path : Path
        The file, for messages.
    data : h5py.Dataset
    verify : callable, optional
        Called before any number is read.
    """

    def __init__(self, path: Path, data: h5py.Dataset, verify: Callable[[], None] = lambda: None) -> None:
        self._path, self._data, self._verify = path, data, verify
        self.shape: tuple[int, ...] = tuple(data.shape)
        self.dtype, self.ndim = data.dtype, len(data.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, place: Any) -> Any:
        self._verify()
        return self.unchecked(place)

    def unchecked(self, place: Any) -> Any:
        """Return numbers without calling `verify`."""
        try:
            return self._data[place]
        except _DAMAGE as error:
            if not self._data:  # closed by the user, or an index out of range
                raise
            if isinstance(error, (ValueError, TypeError)):
                raise
            raise FileError(f"{self._path}: {self._data.name} cannot be read ({error}). Simulate again.") from error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values: np.ndarray = np.asarray(self[...], dtype)
        return values

    def __repr__(self) -> str:
        return f"<StoredArray {list(self.shape)} {self.dtype}>"


class StoredEvents:
    """The three columns of the events of a node, whose order and ranges are checked once, before the first use.

    Parameters
    ----------
    path : Path
    group : h5py.Group
        With the columns ``step``, ``batch`` and ``neuron``.
    steps, batch, neurons : int
        T, B and the number of neurons.

    Raises
    ------
    ValueError
        When the columns are no lists of integers of one length.
    """

    def __init__(self, path: Path, group: h5py.Group, steps: int, batch: int, neurons: int) -> None:
        self._path, self._name = path, group.name
        self._below = {"step": steps, "batch": batch, "neuron": neurons}
        self.columns = {name: StoredArray(path, group[name], self._verify) for name in self._below}
        for name, column in self.columns.items():
            if column.ndim != 1 or column.dtype.kind not in "iu":
                raise ValueError(f"{group.name}/{name} is {column!r}, where a list of integers is expected")
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"the lists of {group.name} differ in length: {lengths}")
        self._is_checked = False

    def _verify(self) -> None:
        if self._is_checked:
            return
        last = -1
        for start in range(0, len(self.columns["step"]), CHUNK):
            for name, below in self._below.items():
                part = self.columns[name].unchecked(slice(start, start + CHUNK)).astype(np.int64)
                if part.min() < 0 or part.max() >= below:
                    wrong = part[(part < 0) | (part >= below)][0]
                    allowed = f"0 to {below - 1}" if below else "none"
                    raise self._refusal(f"{name} holds {wrong}, where {allowed} is allowed")
                if name == "step":
                    if part[0] < last or (np.diff(part) < 0).any():
                        raise self._refusal("step is not in ascending order")
                    last = int(part[-1])
        self._is_checked = True

    def _refusal(self, why: str) -> FileError:
        return FileError(f"{self._path}: {self._name}/{why}. It is left as it is; simulate again.")
