"""Leaky integrate-and-fire with an adaptive threshold."""

from __future__ import annotations

from typing import Any

from neurosim.cores.core import core, seconds


@core(
    parameters=dict(tau_mem=seconds(20e-3), tau_adapt=seconds(200e-3), beta=1.8, v_th=1.0, v_reset=0.0, r=1.0),
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
    """Each spike raises the threshold ``v_th + beta a`` by ``beta (1 - alpha_adapt)``; ``tau_adapt da/dt = -a``.

    The adaptive neuron of Bellec et al. 2018 (LSNN, arXiv:1803.09574); the spike meets the threshold that
    earlier spikes have set. A reset by subtraction takes off ``v_th``.
    """
    u = alpha_mem * v + (1.0 - alpha_mem) * r * i
    z = spike(u - (v_th + beta * a))
    raised = alpha_adapt * a + (1.0 - alpha_adapt) * z
    return z, reset(u, z, to=v_reset, by=v_th), raised
