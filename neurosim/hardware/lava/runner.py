"""Isolated runs of a graph on Lava, with a time limit; no process and no shared memory remains.

Lava never runs in the user's process: its import forces the ``fork`` start method, an exception in a process model
makes its `run` wait forever, a second `run` after `stop` is a segmentation fault, and killing only its parent leaves
orphans with shared memory. A worker leads a separate process group instead; at the end of the run the group is killed
and its shared memory, whose names begin with the name of the run, is removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from neurosim.errors import TargetRunError
from neurosim.hardware.lava import description
from neurosim.hardware.lava.exchange import Request, read_sample, write_request
from neurosim.hardware.packages import check_timeout, search_path

INSTALL = "pip install --no-deps --ignore-requires-python lava-nc==0.10.0 && pip install numpy scipy networkx asteval"
_NEEDED = ("lava.magma", "numpy", "scipy", "networkx", "asteval")
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
_SHARED_MEMORY = Path("/dev/shm")
_TAIL = 2000


@dataclass(frozen=True)
class GraphRun:
    """Result of a run.

    Attributes
    ----------
    sent : dict of str to numpy.ndarray
        [T, B, *Lava shape], on the network's steps: uint8 for spikes, float64 for graded ones.
    traces : dict of (str, str) to numpy.ndarray
        float64 [Lava steps, B, *Lava shape], the steps before the data arrive included.
    python : str
        Version of the Python that ran Lava.
    seconds : float
        Wall time of the run.
    """

    sent: dict[str, np.ndarray]
    traces: dict[tuple[str, str], np.ndarray]
    python: str
    seconds: float


def run_graph(
    graph: description.LavaGraph, request: Request, timeout: float = 300.0, python: str | os.PathLike[str] | None = None
) -> GraphRun:
    """Run every sample of `request`, one after the other, each on new processes.

    Parameters
    ----------
    graph : Graph
    request : Request
        The input and the variables to record.
    timeout : float
        Seconds for the run: start and all samples.
    python : path, optional
        Interpreter that has lava-nc; by default the running one.

    Raises
    ------
    InputError
        If `timeout` is not positive.
    TargetRunError
        If lava-nc is not installed, Lava fails, or the time limit is reached. No process and no shared memory remains.
    """
    check_timeout(timeout)
    started = time.monotonic()
    folders = search_path("lava-nc", _NEEDED, INSTALL) if python is None else []
    with tempfile.TemporaryDirectory(prefix="neurosim-lava-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with open(folder / "graph.npz", "wb") as stream:
            description.write(graph, stream)
        write_request(folder / "request.npz", request)
        with open(folder / "stderr.txt", "wb") as stderr:
            worker = _Worker(str(python or sys.executable), folder, folders, stderr)
            with worker:
                last = worker.wait_until_done(started + timeout, timeout, request.samples)
        samples = [read_sample(folder / f"sample-{b}.npz", request) for b in range(request.samples)]
    return GraphRun(
        sent={key: np.stack([sent[key] for sent, _ in samples], axis=1) for key in request.record},
        traces={key: np.stack([traces[key] for _, traces in samples], axis=1) for key in request.monitor},
        python=last["python"],
        seconds=time.monotonic() - started,
    )


class _Worker:
    """The process group of the worker, ended when the context ends."""

    def __init__(self, python: str, folder: Path, search_path: list[str], stderr: IO[bytes]) -> None:
        self._folder = folder
        self._prefix = f"neurosim-{secrets.token_hex(4)}-"
        self._command = [python, "-I", str(Path(__file__).with_name("worker.py")), str(folder), "/" + self._prefix]
        self._command += search_path
        self._stderr = stderr

    def __enter__(self) -> _Worker:
        if not hasattr(os, "waitid"):
            raise TargetRunError(
                f"a Lava run needs process groups and os.waitid; Python on {sys.platform!r} lacks them. Use Linux."
            )
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                cwd=self._folder,
                env={**os.environ, **_ONE_THREAD},
                start_new_session=True,
            )
        except OSError as error:
            raise TargetRunError(
                f"cannot start {self._command[0]!r} for the Lava run: {error.strerror}. Give the path of a Python 3.10 "
                "to 3.13 that has lava-nc."
            ) from error
        self._lifeline, self._line = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        return self

    def __exit__(self, *exception: object) -> None:
        # The leader runs or is not yet reaped, so the id of the group is not in use for another.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        _wait_until_gone(self._process.pid)
        self._process.wait()
        self._lifeline.close()
        self._line.close()
        if _SHARED_MEMORY.is_dir():
            for segment in _SHARED_MEMORY.glob(f"{self._prefix}*"):
                segment.unlink(missing_ok=True)

    def wait_until_done(self, deadline: float, timeout: float, samples: int) -> dict[str, Any]:
        """Return the last event of the worker, or raise its error."""
        finished = 0
        for event in self._events(deadline):
            if event["event"] == "failed":
                raise self._failure(event)
            if event["event"] == "done":
                return event
            finished += 1
        if time.monotonic() >= deadline:
            raise TargetRunError(
                f"the Lava run was not done after {timeout:g} s ({finished} of {samples} samples finished); its "
                "process group was killed. Allow more time with timeout=..., or run fewer samples or steps."
                f"{self._tail()}"
            )
        raise TargetRunError(
            f"the Lava worker ended early, after {finished} of {samples} samples; its process group was killed."
            f"{self._tail()}"
        )

    def _events(self, deadline: float) -> Iterator[dict[str, Any]]:
        """Yield the lines of the worker until its end or the deadline."""
        line = self._line.fileno()
        pending = b""
        while (left := deadline - time.monotonic()) > 0:
            ended = self._has_ended()
            ready, _, _ = select.select([line], [], [], min(left, 0.5))
            if not ready and ended:
                return
            if not ready:
                continue
            chunk = os.read(line, 1 << 16)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            yield from map(json.loads, lines)

    def _has_ended(self) -> bool:
        """Check without reaping. The end of the pipe is no sign: forks of a dead worker keep it open."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _failure(self, event: dict[str, Any]) -> TargetRunError:
        if event["where"] == "import":
            return TargetRunError(f"lava-nc cannot be used: {event['error']}. Install it with: {INSTALL}")
        return TargetRunError(
            f"Lava failed in {event['where']}; its process group was killed.\n{event['error'].rstrip()}{self._tail()}"
        )

    def _tail(self) -> str:
        text = (self._folder / "stderr.txt").read_bytes()[-_TAIL:].decode("utf-8", "replace").strip()
        return f"\nLast lines of its output:\n{text}" if text else ""


def _wait_until_gone(group: int, seconds: float = 5.0) -> None:
    """Wait until no process of a killed group runs, so that none can create another shared memory segment."""
    deadline = time.monotonic() + seconds
    while _members(group) and time.monotonic() < deadline:
        time.sleep(0.005)


def _members(group: int) -> list[int]:
    """Return the processes of a group that are not dead, by /proc."""
    members = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] not in "ZX":
                members.append(int(status.parent.name))
    return members
