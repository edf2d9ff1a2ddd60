"""Gain that slow astrocyte calcium sets."""

from __future__ import annotations

from typing import Any

from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.language.definition import core, seconds


@core(parameters=dict(tau_ca=seconds(0.5, high=1e3), gamma=1.0), state=("a",))
def calcium_gain(i: Any, a: Any, *, alpha_ca: Any, gamma: Any) -> tuple[Any, ...]:
    """Slow trace of activity, and the gain ``g = 1 + gamma a / (1 + a)`` that it sets: ``tau_ca da/dt = -a + i``.

    The input is activity that is never below 0, such as the share of neurons that fired, and the output is g: 1 in
    silence, never above ``1 + gamma``. An equation of our own for the gating of a synapse by its astrocyte; a slow
    trace keeps it apart from a membrane, and the saturation keeps the gain finite. See `GainAstrocyte`.
    """
    trace, _ = leaky_integrator(i, a, alpha_mem=alpha_ca, r=1.0)
    return 1.0 + gamma * trace / (1.0 + trace), trace
