"""Leaky integrate-and-fire."""

from __future__ import annotations

from typing import Any

from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.language.definition import core, seconds


@core(parameters=dict(tau_mem=seconds(20e-3), v_th=1.0, v_reset=0.0, r=1.0), state=("v",))
def lif(i: Any, v: Any, *, alpha_mem: Any, v_th: Any, v_reset: Any, r: Any, spike: Any, reset: Any) -> tuple[Any, ...]:
    """Leaky integrate-and-fire, exponential Euler: ``tau_mem dv/dt = -v + r i`` (Lapicque 1907; NIR ``LIF``)."""
    u, _ = leaky_integrator(i, v, alpha_mem=alpha_mem, r=r)
    z = spike(u - v_th)
    return z, reset(u, z, to=v_reset, by=v_th)
