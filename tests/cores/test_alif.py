"""The adaptive neuron settles at the rate that theory gives."""

from __future__ import annotations

import math

import pytest
import torch

import neurosim as ns


def rate(current: float, beta: float, dt: float) -> tuple[float, float]:
    """Return the rate by the intervals after two of three seconds, and by the spikes in the first tenth, Hz."""
    layer = ns.ALIF(tau_mem=20e-3, tau_adapt=200e-3, beta=beta, dt=dt)
    z, _ = layer(torch.full((round(3.0 / dt), 1, 1), current, dtype=torch.float64))
    late = z[round(2.0 / dt) :].flatten().nonzero().flatten() * dt
    return float(1 / late.diff().mean()), float(z[: round(0.1 / dt)].sum()) / 0.1


@pytest.mark.parametrize("current", [3.0, 6.0, 12.0])
def test_the_rate_solves_its_fixed_point(current):
    """With d seconds between spikes each meets 1 + beta / (e^(d/tau_adapt) - 1), and reaches it in d seconds."""
    beta, dt = 0.18, 1e-5
    f, early = rate(current, beta, dt)
    threshold = 1 + beta / math.expm1(1 / (f * 200e-3))
    assert f == pytest.approx(1 / (20e-3 * math.log(current / (current - threshold))), rel=0.01)
    # Where spikes are many, that threshold is 1 + beta tau_adapt f.
    assert threshold == pytest.approx(1 + beta * (200e-3 * f - 0.5), rel=0.01)
    assert early > 1.5 * f


def test_without_adaptation_the_rate_stays():
    f, early = rate(6.0, 0.0, 1e-5)
    assert f == pytest.approx(1 / (20e-3 * math.log(6 / 5)), rel=0.01) and early == pytest.approx(f, rel=0.05)
