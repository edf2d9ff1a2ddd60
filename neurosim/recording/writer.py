"""Write a recording to HDF5 while a simulation runs."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from neurosim.network.graph import NetworkState
from neurosim.recording.events import Events
from neurosim.recording.trace import Sampling

FORMAT = 3


class _Disk(io.RawIOBase):
    """A file for HDF5 that accepts every write and keeps the first error of the system.

    HDF5 does not survive a full disk: data that it holds back until it closes are lost without an error, and the
    process may crash when it ends. So no error reaches HDF5; `check` raises the first one.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 - closed by `close`
        self._refusal: OSError | None = None

    def check(self) -> None:
        """Raise the first error of the system, if there was one."""
        if self._refusal is not None:
            raise self._refusal

    def close(self) -> None:
        """Close the file underneath as well."""
        self._file.close()
        super().close()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)

    def write(self, data: Any) -> int:
        done = 0
        while self._refusal is None and done < len(data):
            try:
                done += self._file.write(data[done:])
            except OSError as error:
                self._refusal = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._refusal = self._refusal or error
            return size or 0

    def flush(self) -> None:
        """Do nothing: there is no buffer in between."""


class Writer:
    """An HDF5 file to which a simulation appends.

    Parameters
    ----------
    path : pathlib.Path
        An empty file.
    dt : float
        Length of a step, s.

    Raises
    ------
    OSError
        From any method, once the system has refused to write.
    """

    def __init__(self, path: Path, dt: float) -> None:
        self._disk = _Disk(path)
        self._file = h5py.File(self._disk, "w")
        self._file.attrs["format"], self._file.attrs["dt"] = FORMAT, dt

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._file.close()
        self._disk.close()
        if kind is None:
            self._disk.check()

    def spikes(self, name: str, events: Events, offset: int = 0) -> None:
        """Append events; their steps count from `offset`."""
        group = self._file.require_group(f"spikes/{name}")
        group.attrs["shape"] = events.shape
        for field in ("step", "batch", "neuron"):
            values = np.asarray(getattr(events, field), np.int64)
            self._append(group, field, values + offset if field == "step" else values)

    def trace(self, name: str, values: np.ndarray, sampling: Sampling | None = None) -> None:
        """Append values [steps, B, *shape], or those that a sampling keeps [rows, B, n]."""
        group = self._file.require_group("traces")
        is_new = name not in group
        self._append(group, name, values)
        if is_new and sampling is not None:
            group[name].attrs["neurons"] = sampling.neurons
            group[name].attrs["steps"] = np.array(sampling[1:], np.int64)

    def finish(self, steps: int, batch: int, state: NetworkState) -> None:
        """Write the size of the run and the final state."""
        self._file.attrs["T"], self._file.attrs["B"] = steps, batch
        for kind, states in (("nodes", state.nodes), ("plastic", state.plastic)):
            for name, variables in states.items():
                group = self._file.create_group(f"state/{kind}/{name}")  # also for a node without state
                for variable, value in zip(variables._fields, variables, strict=True):  # type: ignore[attr-defined]
                    group[variable] = value.detach().cpu().numpy()
                # Of fixed length: a file read in place may hold nothing of variable length.
                order = [v.encode() for v in variables._fields]  # type: ignore[attr-defined]
                group.attrs["order"] = np.array(order, "S")
        for name, line in state.in_flight.items():
            self._file[f"state/in_flight/{name}"] = line.detach().cpu().numpy()
        self._disk.check()

    def _append(self, group: h5py.Group, name: str, values: np.ndarray) -> None:
        self._disk.check()
        if name not in group:
            row = math.prod(values.shape[1:]) * values.itemsize
            rest = tuple(max(n, 1) for n in values.shape[1:])  # HDF5 has no chunks without content, B may be 0
            chunk = (max(1, min(4096, 2**18 // max(row, 1))), *rest)
            group.create_dataset(
                name, data=values, maxshape=(None, *rest), chunks=chunk, compression="gzip", compression_opts=1
            )
            return
        dataset = group[name]
        dataset.resize(dataset.shape[0] + values.shape[0], axis=0)
        dataset[dataset.shape[0] - values.shape[0] :] = values


def read_sampling(trace: h5py.Dataset) -> Sampling | None:
    """Return which values a stored trace holds; None where it holds all.

    Raises
    ------
    ValueError
        When what the file says of it is damaged.
    """
    if "steps" not in trace.attrs:
        return None
    neurons, steps = (np.asarray(trace.attrs[name]) for name in ("neurons", "steps"))
    if steps.dtype.kind != "i" or steps.shape != (3,) or steps.min() < 0 or steps[2] < 1:
        raise ValueError(
            f"the steps of {trace.name} are {steps.tolist()!r}, where begin, end and distance are expected"
        )
    if neurons.dtype.kind != "i" or neurons.shape != trace.shape[2:] or neurons.min(initial=0) < 0:
        raise ValueError(f"the neurons of {trace.name} do not fit its shape {list(trace.shape)}")
    return Sampling(neurons.astype(np.int64), *steps.tolist())
