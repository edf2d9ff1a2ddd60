"""A long recording on disk in segments, each a complete file, so that a run that ends early can be continued."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from neurosim.errors import FileError
from neurosim.files.atomic import json_text, replaced
from neurosim.files.paths import output_file
from neurosim.network.graph import NetworkState
from neurosim.recording.events import Events
from neurosim.recording.recording import Recording
from neurosim.recording.trace import Sampling
from neurosim.recording.writer import Writer

_ABOUT = "run.json"
_ROWS = 1 << 20  # rows copied at a time


class Segments:
    """The segments of the recording of one run, beside the file that they become.

    Parameters
    ----------
    path : path-like
        The file of the finished recording. The segments lie in the folder ``<path>.parts`` until then.
    dt : float
        Length of a step, s.
    samples : int
        B.
    about : dict of str to str, int or float
        What says whether a run that ended early is this one.
    every : float
        Wall time after which a segment ends, s.
    resume : bool
        Whether to continue a run that ended early, if there is one.

    Attributes
    ----------
    done : int
        Steps recorded in complete segments.
    state : NetworkState or None
        State after them.

    Raises
    ------
    FileError
        When there are segments of a run that ended early and `resume` is not given, or they are those of another run,
        or one of them is damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dt: float,
        samples: int,
        about: dict[str, Any],
        *,
        every: float,
        resume: bool,
    ) -> None:
        self.path, self.folder = Path(path), Path(f"{os.fspath(path)}.parts")
        self.dt, self.samples, self.every = dt, samples, every
        self.done = 0
        self.state: NetworkState | None = None
        self._stack = contextlib.ExitStack()
        self._writer: Writer | None = None
        self._steps, self._begun = 0, time.monotonic()
        self._files: list[Path] = []
        if self.folder.exists():
            self._found(about, resume)
        output_file(path)  # refuses a place that cannot be written before the run, not after it
        with self._named():
            self.folder.mkdir(parents=True, exist_ok=True)
            json_text(about, self.folder / _ABOUT)

    def _found(self, about: dict[str, Any], resume: bool) -> None:
        """Take over the segments of a run that ended early."""
        self._files = sorted(self.folder.glob("*.h5"))
        if not resume and self._files:
            raise FileError(
                f"{self.folder} holds the beginning of a run that ended early. Continue it with resume=True, or delete "
                "the folder."
            )
        try:
            known = json.loads((self.folder / _ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            if not self._files:
                return
            raise FileError(
                f"{self.folder / _ABOUT} cannot be read ({error}); delete the folder to start again."
            ) from error
        differ = sorted(key for key in {*known, *about} if known.get(key) != about.get(key))
        if self._files and differ:
            raise FileError(
                f"{self.folder} holds the beginning of another run: {differ} differ. Give the arguments of that run, "
                "another path, or delete the folder."
            )
        for file in self._files:
            with Recording.load(file) as part:
                self.done += part.T
                self.state = part.state

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file of the recording where the system refuses to write."""
        try:
            yield
        except OSError as error:
            cause = error.__cause__ if isinstance(error, FileError) else error
            if not isinstance(cause, OSError):
                raise
            self._drop()
            kept = "the earlier file is untouched" if self.path.exists() else "nothing was left behind"
            kept = f"the steps before {self.done} are kept in {self.folder}" if self._files else kept
            raise FileError(
                f"cannot write {self.path}: {cause.strerror or cause}; {kept}. Free some space or choose another "
                "folder."
            ) from cause

    def _drop(self) -> None:
        """Drop a segment that is not complete, and the folder if it is the first one."""
        if self._writer is not None:
            self._writer = None
            self._files.pop()
            with contextlib.suppress(OSError):
                self._stack.__exit__(*sys.exc_info())
        if not self._files:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Segments:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is not None:
            self._drop()

    @property
    def is_due(self) -> bool:
        """Whether the segment has lasted long enough."""
        return time.monotonic() - self._begun >= self.every

    def add(self, name: str, values: Any, sampling: Sampling | None = None) -> None:
        """Append what was recorded in the next steps: events, or an array [steps, B, ...]."""
        with self._named():
            writer = self._open()
            if isinstance(values, Events):
                writer.spikes(name, values, offset=self._steps)
            else:
                writer.trace(name, values, None if sampling is None else sampling.shifted(self.done, sampling.end))

    def advance(self, steps: int) -> None:
        """Count steps whose values were added."""
        with self._named():
            self._open()
        self._steps += steps

    def close(self, state: NetworkState) -> None:
        """End the segment, which is complete on disk from then on."""
        with self._named():
            self._open().finish(self._steps, self.samples, state)
            self._stack.close()
        self.done, self.state = self.done + self._steps, state
        self._writer, self._steps, self._begun = None, 0, time.monotonic()

    def _open(self) -> Writer:
        if self._writer is None:
            file = self.folder / f"{len(self._files):06d}.h5"
            part = self._stack.enter_context(replaced(file))
            self._writer = self._stack.enter_context(Writer(part, self.dt))
            self._files.append(file)
        return self._writer

    def finish(self, state: NetworkState, samplings: Mapping[str, Sampling]) -> None:
        """End the last segment, and make one file of all, with `samplings` of the traces."""
        self.close(state)
        with self._named():
            if len(self._files) == 1:
                os.replace(self._files[0], output_file(self.path))
            else:
                self._join(state, samplings)
        shutil.rmtree(self.folder)

    def _join(self, state: NetworkState, samplings: Mapping[str, Sampling]) -> None:
        with replaced(self.path) as part, Writer(part, self.dt) as writer:
            start = 0
            for file in self._files:
                with Recording.load(file) as recording:
                    _append(writer, recording, start, samplings)
                    start += recording.T
            writer.finish(start, self.samples, state)


def _append(writer: Writer, recording: Recording, start: int, samplings: Mapping[str, Sampling]) -> None:
    """Append a recording that begins at step `start`, piece by piece."""
    for name, events in recording.spikes.items():
        for first in range(0, max(len(events), 1), _ROWS):
            rows = slice(first, first + _ROWS)
            columns = (np.asarray(column[rows]) for column in (events.step, events.batch, events.neuron))
            piece = Events.trusted(*columns, T=recording.T, B=events.B, shape=events.shape, dt=recording.dt)
            writer.spikes(name, piece, offset=start)
    for name, trace in recording.traces.items():
        width = max(int(np.prod(trace.shape[1:])), 1)
        for first in range(0, max(len(trace), 1), max(_ROWS // width, 1)):
            writer.trace(name, np.asarray(trace[first : first + max(_ROWS // width, 1)]), samplings.get(name))
