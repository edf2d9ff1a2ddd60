"""The neuron of DECOLLE: two filters, and a trace of its spikes instead of a reset."""

from __future__ import annotations

from typing import Any

from neurosim.cores.leaky_integrator import leaky_integrator
from neurosim.language.definition import core, seconds


@core(
    parameters=dict(tau_syn=seconds(12e-3), tau_mem=seconds(32.8e-3), tau_ref=seconds(2.32e-3), v_ref=1.0, v_th=0.0),
    state=("q", "p", "ref"),
)
def decolle(
    i: Any,
    q: Any,
    p: Any,
    ref: Any,
    *,
    alpha_syn: Any,
    alpha_mem: Any,
    alpha_ref: Any,
    v_ref: Any,
    v_th: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Filter the current twice and subtract a trace of the neuron's own spikes; no reset (Kaiser et al. 2020).

    ``tau_syn dq/dt = -q + i``; ``tau_mem dp/dt = -p + q``, with q of the step before; ``tau_ref dref/dt = -ref - v_ref
    z``; a spike where ``p + ref > v_th``. The filters act after the weights, which equals the paper's order, filters
    before weights, because both are linear (a bias is filtered as well). The defaults are the decays 0.92, 0.97 and
    0.65 of the authors' program for DVS gestures at 1 ms (doi:10.3389/fnins.2020.00424).
    """
    potential, _ = leaky_integrator(q, p, alpha_mem=alpha_mem, r=1.0)
    current, _ = leaky_integrator(i, q, alpha_mem=alpha_syn, r=1.0)
    u = potential + ref
    z = spike(u - v_th)
    after, _ = leaky_integrator(-v_ref * reset.gate(z), ref, alpha_mem=alpha_ref, r=1.0)
    return z, current, potential, after
