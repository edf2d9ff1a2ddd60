"""The value that each of Lava's processes compares with its threshold, computed from monitored variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from neurosim.hardware.lava.description import PopulationProcess

Traces = Mapping[str, np.ndarray]
Value = Callable[[PopulationProcess, Traces, int], np.ndarray]


def _membrane(population: PopulationProcess, seen: Traces, now: int) -> np.ndarray:
    kept = 1.0 - population.argument("dv")
    return np.asarray(seen["v"][now - 1] * kept + seen["u"][now] + population.argument("bias_mant"))


def _integer(population: PopulationProcess, seen: Traces, now: int) -> np.ndarray:
    before = seen["v"][now - 1].astype(np.int64)
    kept = np.sign(before) * ((np.abs(before) * (4096 - population.argument("dv").astype(np.int64))) >> 12)
    bias = population.argument("bias_mant").astype(np.int64) << population.argument("bias_exp").astype(np.int64)
    return np.clip(kept + seen["u"][now].astype(np.int64) + bias, 1 - (1 << 23), (1 << 23) - 1)


def _unless_resting(population: PopulationProcess, seen: Traces, now: int) -> np.ndarray:
    resting = seen["refractory_period_end"][now - 1] >= now + 1  # Lava counts its steps from 1
    return np.where(resting, seen["v"][now - 1], _membrane(population, seen, now))


def _adaptive(population: PopulationProcess, seen: Traces, now: int) -> np.ndarray:
    refractory = (1.0 - population.argument("delta_r")) * seen["r"][now - 1]
    raised = (1.0 - population.argument("delta_theta")) * (seen["theta"][now - 1] - population.argument("theta_0"))
    return np.asarray(seen["v"][now] - refractory - raised)


def _imaginary(population: PopulationProcess, seen: Traces, now: int) -> np.ndarray:
    angle, kept = 2.0 * np.pi / population.argument("period"), 1.0 - population.argument("alpha")
    return np.asarray(kept * (np.sin(angle) * seen["real"][now - 1] + np.cos(angle) * seen["imag"][now - 1]))


def _state(name: str) -> Value:
    return lambda population, seen, now: seen[name][now]


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
