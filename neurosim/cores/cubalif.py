"""Current-based leaky integrate-and-fire with a synaptic time constant."""

from __future__ import annotations

from typing import Any

from neurosim.cores.cuba_integrator import cuba_integrator
from neurosim.language.definition import core, seconds


@core(parameters=dict(tau_syn=seconds(5e-3), tau_mem=seconds(20e-3), v_th=1.0, v_reset=0.0, r=1.0), state=("j", "v"))
def cubalif(
    i: Any, j: Any, v: Any, *, alpha_syn: Any, alpha_mem: Any, v_th: Any, v_reset: Any, r: Any, spike: Any, reset: Any
) -> tuple[Any, ...]:
    """Spikes add to a decaying current that drives the membrane (NIR ``CubaLIF`` with ``w_in = tau_syn / dt``).

    ``tau_syn dj/dt = -j``, input added to j; ``tau_mem dv/dt = -v + r j``; the current is updated first.
    """
    u, current, _ = cuba_integrator(i, j, v, alpha_syn=alpha_syn, alpha_mem=alpha_mem, r=r)
    z = spike(u - v_th)
    return z, current, reset(u, z, to=v_reset, by=v_th)
