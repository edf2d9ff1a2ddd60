"""The service of a process that runs a circuit: build it, then answer each command of standard input with JSON.

``run`` advances the circuit by its timed length, ``spikes FILE`` writes the spikes so far. The argument is a JSON
object: network, quick, threads and seed; where wanted scale, seconds, after (as in `Spec`), trials, and record, false
for a run that keeps no spikes. Only NumPy is imported.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.peers import specs

ANSWER = "answer: "
Array = np.ndarray[Any, np.dtype[Any]]


class Timer:
    """Wall time and CPU time in user mode, of this process and the children that ended, since it was made."""

    def __init__(self) -> None:
        self.start = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        used = [resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.perf_counter(), sum(used)

    def read(self) -> dict[str, float]:
        """Return seconds since the start."""
        wall, cpu = self._now()
        return {"wall_s": wall - self.start[0], "cpu_s": cpu - self.start[1]}


class Circuit:
    """A circuit in a simulator. `advance` returns its times if another process spends them."""

    version: str
    synapses: int
    row_bytes: float | None = None

    def advance(self) -> dict[str, float] | None:
        """Run for the timed length."""
        raise NotImplementedError

    def spikes(self) -> tuple[Array, Array, float]:
        """Return step and neuron of all spikes so far, and the seconds that they cover."""
        raise NotImplementedError


def memory(field: str) -> int:
    """Return ``VmRSS`` or ``VmHWM`` of this process in bytes; 0 where there is no such file."""
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            return next((int(line.split()[1]) * 1024 for line in status if line.startswith(field + ":")), 0)
    except OSError:
        return 0


def serve(builders: Mapping[str, Callable[[specs.Spec, dict[str, Any]], Circuit]], started: Timer) -> None:
    """Build the circuit that the arguments describe and answer lines until the input ends."""
    what = json.loads(sys.argv[1])
    spec = specs.spec(what["network"], what["quick"], what.get("scale"))
    spec = dataclasses.replace(spec, seconds=what.get("seconds", spec.seconds), after=what.get("after", spec.after))
    imported, before, timer = started.read(), memory("VmRSS"), Timer()
    circuit = builders[spec.name](spec, what)
    answer: dict[str, Any] = {
        "version": circuit.version, "synapses": circuit.synapses, "import": imported, "build": timer.read(),
        "build_bytes": memory("VmHWM") - before, "row_bytes": circuit.row_bytes,
    }  # fmt: skip
    _send(answer)
    first = True
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        if command == "run":
            timer = Timer()
            own = circuit.advance()
            answer = {**timer.read(), "peak_bytes": memory("VmHWM"), **(own or {})}
            if first:
                answer["first_result"] = started.read()
            first = False
        else:
            step, neuron, seconds = circuit.spikes()
            np.savez(path, step=step, neuron=neuron)
            answer = {"seconds": seconds, "row_bytes": circuit.row_bytes}
        _send(answer)


def _send(answer: dict[str, Any]) -> None:
    # Simulators print lines of their own.
    print(ANSWER + json.dumps(answer), flush=True)
