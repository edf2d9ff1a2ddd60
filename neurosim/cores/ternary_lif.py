"""Leaky integrate-and-fire with spikes of both signs."""

from __future__ import annotations

from typing import Any

from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.language.definition import core, seconds


@core(parameters=dict(tau_mem=seconds(20e-3), v_th=1.0, v_low=-1.0, v_reset=0.0, r=1.0), state=("v",))
def ternary_lif(
    i: Any, v: Any, *, alpha_mem: Any, v_th: Any, v_low: Any, v_reset: Any, r: Any, spike: Any, reset: Any
) -> tuple[Any, ...]:
    """`lif` that sends 1 above `v_th`, -1 below `v_low` and is reset by either (Lava ``TernaryLIF``).

    `v_low` is below `v_th`. A reset by subtraction subtracts the threshold that was crossed. The float model of
    lava-nc 0.10 (BSD-3) without a synaptic current.
    """
    u, _ = leaky_integrator(i, v, alpha_mem=alpha_mem, r=r)
    up, down = spike(u - v_th), spike(v_low - u)
    return up - down, reset(reset(u, up, to=v_reset, by=v_th), down, to=v_reset, by=v_low)
