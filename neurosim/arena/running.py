"""Run the arena: each set and seed in a process of its own. What is done is kept, so that an arena continues."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import neurosim
from neurosim.arena.catalogue import CONTESTS
from neurosim.arena.results import Results
from neurosim.errors import FileError, InputError
from neurosim.files.atomic import json_text
from neurosim.files.lock import owned

_COMPUTES = ("forecast", "measuring", "recipe", "recipes")
_WAIT = 0.05  # s between two looks at the processes


def run_arena(
    folder: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    *,
    names: Sequence[str] = (),
    seeds: int = 3,
    workers: int = 2,
    quick: bool = False,
    progress: Callable[[str], Any] = lambda _: None,
) -> Results:
    """Train and test on the sets of the arena.

    Parameters
    ----------
    folder : path-like
        For results, checkpoints, and spikes that are computed once. What an earlier call finished there with the same
        code is not run again, and what it began continues.
    root : path-like, optional
        Data root; the environment variable ``NEUROSIM_DATA`` if left out. JapaneseVowels and the smartwatch exercises
        are read from the installed packages aeon and seglearn where the root lacks them (``pip install --no-deps aeon
        seglearn``: nothing of theirs is imported).
    names : sequence of str
        Of `CONTESTS`; all if empty.
    seeds : int
        How many, from 0.
    workers : int
        Processes at a time, each with one thread.
    quick : bool
        A few samples, one epoch and one seed.
    progress : callable
        Called with a line of text after each run.

    Returns
    -------
    Results

    Raises
    ------
    InputError
        For an unknown name, or a number below 1.
    FileError
        When a file cannot be written.
    """
    chosen = tuple(names) or tuple(CONTESTS)
    for name in chosen:
        if name not in CONTESTS:
            raise InputError(f"run_arena: there is no set {name!r}. There are: {', '.join(CONTESTS)}.")
    for label, value in (("seeds", seeds), ("workers", workers)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"run_arena: {label} = {value!r}; an integer from 1 is allowed.")
    place = Path(folder) / ("quick" if quick else "runs")
    place.mkdir(parents=True, exist_ok=True)
    with owned(place):
        return _run(place, root, chosen, 1 if quick else seeds, workers, quick, progress)


def _run(
    place: Path,
    root: str | os.PathLike[str] | None,
    names: Sequence[str],
    seeds: int,
    workers: int,
    quick: bool,
    progress: Callable[[str], Any],
) -> Results:
    code = _code()
    waiting = [(name, seed) for seed in range(seeds) for name in dict.fromkeys(names)]
    done: dict[tuple[str, int], dict[str, Any]] = {}
    missing: dict[str, str] = {}
    running: dict[tuple[str, int], tuple[subprocess.Popen[bytes], Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                key = waiting.pop(0)
                found = _kept(place, key, code)
                if found is not None:
                    done[key] = found
                elif key[0] not in missing:
                    log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
                    running[key] = _start(place, root, key, code, quick, log), log
            for key, (process, log) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[key]
                log.seek(0)
                text = log.read().decode("utf-8", "replace")
                log.close()
                found = _kept(place, key, code)
                if found is None:
                    reason = _absent(place, key, text, process.returncode)
                    missing[key[0]] = reason
                    progress(f"{CONTESTS[key[0]].title}: {reason}")
                    continue
                done[key] = found
                progress(f"{CONTESTS[key[0]].title}, seed {key[1]}: {found['score']:.4g} in {found['seconds']:.1f} s")
            time.sleep(_WAIT if running else 0)
    finally:
        for process, log in running.values():
            process.terminate()
            process.wait()
            log.close()
    order = {name: number for number, name in enumerate(CONTESTS)}
    runs = tuple(done[key] for key in sorted(done, key=lambda key: (order[key[0]], key[1])))
    seconds = sum(run["seconds"] for run in runs)
    return Results(runs, missing, seconds, quick, {**_machine(), "processes at a time": str(workers)})


def _start(
    place: Path,
    root: str | os.PathLike[str] | None,
    key: tuple[str, int],
    code: str,
    quick: bool,
    log: Any,
) -> subprocess.Popen[bytes]:
    task = {
        "name": key[0],
        "seed": key[1],
        "root": None if root is None else os.fspath(Path(root).absolute()),
        "folder": os.fspath(place.absolute()),
        "quick": quick,
        "code": code,
    }
    package = os.fspath(Path(neurosim.__file__).resolve().parent.parent)
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, "-m", "neurosim.arena.worker", json.dumps(task)],
        env={**os.environ, **threads, "PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def result_file(place: Path, name: str, seed: int) -> Path:
    """Return the file of a finished run."""
    return place / f"{name}-{seed}.json"


def write_result(place: Path, found: dict[str, Any]) -> None:
    """Keep a finished run."""
    json_text(found, result_file(place, found["name"], found["seed"]))


def _kept(place: Path, key: tuple[str, int], code: str) -> dict[str, Any] | None:
    """Return a finished run of the same code."""
    try:
        found = json.loads(result_file(place, *key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("code") == code and "score" in found else None


def _absent(place: Path, key: tuple[str, int], text: str, status: int) -> str:
    """Return why a set has no data, or raise where a run failed for another reason."""
    try:
        found = json.loads(result_file(place, *key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    if isinstance(found, dict) and "missing" in found and status == 0:
        return str(found["missing"])
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "no message")
    raise FileError(f"the run of {key[0]} with seed {key[1]} ended with status {status}: {last}")


def _code() -> str:
    """Return a digest of the version and of the files with recipes: results of other recipes are not mixed."""
    digest = hashlib.sha256(neurosim.__version__.encode())
    for name in _COMPUTES:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()


def _machine() -> dict[str, str]:
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "threads of a process": "1",
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "neurosim": neurosim.__version__,
    }
