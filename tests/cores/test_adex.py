"""AdEx against its differential equations, and its cap."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import neurosim as ns
from neurosim.cores import adex
from neurosim.units import ms, mV, nA, nS, pA, pF

C, G_L, E_L, V_TH, DELTA, TAU_W, A, B = 281 * pF, 30 * nS, -70.6 * mV, -50.4 * mV, 2 * mV, 144 * ms, 4 * nS, 80.5 * pA
DRIVE = 0.8 * nA


def spike_times(drive: float, until: float) -> list[float]:
    """Return the spike times of the equations of Brette & Gerstner (2005), by an adaptive method of high order."""

    def slope(_: float, y: np.ndarray) -> tuple[float, float]:
        v, w = y
        return (-G_L * (v - E_L) + G_L * DELTA * math.exp((v - V_TH) / DELTA) - w + drive) / C, (
            A * (v - E_L) - w
        ) / TAU_W

    def peak(_: float, y: np.ndarray) -> float:
        return y[0] + 20 * mV  # from there to the peak of 20 mV it takes less than a microsecond

    peak.terminal = True  # type: ignore[attr-defined]
    t, y, times = 0.0, [E_L, 0.0], []
    while t < until:
        part = solve_ivp(slope, (t, until), y, events=peak, method="DOP853", rtol=1e-10, atol=1e-13)
        t = part.t[-1]
        if part.status == 1:
            times.append(t)
            y = [E_L, part.y[1][-1] + B]
    return times


def fired(dt: float, drive: float, until: float, **parameters: float) -> torch.Tensor:
    i = torch.full((round(until / dt), 1, 1), drive, dtype=torch.float64)
    return (ns.layer(adex)(dt=dt, **parameters)({"i": i})[0].flatten().nonzero().flatten() + 1) * dt


def test_spike_times_converge_to_those_of_the_equations_with_first_order():
    exact = torch.tensor(spike_times(DRIVE, 0.3), dtype=torch.float64)
    assert len(exact) > 4
    errors = [(fired(dt, DRIVE, 0.3)[: len(exact)] - exact).abs().max().item() for dt in (8e-5, 4e-5, 2e-5, 1e-5)]
    assert errors[-1] < 0.5 * ms
    for coarse, fine in itertools.pairwise(errors):
        assert 1.6 < coarse / fine < 2.4, errors
    assert len(fired(1e-5, DRIVE, 0.3)) == len(exact)


def test_it_adapts_and_its_rheobase_is_that_of_the_equations():
    times = fired(1e-5, DRIVE, 0.5)
    intervals = times.diff()
    assert intervals[-1] > 2 * intervals[0]
    # Without adaptation the largest current with a fixed point; Touboul & Brette 2008.
    rheobase = G_L * (V_TH - E_L - DELTA)
    assert not len(fired(1e-4, 0.99 * rheobase, 3.0, a=0.0)) and len(fired(1e-4, 1.01 * rheobase, 3.0, a=0.0))


def test_a_spike_raises_w_by_b_once_a_step():
    layer = ns.layer(adex)(dt=0.1 * ms, a=0.0)
    i = torch.full((3, 1, 1), 1e-4, dtype=torch.float64)  # far above any physiological current
    run = layer.run({"i": i}, record=("w", "v"))
    assert run.out.flatten().tolist() == [1.0, 1.0, 1.0]
    w, decay = 0.0, math.exp(-0.1 * ms / TAU_W)
    for recorded in run.recorded["w"].flatten().tolist():
        w = w * decay + B
        assert recorded == pytest.approx(w, rel=1e-12)
    assert run.recorded["v"].flatten().tolist() == [E_L] * 3


def test_the_cap_changes_no_spike_time_of_a_normal_drive():
    # Where the exponent reaches 20 the membrane passes the peak within 1e-7 s.
    slope = G_L * DELTA * math.exp(20.0) / C
    assert (20 * mV - (V_TH + 20 * DELTA)) / slope < 1e-7
