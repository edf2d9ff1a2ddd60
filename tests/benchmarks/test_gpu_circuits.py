"""The benchmark of circuits on a GPU; without one it runs in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.gpu_circuits import circuits
from benchmarks.gpu_clock import Clock
from benchmarks.timing import Times
from neurosim.circuit.engine import Engine


def test_a_circuit_is_compared_with_the_cpu_and_timed(monkeypatch):
    clock = Clock(torch.device("cuda" if torch.cuda.is_available() else "cpu"), calls=2)
    monkeypatch.setattr(clock, "elapsed", lambda run: Times((0.5, 1.0, 3.0)))
    compared, timed = circuits(clock, {}, quick=True)
    assert compared["holds"]
    assert compared["spikes"] > 20
    assert timed["per_second"] == pytest.approx(1.0 / 15e-4)
    assert (timed["window"], timed["launches"], timed["case"]) == (15, 7, "Brunel, 200 neurons, 1 trials")
    advance = Engine.advance
    monkeypatch.setattr(Engine, "advance", lambda self, steps: advance(self, steps - 1))
    assert not next(circuits(clock, {}, quick=True))["holds"]
