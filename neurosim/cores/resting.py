"""Current-based neurons whose membrane leaks to a potential other than 0."""

from __future__ import annotations

from typing import Any

from neurosim.cores.cuba_integrator import cuba_integrator
from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.language.definition import core, seconds


@core(parameters=dict(tau_syn=seconds(5e-3), tau_mem=seconds(20e-3), v_leak=0.0, r=1.0), state=("j", "v"))
def cuba_integrator_resting(
    i: Any, j: Any, v: Any, *, alpha_syn: Any, alpha_mem: Any, v_leak: Any, r: Any
) -> tuple[Any, ...]:
    """`cuba_integrator` with a resting potential: ``tau_mem dv/dt = (v_leak - v) + r j`` (NIR ``CubaLI``).

    An input of the synapses is not the same as `v_leak`: it passes through the synaptic decay. v starts at 0.
    """
    _, current, _ = cuba_integrator(i, j, v, alpha_syn=alpha_syn, alpha_mem=alpha_mem, r=r)
    u, _ = leaky_integrator(v_leak + r * current, v, alpha_mem=alpha_mem, r=1.0)
    return u, current, u


@core(
    parameters=dict(tau_syn=seconds(5e-3), tau_mem=seconds(20e-3), v_leak=0.0, v_th=1.0, v_reset=0.0, r=1.0),
    state=("j", "v"),
)
def cubalif_resting(
    i: Any,
    j: Any,
    v: Any,
    *,
    alpha_syn: Any,
    alpha_mem: Any,
    v_leak: Any,
    v_th: Any,
    v_reset: Any,
    r: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """`cubalif` with a resting potential: ``tau_mem dv/dt = (v_leak - v) + r j`` (NIR ``CubaLIF``); v starts at 0."""
    u, current, _ = cuba_integrator_resting(i, j, v, alpha_syn=alpha_syn, alpha_mem=alpha_mem, v_leak=v_leak, r=r)
    z = spike(u - v_th)
    return z, current, reset(u, z, to=v_reset, by=v_th)
