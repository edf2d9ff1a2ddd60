"""Leaky integrator: a membrane that never fires; the membrane is read out."""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import core, seconds


@core(parameters=dict(tau_mem=seconds(20e-3), r=1.0), state=("v",))
def leaky_integrator(i: Any, v: Any, *, alpha_mem: Any, r: Any) -> tuple[Any, ...]:
    """Low-pass filter of the current, exponential Euler: ``tau_mem dv/dt = -v + r i`` (NIR ``LI``); the output is v."""
    u = alpha_mem * v + (1.0 - alpha_mem) * r * i
    return u, u
