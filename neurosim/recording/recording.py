"""What a simulation leaves behind: spikes as event lists, chosen traces, the final state; in memory or in HDF5."""

from __future__ import annotations

import collections
import dataclasses
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import torch

from neurosim.errors import FileError, InputError
from neurosim.files.atomic import replaced
from neurosim.network.graph import NetworkState

FORMAT = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Spikes:
    """Spikes of one population as events, sorted by step, then sample, then neuron.

    Attributes
    ----------
    step, batch, neuron : array-like [n] of int64
        When, in which sample, and which neuron (index into the flattened population). Numpy arrays, or HDF5
        datasets of a recording on disk, which are read when sliced.
    T, B : int
        Steps and samples of the run.
    shape : tuple of int
        Shape of the population.
    dt : float
        Length of a step, s.
    """

    step: Any
    batch: Any
    neuron: Any
    T: int
    B: int
    shape: tuple[int, ...]
    dt: float

    def __len__(self) -> int:
        return int(self.step.shape[0])

    @property
    def time(self) -> np.ndarray:
        """Times of the spikes in s: the end of the step in which each came is ``(step + 1) dt``."""
        return (np.asarray(self.step) + 1) * self.dt

    def between(self, start: int, stop: int) -> Spikes:
        """Return the spikes of steps ``start <= step < stop``, in memory, with steps counted from `start`."""
        start, stop = max(start, 0), min(stop, self.T)
        first, last = _search(self.step, start), _search(self.step, stop)
        pick = slice(first, last)
        parts = (np.asarray(self.step[pick]) - start, np.asarray(self.batch[pick]), np.asarray(self.neuron[pick]))
        return Spikes(*parts, max(stop - start, 0), self.B, self.shape, self.dt)

    def dense(self) -> np.ndarray:
        """Return the spikes as 0/1 of shape [T, B, *shape], uint8."""
        grid = np.zeros((self.T, self.B, math.prod(self.shape)), np.uint8)
        grid[np.asarray(self.step), np.asarray(self.batch), np.asarray(self.neuron)] = 1
        return grid.reshape(self.T, self.B, *self.shape)

    def count(self) -> np.ndarray:
        """Return how often each neuron fired: int64 [B, *shape]."""
        width = math.prod(self.shape)
        flat = np.asarray(self.batch) * width + np.asarray(self.neuron)
        return np.bincount(flat, minlength=self.B * width).reshape(self.B, *self.shape)

    def rate(self) -> float:
        """Return the mean firing rate of the population in Hz; 0 for a run of no steps."""
        span = self.T * self.dt * self.B * math.prod(self.shape)
        return len(self) / span if span else 0.0


def _search(steps: Any, value: int) -> int:
    """Return how many of the sorted `steps` are below `value`, reading a file only where it must."""
    low, high = 0, int(steps.shape[0])
    while low < high:
        middle = (low + high) // 2
        if int(steps[middle]) < value:
            low = middle + 1
        else:
            high = middle
    return low


class Recording:
    """Result of `simulate`.

    Attributes
    ----------
    spikes : dict of str to Spikes
        By node.
    traces : dict of str to array-like [T, B, *shape]
        By ``"node.variable"`` or by node for outputs that are not spikes.
    dt : float
        Length of a step, s.
    T, B : int
        Steps and samples.
    state : NetworkState
        State after the last step, to continue from.
    """

    def __init__(
        self,
        spikes: Mapping[str, Spikes],
        traces: Mapping[str, Any],
        *,
        dt: float,
        T: int,
        B: int,
        state: NetworkState,
        file: h5py.File | None = None,
    ) -> None:
        self.spikes, self.traces = dict(spikes), dict(traces)
        self.dt, self.T, self.B, self.state = dt, T, B, state
        self._file = file

    def rates(self) -> dict[str, float]:
        """Return the mean firing rate of each recorded population, Hz."""
        return {name: spikes.rate() for name, spikes in self.spikes.items()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording to HDF5, whole or not at all.

        Raises
        ------
        FileError
            When the disk refuses; an earlier file at `path` is then untouched.
        """
        with replaced(path) as part, Writer(part, self.dt) as writer:
            for name, spikes in self.spikes.items():
                writer.spikes(name, spikes)
            for name, trace in self.traces.items():
                writer.trace(name, np.asarray(trace))
            writer.finish(self.T, self.B, self.state)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """Open a recording on disk; events and traces are read when used. Close it, or use ``with``.

        Raises
        ------
        FileError
            When the file is missing, damaged or not a recording.
        """
        if not Path(path).exists():
            raise FileError(f"no recording at {path}; give the path that simulate(..., path=...) or save wrote.")
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise FileError(
                f"{path} is no readable HDF5 file ({error}); it is left as it is. Simulate again."
            ) from error
        try:
            return _read(file)
        except (AttributeError, KeyError, OSError, ValueError, RuntimeError, TypeError) as error:
            file.close()
            raise FileError(
                f"{path} is not a whole recording ({error}); it is left as it is. Simulate again."
            ) from error

    def close(self) -> None:
        """Close the file behind the recording, if there is one."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        spikes = ", ".join(f"{n}: {len(s)} spikes" for n, s in self.spikes.items())
        traces = ", ".join(self.traces)
        return f"<Recording T={self.T} B={self.B} dt={self.dt:g} s; {spikes}{'; ' * bool(traces and spikes)}{traces}>"


class _Disk(io.RawIOBase):
    """A file handed to HDF5 that takes every write, and tells us of the one the system refused.

    HDF5 does not survive a full disk: what it holds back until it closes is lost without an error, and the process
    may crash when it ends. So it never hears of a failure; `check` raises the first one.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 - closed by `close`
        self._refusal: OSError | None = None

    def check(self) -> None:
        """Raise what the system answered when it first refused to write."""
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
    """An HDF5 file that grows as a simulation goes on.

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

    def spikes(self, name: str, events: Spikes, offset: int = 0) -> None:
        """Append events; their steps count from `offset`."""
        group = self._file.require_group(f"spikes/{name}")
        group.attrs["shape"] = events.shape
        for field in ("step", "batch", "neuron"):
            values = np.asarray(getattr(events, field), np.int64)
            self._append(group, field, values + offset if field == "step" else values)

    def trace(self, name: str, values: np.ndarray) -> None:
        """Append values [steps, B, *shape]."""
        self._append(self._file.require_group("traces"), name, values)

    def finish(self, steps: int, batch: int, state: NetworkState) -> None:
        """Write what is known at the end only."""
        self._file.attrs["T"], self._file.attrs["B"] = steps, batch
        for name, held in state.nodes.items():
            group = self._file.create_group(f"state/nodes/{name}")  # there even if the node has no state
            for variable, value in zip(held._fields, held, strict=True):  # type: ignore[attr-defined]
                group[variable] = value.detach().cpu().numpy()
            group.attrs["order"] = list(held._fields)  # type: ignore[attr-defined]
        for name, line in state.edges.items():
            self._file[f"state/edges/{name}"] = line.detach().cpu().numpy()
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


def _read(file: h5py.File) -> Recording:
    attributes = file.attrs
    if int(attributes["format"]) != FORMAT:
        raise ValueError(f"format {attributes['format']} instead of {FORMAT}")
    dt, steps, batch = float(attributes["dt"]), int(attributes["T"]), int(attributes["B"])
    spikes = {}
    for name, group in file.get("spikes", {}).items():
        shape = tuple(int(n) for n in group.attrs["shape"])
        fields = (group["step"], group["batch"], group["neuron"])
        if len({f.shape for f in fields}) != 1:
            raise ValueError(f"event lists of {name!r} differ in length")
        spikes[name] = Spikes(*fields, steps, batch, shape, dt)
    traces = dict(file.get("traces", {}).items())
    short = [name for name, trace in traces.items() if trace.shape[:2] != (steps, batch)]
    if short:
        raise ValueError(f"traces {short} are not [{steps}, {batch}, ...]")
    nodes = {}
    for name, group in file.get("state/nodes", {}).items():
        order = [str(v) for v in group.attrs["order"]]
        nodes[name] = collections.namedtuple(f"{name}_state", order, rename=True)(
            *(torch.from_numpy(group[v][...]) for v in order)
        )
    edges = {name: torch.from_numpy(line[...]) for name, line in file.get("state/edges", {}).items()}
    return Recording(spikes, traces, dt=dt, T=steps, B=batch, state=NetworkState(nodes, edges), file=file)


def events(z: np.ndarray, dt: float) -> Spikes:
    """Return the spikes of ``z`` [T, B, *shape] as events.

    Raises
    ------
    InputError
        When z holds anything but 0 and 1.
    """
    shape = z.shape[2:]
    flat = z.reshape(z.shape[0], z.shape[1], math.prod(shape))
    if not np.isin(flat, (0, 1)).all():
        raise InputError("spikes must be 0 or 1 to be kept as events; record this node as a trace instead.")
    step, batch, neuron = (index.astype(np.int64) for index in np.nonzero(flat))
    return Spikes(step, batch, neuron, z.shape[0], z.shape[1], tuple(shape), dt)
