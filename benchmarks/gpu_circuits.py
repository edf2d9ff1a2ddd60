"""Circuits on one GPU: whether the spikes are those of the CPU, and the wall time of a biological second.

`circuits` is a part of `benchmarks.gpu`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.gpu_clock import Clock, figure
from neurosim.models.circuits import brunel, potjans_diesmann, vogels_abbott
from neurosim.network.network import Network


class Case(NamedTuple):
    """A circuit, its trials and the steps of a call that is timed.

    Attributes
    ----------
    name : str
    net : Network
    trials, steps : int
    compared : int
        Steps whose spikes are compared with those of the CPU.
    """

    name: str
    net: Network
    trials: int
    steps: int
    compared: int


def cases(quick: bool) -> Iterator[Case]:
    """Yield the circuits, each made when it is needed."""
    if quick:
        yield Case("Brunel, 200 neurons", brunel(size=200, j=6.25e-3), 1, 15, 15)
        return
    yield Case("Brunel, 12,500 neurons", brunel(), 1, 1000, 1000)
    yield Case("CUBA, 4,000 neurons", vogels_abbott("cuba"), 1, 1000, 1000)
    yield Case("COBA, 4,000 neurons", vogels_abbott("coba"), 1, 1000, 1000)
    yield Case("Brunel, 12,500 neurons", brunel(), 64, 200, 100)
    yield Case("CUBA, 4,000 neurons", vogels_abbott("cuba"), 264, 200, 100)
    yield Case("cortical microcircuit, 77,169 neurons", potjans_diesmann(), 1, 1000, 200)


def circuits(clock: Clock, known: dict[str, Any], quick: bool) -> Iterator[dict[str, Any]]:
    """Measure circuits, after their spikes have been compared with those of the CPU.

    Yields
    ------
    dict
        First whether all spikes of the first steps are those of the CPU, then, on a GPU, the times of a call and the
        wall time of a biological second of one trial, s.
    """
    for case in cases(quick):
        yield from measured(case, clock)


@torch.no_grad()
def measured(case: Case, clock: Clock) -> Iterator[dict[str, Any]]:
    """Yield the records of one circuit."""
    from neurosim.circuit.cuda_engine import CudaEngine
    from neurosim.circuit.engine import Engine

    populations = list(case.net.populations())
    start = case.net.initial_state(batch=case.trials, seed=1)
    wanted = Engine(case.net, start, populations).advance(case.compared)
    engine = CudaEngine(case.net.to(clock.device), start.to(clock.device), populations)
    found = engine.advance(case.compared)
    names = [(name, column) for name in wanted for column in ("step", "batch", "neuron")]
    is_equal = all(np.array_equal(getattr(found[name], c), getattr(wanted[name], c)) for name, c in names)
    spikes = sum(len(each) for each in wanted.values())
    about = {"operator": "circuit", "case": f"{case.name}, {case.trials} trials"}
    yield {**about, "spikes": spikes, "holds": is_equal, "away": 0.0 if is_equal else float("inf"), "allowed": 0.0}
    times = clock.elapsed(partial(engine.advance, case.steps))
    if times is not None:
        per_second = times.median / (case.steps * case.net.dt) / case.trials
        shape = {"launches": engine.circuit.launches, "window": engine.circuit.window}
        yield figure(times, **about, **shape, per_second=per_second)
