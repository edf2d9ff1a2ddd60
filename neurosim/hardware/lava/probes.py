"""The value that each of Lava's processes compares with its threshold, computed from monitored variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from neurosim.hardware.lava.description import PopulationProcess

Traces = Mapping[str, np.ndarray]
Value = Callable[[PopulationProcess, Traces, int], np.ndarray]


def _membrane(population: PopulationProcess, traces: Traces, now: int) -> np.ndarray:
    decay = 1.0 - population.argument("dv")
    return np.asarray(traces["v"][now - 1] * decay + traces["u"][now] + population.argument("bias_mant"))


def _integer(population: PopulationProcess, traces: Traces, now: int) -> np.ndarray:
    before = traces["v"][now - 1].astype(np.int64)
    decayed = np.sign(before) * ((np.abs(before) * (4096 - population.argument("dv").astype(np.int64))) >> 12)
    bias = population.argument("bias_mant").astype(np.int64) << population.argument("bias_exp").astype(np.int64)
    return np.clip(decayed + traces["u"][now].astype(np.int64) + bias, 1 - (1 << 23), (1 << 23) - 1)


def _unless_resting(population: PopulationProcess, traces: Traces, now: int) -> np.ndarray:
    resting = traces["refractory_period_end"][now - 1] >= now + 1  # Lava counts its steps from 1
    return np.where(resting, traces["v"][now - 1], _membrane(population, traces, now))


def _adaptive(population: PopulationProcess, traces: Traces, now: int) -> np.ndarray:
    refractory = (1.0 - population.argument("delta_r")) * traces["r"][now - 1]
    raised = (1.0 - population.argument("delta_theta")) * (traces["theta"][now - 1] - population.argument("theta_0"))
    return np.asarray(traces["v"][now] - refractory - raised)


def _imaginary(population: PopulationProcess, traces: Traces, now: int) -> np.ndarray:
    angle, decay = 2.0 * np.pi / population.argument("period"), 1.0 - population.argument("alpha")
    return np.asarray(decay * (np.sin(angle) * traces["real"][now - 1] + np.cos(angle) * traces["imag"][now - 1]))


def _state(name: str) -> Value:
    return lambda population, traces, now: traces[name][now]


INTEGER: tuple[tuple[str, ...], Value] = (("v", "u"), _integer)  # of fixed-point neurons
VARIABLES: dict[str, tuple[tuple[str, ...], Value]] = {
    "LIF": (("v", "u"), _membrane),
    "LIFReset": (("v", "u"), _membrane),
    "LIFRefractory": (("v", "u", "refractory_period_end"), _unless_resting),
    "TernaryLIF": (("v", "u"), _membrane),
    "ATRLIF": (("v", "r", "theta"), _adaptive),
    "RF": (("real",), _state("real")),
    "RF_IZ": (("real", "imag"), _imaginary),
    "Sigma": (("sigma",), _state("sigma")),
    # The residue is without the value that was sent: the caller adds it.
    "Delta": (("residue",), _state("residue")),
    "SigmaDelta": (("residue",), _state("residue")),
}
