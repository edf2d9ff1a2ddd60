"""Run a graph on Lava. Started as a file by an interpreter that has lava-nc, numpy, scipy, networkx and asteval.

    python -I worker.py FOLDER SHARED_MEMORY_PREFIX [SEARCH_PATH ...]

`FOLDER` has ``graph.npz`` and ``request.npz``; the result of sample b is ``sample-b.npz``. Standard output has one JSON
object per line: ``{"event": "sample" | "failed" | "done", ...}``. Output of Lava goes to standard error. When standard
input closes, the starter has ended, and this process ends its group.

Each sample is built and run in a separate fork: lava-nc cannot run a stopped graph again, and samples cannot influence
each other. The processes of Lava are forks too, so all are in the group of this process, and the names of their shared
memory begin with `SHARED_MEMORY_PREFIX`.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import time
import traceback
import types
from multiprocessing import shared_memory
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TAIL = 3000  # characters of a traceback; a line must stay under PIPE_BUF (4096 bytes) to be written whole
GRACE = 0.2  # s for the group to end before its shared memory is removed


class EventLine:
    """The pipe to the starter. Forks may write to it too: a line is one write, short enough to be atomic."""

    def __init__(self) -> None:
        self._line = os.dup(1)
        os.dup2(2, 1)

    def send(self, event: str, **content: Any) -> None:
        """Write one line."""
        os.write(self._line, (json.dumps({"event": event, **content}) + "\n").encode("ascii"))

    def send_exception(self, where: str) -> None:
        """Write the exception being handled, without its beginning where it is long."""
        text = traceback.format_exc().encode("ascii", "replace").decode("ascii")
        while len(json.dumps(text)) > TAIL:
            text = text[len(text) // 8 + 1 :]
        self.send("failed", where=where, error=text)


def main(arguments: list[str]) -> int:
    """Run the request in the folder; return the exit status."""
    folder, prefix = Path(arguments[0]), arguments[1]
    sys.path.extend(path for path in arguments[2:] if path not in sys.path)
    events = EventLine()
    _name_shared_memory(prefix)
    try:
        parts = _load_parts()
        graph = parts.description.read(folder / "graph.npz")
        request = parts.exchange.read_request(folder / "request.npz")
        parts.graph.prepare(graph)
    except ImportError as error:
        events.send("failed", where="import", error=f"{error} (Python {platform.python_version()}, {sys.executable})")
        return 1
    except Exception:
        events.send_exception("reading the description")
        return 1
    _report_exceptions_of_models(events)
    for sample in range(request.samples):
        child = multiprocessing.get_context("fork").Process(
            target=_run_sample, args=(parts, graph, request, sample, folder, events)
        )
        child.start()
        _wait_for(child, folder, prefix)
        if child.exitcode != 0:
            events.send("failed", where="sample", error=f"the process of sample {sample} ended with {child.exitcode}")
            return 1
        events.send("sample", sample=sample)
    events.send("done", python=platform.python_version())
    _wait_for(None, folder, prefix)
    return 0


def _load_parts() -> Any:
    """Import the files of this folder as a package with a private name; neurosim is not needed."""
    package = types.ModuleType("_neurosim_lava")
    package.__path__ = [str(HERE)]
    sys.modules[package.__name__] = package
    names = ("description", "exchange", "graph")
    return types.SimpleNamespace(**{name: importlib.import_module(f"_neurosim_lava.{name}") for name in names})


def _run_sample(parts: Any, graph: Any, request: Any, sample: int, folder: Path, events: EventLine) -> None:
    try:
        data = {name: values[:, sample] for name, values in request.inputs.items()}
        processes = parts.graph.build(graph, data, request.record, request.monitor, request.rewards)
        processes.run()
        sent = {name: processes.sent(name) for name in request.record}
        traces = {pair: processes.trace(*pair) for pair in request.monitor}
        processes.stop()
        parts.exchange.write_sample(folder / f"sample-{sample}.npz", request, sent, traces)
    except BaseException:
        events.send_exception(f"sample {sample}")
        os._exit(1)
    os._exit(0)


def _report_exceptions_of_models(events: EventLine) -> None:
    """Send an exception in a process model at once: Lava would wait for other processes, which wait for this one."""
    runtime: Any = importlib.import_module("lava.magma.runtime.runtime")
    start_process = runtime.target_fn

    def target_fn(*args: Any, **kwargs: Any) -> None:
        try:
            start_process(*args, **kwargs)
        except Exception:
            events.send_exception("a Lava process")
            raise

    runtime.target_fn = target_fn


def _name_shared_memory(prefix: str) -> None:
    """Let names of this group's shared memory begin with the prefix, by which the starter removes the rest."""
    shared_memory._SHM_NAME_PREFIX = prefix  # type: ignore[attr-defined]
    shared_memory._SHM_SAFE_NAME_LENGTH = len(prefix) + 8  # type: ignore[attr-defined]


def _wait_for(child: Any, folder: Path, prefix: str) -> None:
    """Wait until `child` ends, or for ever; end everything when the lifeline closes."""
    ready = wait([0] if child is None else [0, child.sentinel])
    if 0 in ready and not os.read(0, 1):
        _end_all(folder, prefix)
    if child is not None:
        child.join()


def _end_all(folder: Path, prefix: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE)
    for segment in Path("/dev/shm").glob(f"{prefix.lstrip('/')}*"):
        segment.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
