"""The result of a simulation: events, traces and the final state, in memory or in an HDF5 file."""

from __future__ import annotations

import collections
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import torch

from neurosim.analysis import Statistics, population_statistics
from neurosim.errors import FileError, InputError
from neurosim.files.atomic import replaced
from neurosim.files.notebook import table_html
from neurosim.files.untrusted_hdf5 import opened_in_place
from neurosim.network.graph import NetworkState
from neurosim.recording.events import Events
from neurosim.recording.stored import MOST_STEPS, MOST_VALUES, StoredArray, StoredEvents
from neurosim.recording.trace import Sampling
from neurosim.recording.writer import FORMAT, Writer, read_sampling
from neurosim.units import check_dt

_LINES_BY_EDGE = 2  # the format before the present one, with spikes in flight for each edge


class Recording:
    """Result of `simulate`.

    Attributes
    ----------
    spikes : dict of str to Events
        By node.
    traces : dict of str to array-like [T, B, *shape]
        By ``"node.variable"``, or by node for outputs that are not spikes. Those of a `Trace` are [rows, B, n], of the
        neurons and times that it names; see `times`.
    samplings : dict of str to Sampling
        Of each trace that a `Trace` asked for: its neurons and steps.
    dt : float
        Length of a step, s.
    T, B : int
        Steps and samples.
    state : NetworkState
        State after the last step, from which a run can continue.
    engine : str or None
        Which engine of `simulate` ran the network: ``"circuit"`` or ``"layered"``; None if it was read from a file.
    """

    engine: str | None = None

    def __init__(
        self,
        spikes: Mapping[str, Events],
        traces: Mapping[str, Any],
        *,
        dt: float,
        T: int,
        B: int,
        state: NetworkState,
        file: h5py.File | None = None,
        samplings: Mapping[str, Sampling] | None = None,
    ) -> None:
        self.spikes, self.traces, self.samplings = dict(spikes), dict(traces), dict(samplings or {})
        self.dt, self.T, self.B, self.state = dt, T, B, state
        self._file = file

    def rates(self) -> dict[str, float]:
        """Return the mean firing rate of each recorded population, Hz."""
        return {name: spikes.rate() for name, spikes in self.spikes.items()}

    def times(self, name: str) -> np.ndarray:
        """Return the times of the values of a trace, s: the beginning of the step after which each was taken.

        Raises
        ------
        InputError
            When there is no such trace.
        """
        if name not in self.traces:
            raise InputError(f"no trace {name!r}; this recording has {list(self.traces)}.")
        steps = self.samplings[name].steps(self.T) if name in self.samplings else np.arange(self.T)
        times: np.ndarray = steps * self.dt
        return times

    def statistics(self, after: float = 0.0, bin: float | None = None) -> Statistics:
        """Return rates, CV, Fano factor, synchrony and the share of silent neurons of each recorded population.

        Parameters
        ----------
        after : float
            Spikes before this time are left out, s; a multiple of dt.
        bin : float, optional
            Width of the bins of Fano factor and synchrony, s; the multiple of dt nearest to 3 ms if left out.

        Returns
        -------
        neurosim.analysis.Statistics
            A dict for each population, a table when printed; see `neurosim.analysis.population_statistics`.

        Raises
        ------
        UnitError
            When `after` or `bin` is not a multiple of dt.
        InputError
            When no spikes were recorded, or `after` is beyond the recording.
        """
        return population_statistics(self.spikes, after, bin)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording to HDF5, completely or not at all.

        Raises
        ------
        FileError
            When the system cannot write; an earlier file at `path` is then unchanged.
        """
        with replaced(path) as part, Writer(part, self.dt) as writer:
            for name, spikes in self.spikes.items():
                writer.spikes(name, spikes)
            for name, trace in self.traces.items():
                writer.trace(name, np.asarray(trace), self.samplings.get(name))
            writer.finish(self.T, self.B, self.state)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """Open a recording on disk; events and traces are read when used. Close it, or use ``with``.

        Raises
        ------
        FileError
            When the file is missing, damaged, not a recording, or holds what a recording does not hold, such as a
            link to another file (see `neurosim.files.untrusted_hdf5`). Sizes are checked here; the order and the
            ranges of a list of events before its first use.
        """
        if not Path(path).exists():
            raise FileError(f"no recording at {path}; give the path that simulate(..., path=...) or save wrote.")
        file = opened_in_place(path, what="a recording")
        try:
            return _read(Path(path), file)
        except (AttributeError, KeyError, OSError, ValueError, RuntimeError, TypeError, OverflowError) as error:
            file.close()
            raise FileError(
                f"{path} is not a complete recording ({error}); it is left as it is. Simulate again."
            ) from error

    def close(self) -> None:
        """Close the file of the recording, if there is one."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _repr_html_(self) -> str:
        rates = self.rates()
        rows: list[tuple[Any, ...]] = [(name, len(self.spikes[name]), hertz, "") for name, hertz in rates.items()]
        rows += [(name, "", "", list(trace.shape)) for name, trace in self.traces.items()]
        head = f"Recording of {self.T} steps of {self.dt:g} s, {self.B} samples"
        return table_html(head, ("name", "spikes", "rate (Hz)", "trace [T, B, ...]"), rows)

    def __repr__(self) -> str:
        spikes = ", ".join(f"{n}: {len(s)} spikes" for n, s in self.spikes.items())
        traces = ", ".join(self.traces)
        return f"<Recording T={self.T} B={self.B} dt={self.dt:g} s; {spikes}{'; ' * bool(traces and spikes)}{traces}>"


def _read(path: Path, file: h5py.File) -> Recording:
    attributes = file.attrs
    version = int(attributes["format"])
    if version not in (FORMAT, _LINES_BY_EDGE):
        raise ValueError(f"format {version} instead of {FORMAT}")
    dt = check_dt("Recording", float(attributes["dt"]))
    steps, batch = _size(attributes, "T", 0, MOST_STEPS), _size(attributes, "B", 0, MOST_VALUES)
    spikes = {}
    for name, group in file.get("spikes", {}).items():
        shape = _shape(name, group.attrs["shape"], batch)
        columns = StoredEvents(path, group, steps, batch, math.prod(shape)).columns
        spikes[name] = Events.stored(*columns.values(), T=steps, B=batch, shape=shape, dt=dt)
    traces = {name: StoredArray(path, trace) for name, trace in file.get("traces", {}).items()}
    samplings = {}
    for name, trace in file.get("traces", {}).items():
        if (sampling := read_sampling(trace)) is not None:
            samplings[name] = sampling
        rows = steps if sampling is None else sampling.rows(steps)
        if trace.shape[:2] != (rows, batch):
            raise ValueError(f"trace {name!r} is of shape {list(trace.shape)} where [{rows}, {batch}, ...] is expected")
    nodes, plastic = _states(file, "nodes", batch), _states(file, "plastic", batch)
    lines = {
        name: _state(f"spikes in flight of {name!r}", line, (1,), batch)
        for name, line in file.get("state/edges" if version == _LINES_BY_EDGE else "state/in_flight", {}).items()
    }
    if version == _LINES_BY_EDGE:
        lines = _by_source(lines, nodes)
    state = NetworkState(nodes, lines, plastic)
    return Recording(spikes, traces, dt=dt, T=steps, B=batch, state=state, file=file, samplings=samplings)


def _by_source(lines: dict[str, torch.Tensor], nodes: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the spikes in flight of each node, given those of each edge with the name that an edge has by default."""
    found: dict[str, torch.Tensor] = {}
    for edge, line in sorted(lines.items(), key=lambda item: len(item[1])):
        source, arrow, target = edge.partition("->")
        shorter = found.get(source, line[:0])
        if not (arrow and (target in nodes or target.rpartition(":")[0] in nodes)):
            raise ValueError(f"a file of format {_LINES_BY_EDGE} does not name the source of the edge {edge!r}")
        if shorter.shape[1:] != line.shape[1:] or not torch.equal(line[len(line) - len(shorter) :], shorter):
            raise ValueError(f"the edge {edge!r} and another from {source!r} differ in the spikes that they keep")
        found[source] = line
    return found


def _states(file: Any, kind: str, batch: int) -> dict[str, Any]:
    """Return the states of nodes, or of plastic edges."""
    found: dict[str, Any] = {}
    for name, group in file.get(f"state/{kind}", {}).items():
        order = [bytes(variable).decode() for variable in group.attrs["order"]]
        values = [_state(f"state of {name!r}", group[variable], (0, 1), batch) for variable in order]
        # A node's name need not be an identifier, which the name of a class must be.
        found[name] = collections.namedtuple("State", order)(*values)
    return found


def _size(attributes: Any, name: str, low: int, most: int) -> int:
    """Return an attribute that is an integer."""
    value = np.asarray(attributes[name])
    if value.ndim or value.dtype.kind not in "iu" or not low <= int(value) <= most:
        raise ValueError(f"{name} is {value.tolist()!r}, where an integer from {low} to {most} is expected")
    return int(value)


def _shape(name: str, given: Any, batch: int) -> tuple[int, ...]:
    """Return the shape of a node."""
    values = np.asarray(given)
    if values.ndim != 1 or values.dtype.kind not in "iu" or not values.size or values.min() < 1:
        raise ValueError(f"the shape of {name!r} is {values.tolist()!r}, where integers from 1 are expected")
    shape = tuple(int(n) for n in values)
    if math.prod(shape) * max(batch, 1) > MOST_VALUES:
        raise ValueError(f"{batch} samples of {name!r} of shape {list(shape)} are more than {MOST_VALUES} values")
    return shape


def _state(what: str, stored: h5py.Dataset, axes: tuple[int, ...], batch: int) -> torch.Tensor:
    """Return a tensor of a state, whose samples are on one of `axes`: after the steps of a memory, or first."""
    if batch not in [stored.shape[axis] for axis in axes if axis < len(stored.shape)]:
        where = " or ".join(map(str, axes))
        raise ValueError(f"the {what} is of shape {list(stored.shape)}, where axis {where} must be B = {batch}")
    return torch.from_numpy(stored[...])
