"""Leaky integrator with a threshold and no reset."""

from __future__ import annotations

from typing import Any

from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.language.definition import core, seconds


@core(parameters=dict(tau_mem=seconds(20e-3), v_th=1.0, r=1.0), state=("v",))
def reset_free_leaky(i: Any, v: Any, *, alpha_mem: Any, v_th: Any, r: Any, spike: Any) -> tuple[Any, ...]:
    """Leaky integrator that fires at every step above its threshold; a spike does not change the membrane.

    ``tau_mem dv/dt = -v + r i``: the LIF neuron without its reset (Fang et al. 2023, arXiv:2304.12760).
    """
    _, u = leaky_integrator(i, v, alpha_mem=alpha_mem, r=r)
    return spike(u - v_th), u
