"""Leaky integrator behind a synaptic current."""

from __future__ import annotations

from typing import Any

from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.language.definition import core, seconds


@core(parameters=dict(tau_syn=seconds(5e-3), tau_mem=seconds(20e-3), r=1.0), state=("j", "v"))
def cuba_integrator(i: Any, j: Any, v: Any, *, alpha_syn: Any, alpha_mem: Any, r: Any) -> tuple[Any, ...]:
    """Membrane that never fires, driven by a decaying current; the output is v.

    ``tau_syn dj/dt = -j``, input added to j; ``tau_mem dv/dt = -v + r j``; the current is updated first.
    """
    current = alpha_syn * j + i
    u, _ = leaky_integrator(current, v, alpha_mem=alpha_mem, r=r)
    return u, current, u
