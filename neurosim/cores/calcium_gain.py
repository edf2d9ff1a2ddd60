"""Gain controlled by slow astrocyte calcium."""

from __future__ import annotations

from typing import Any

from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.language.definition import core, seconds


@core(parameters=dict(tau_ca=seconds(0.5, high=1e3), gamma=1.0), state=("a",))
def calcium_gain(i: Any, a: Any, *, alpha_ca: Any, gamma: Any) -> tuple[Any, ...]:
    """Slow trace of activity, ``tau_ca da/dt = -a + i``, and the gain ``g = 1 + gamma a / (1 + a)`` computed from it.

    The input is activity that is never below 0, such as the share of neurons that fired, and the output is g: 1 in
    silence, never above ``1 + gamma``. Our own equation for the gating of a synapse by its astrocyte: a slow
    trace, unlike a membrane, and a saturation that keeps the gain finite. See `GainAstrocyte`.
    """
    trace, _ = leaky_integrator(i, a, alpha_mem=alpha_ca, r=1.0)
    return 1.0 + gamma * trace / (1.0 + trace), trace
