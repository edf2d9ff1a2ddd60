"""The outcomes of a sweep on disk, each as soon as it is known, until all are one data set."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from neurosim.errors import FileError
from neurosim.files.atomic import json_text
from neurosim.files.lock import owned
from neurosim.files.paths import output_file
from neurosim.sweeps.outcome import Outcome

_ABOUT, _LOG = "sweep.json", "trials.jsonl"
_EVERY = 1.0  # seconds between two times at which the log is forced to the disk


class Store:
    """The outcomes of a sweep, in memory and in the folder ``<path>.parts``.

    Parameters
    ----------
    path : path-like or None
        File of the data set that they become; None: memory only.
    about : mapping
        Plain values that say which sweep this is.
    resume : bool
        Whether to continue a sweep that ended early, if there is one.

    Attributes
    ----------
    outcomes : dict of int to Outcome
        By number of the trial.

    Raises
    ------
    FileError
        When the folder holds the beginning of a sweep and `resume` is not given, or of another sweep; when it is in use
        by another process, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None, about: Mapping[str, Any], *, resume: bool) -> None:
        self.path = None if path is None else output_file(path)
        self.outcomes: dict[int, Outcome] = {}
        self._about, self._resume = dict(about), resume
        self._stack = contextlib.ExitStack()
        self._log: Any = None
        self._synced = 0.0

    @property
    def folder(self) -> Path | None:
        """Where the outcomes lie until all are known."""
        return None if self.path is None else Path(f"{self.path}.parts")

    def __enter__(self) -> Store:
        if self.folder is None:
            return self
        with self._stack:
            with self._named():
                self.folder.mkdir(parents=True, exist_ok=True)
            self._stack.enter_context(owned(self.folder))
            self._find()
            with self._named():
                json_text(self._about, self.folder / _ABOUT)
                self._log = self._stack.enter_context(open(self.folder / _LOG, "ab"))
            self._stack = self._stack.pop_all()
        return self

    def _find(self) -> None:
        """Read the outcomes of a sweep that ended early."""
        assert self.folder is not None
        log, about = self.folder / _LOG, self.folder / _ABOUT
        if not log.exists() or not log.stat().st_size:
            return
        if not self._resume:
            raise FileError(
                f"{self.folder} holds the beginning of a sweep that ended early. Continue it with resume=True, or "
                "delete the folder."
            )
        try:
            known = json.loads(about.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FileError(f"{about} cannot be read ({error}); delete the folder to start again.") from error
        if not isinstance(known, dict):
            raise FileError(f"{about} holds no mapping; delete the folder to start again.")
        own = json.loads(json.dumps(self._about))
        differ = sorted(key for key in {*known, *own} if known.get(key) != own.get(key))
        if differ:
            raise FileError(
                f"{self.folder} holds the beginning of another sweep: {differ} differ. Give the arguments of that "
                "sweep, another path, or delete the folder."
            )
        content = log.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]  # the last line may be torn
        for number, line in enumerate(complete.splitlines(), 1):
            try:
                outcome = Outcome.of_line(line.decode("utf-8"))
            except ValueError as error:
                raise FileError(f"{log}, line {number}: {error}; delete the folder to start again.") from error
            self.outcomes.setdefault(outcome.number, outcome)
        if len(complete) < len(content):
            with self._named():
                os.truncate(log, len(complete))

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes; those of a trial that has one already are dropped."""
        new = [outcome for outcome in outcomes if outcome.number not in self.outcomes]
        for outcome in new:
            self.outcomes[outcome.number] = outcome
        if self._log is None or not new:
            return
        with self._named():
            self._log.write("".join(outcome.line() for outcome in new).encode())
            self._log.flush()
            if time.monotonic() - self._synced > _EVERY:
                os.fsync(self._log.fileno())
                self._synced = time.monotonic()

    @contextlib.contextmanager
    def _named(self) -> Any:
        """Name the folder where the system refuses to write."""
        try:
            yield
        except OSError as error:
            if isinstance(error, FileError):
                raise
            raise FileError(
                f"cannot write {self.folder}: {error.strerror or error}; {len(self.outcomes)} trials are there. Free "
                "some space or choose another folder."
            ) from error

    def remove(self) -> None:
        """Remove the folder, the data set being complete."""
        self._stack.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stack.close()
        if self.folder is not None and not self.outcomes and self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
