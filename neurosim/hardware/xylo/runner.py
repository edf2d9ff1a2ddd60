"""Runs on xylosim, the maker's simulator, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from neurosim.errors import TargetRunError
from neurosim.hardware.packages import check_timeout, search_path
from neurosim.hardware.xylo.configuration import XyloConfiguration
from neurosim.hardware.xylo.reference import XyloRun, checked_input

INSTALL = "pip install xylosim"
MODULES = ("xylosim.v2", "numpy")
_TAIL = 2000


def run_xylosim(
    chip: XyloConfiguration, x: np.ndarray, *, timeout: float = 300.0, python: str | os.PathLike[str] | None = None
) -> XyloRun:
    """Run a configuration on xylosim, each sample from rest.

    Parameters
    ----------
    chip : XyloConfiguration
        Its document is what xylosim reads.
    x : numpy.ndarray [T, B, inputs]
        Spikes of each input in each step, 0 ... 15.
    timeout : float
        Seconds for the run; then its process is killed.
    python : path, optional
        Interpreter that has xylosim and numpy; the running one if left out.

    Raises
    ------
    TargetRunError
        When xylosim is not installed, fails, or takes too long. Nothing is left running.
    """
    check_timeout(timeout)
    x = checked_input(chip, x)
    folders = search_path("xylosim", MODULES, INSTALL) if python is None else []
    with tempfile.TemporaryDirectory(prefix="neurosim-xylo-") as name:
        folder = Path(name)
        chip.to_json(folder / "xylo.json")
        np.save(folder / "input.npy", x.astype(np.uint8))
        command = [str(python or sys.executable), "-I", str(Path(__file__).with_name("worker.py")), name, *folders]
        _run(command, timeout)
        with np.load(folder / "result.npz", allow_pickle=False) as found:
            return XyloRun(**{key: found[key] for key in found.files})


def _run(command: list[str], timeout: float) -> None:
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        raise TargetRunError(
            f"cannot start {command[0]!r} for xylosim: {error.strerror}. Give the path of a Python that has xylosim."
        ) from error
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise TargetRunError(
            f"xylosim was not done after {timeout:g} s; its process was killed. Allow more time with timeout=..., or "
            "run fewer samples or steps."
        ) from error
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        text = output[-_TAIL:].decode("utf-8", "replace").strip()
        if "ModuleNotFoundError" in text:
            raise TargetRunError(f"xylosim cannot be used with {command[0]}. Install it with: {INSTALL}\n{text}")
        raise TargetRunError(f"xylosim ended with {process.returncode}. Last lines of its output:\n{text}")
