"""Integrate-and-fire without leak."""

from __future__ import annotations

from typing import Any

from neurosim.cores.integrator import integrator
from neurosim.language.definition import core


@core(parameters=dict(v_th=1.0, v_reset=0.0, r=1.0), state=("v",))
def integrate_and_fire(i: Any, v: Any, *, v_th: Any, v_reset: Any, r: Any, spike: Any, reset: Any) -> tuple[Any, ...]:
    """Perfect integrator that fires: ``v += r i`` per step (NIR ``IF`` with ``R = r / dt``)."""
    u, _ = integrator(i, v, r=r)
    z = spike(u - v_th)
    return z, reset(u, z, to=v_reset, by=v_th)
