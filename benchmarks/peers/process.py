"""A simulator in a separate process, from the outside; `service` is the inside."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.service import ANSWER, Array

ROOT = Path(__file__).resolve().parents[2]


class PeerError(Exception):
    """The process ended; the message is the end of its output."""


class Peer:
    """A circuit that was built in a process and waits.

    Parameters
    ----------
    python : Path
        Interpreter of the simulator's environment.
    module : str
        Which script runs in it, such as ``"benchmarks.peers.in_nest"``.
    what : mapping
        Network, form, threads and seed, for `service.serve`.

    Raises
    ------
    PeerError
        When the circuit cannot be built.
    """

    def __init__(self, python: Path, module: str, what: Mapping[str, Any]) -> None:
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        threads = str(what["threads"])
        self.process = subprocess.Popen(
            [str(python), "-W", "ignore", "-m", module, json.dumps(what)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        )
        self.built: dict[str, Any] = {}
        try:
            self.built = self._answer()
        except PeerError:
            self.close()
            raise

    def run(self) -> dict[str, Any]:
        """Advance by the timed length; return its times."""
        return self._ask("run")

    def spikes(self) -> tuple[Array, Array, dict[str, Any]]:
        """Return step and neuron of each spike so far, and the rest of the answer."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "spikes.npz"
            answer = self._ask(f"spikes {path}")
            with np.load(path) as stored:
                return stored["step"], stored["neuron"], answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def _ask(self, command: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line[len(ANSWER) :])
        self.process.wait()
        self.errors.seek(0)
        raise PeerError(self.errors.read()[-2000:])
