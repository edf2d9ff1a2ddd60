"""Leaky integrate-and-fire with an adaptive threshold."""

from __future__ import annotations

from typing import Any

from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.language.definition import core, seconds


@core(
    parameters=dict(
        tau_mem=seconds(20e-3), tau_adapt=seconds(200e-3, high=10.0), beta=0.2, v_th=1.0, v_reset=0.0, r=1.0
    ),
    state=("v", "a"),
)
def alif(
    i: Any,
    v: Any,
    a: Any,
    *,
    alpha_mem: Any,
    alpha_adapt: Any,
    beta: Any,
    v_th: Any,
    v_reset: Any,
    r: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Each spike raises the threshold ``v_th + beta a`` by `beta`; ``tau_adapt da/dt = -a`` brings it back.

    The adaptive neuron of Bellec et al. 2020 (doi:10.1038/s41467-020-17236-y) with our own default of `beta`. A spike
    is compared with the threshold that earlier spikes have raised. A reset by subtraction subtracts ``v_th``.
    """
    u, _ = leaky_integrator(i, v, alpha_mem=alpha_mem, r=r)
    z = spike(u - (v_th + beta * a))
    raised = alpha_adapt * a + z
    return z, reset(u, z, to=v_reset, by=v_th), raised
