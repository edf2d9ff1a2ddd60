"""Leaky integrate-and-fire with an adaptive threshold and a refractory potential."""

from __future__ import annotations

from typing import Any

from neurosim.cores.cuba_integrator import cuba_integrator
from neurosim.language.definition import core, seconds
from neurosim.language.functions import where


@core(
    parameters=dict(
        tau_syn=seconds(5e-3),
        tau_mem=seconds(20e-3),
        tau_adapt=seconds(50e-3, high=10.0),
        tau_refr=seconds(10e-3),
        v_th=1.0,
        step=0.75,
        r=1.0,
    ),
    state=("j", "v", "a", "q"),
)
def atrlif(
    i: Any,
    j: Any,
    v: Any,
    a: Any,
    q: Any,
    *,
    alpha_syn: Any,
    alpha_mem: Any,
    alpha_adapt: Any,
    alpha_refr: Any,
    v_th: Any,
    step: Any,
    r: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    r"""Adaptive threshold and refractoriness: the membrane is not reset, a spike lowers it by `q` (``ATRLIF``).

    Threshold ``theta = v_th + a`` and refractory potential `q` decay to `v_th` and 0; the neuron fires where
    ``v - q > theta``, and a spike then adds ``2 theta`` to `q` and `step` to `a`. The float model of Lava's ``ATRLIF``
    (lava-nc 0.10, BSD-3; after the ALIF of lava-dl), which fires at ``>=``. With `reset` None nothing is added to `q`.
    """
    membrane, current, _ = cuba_integrator(i, j, v, alpha_syn=alpha_syn, alpha_mem=alpha_mem, r=r)
    raised, held = alpha_adapt * a, alpha_refr * q
    u = membrane - held - raised
    z = spike(u - v_th)
    gate = reset.gate(z)
    down = held if reset.mode is None else where(gate, held + 2.0 * (v_th + raised), held)
    return z, current, membrane, where(gate, raised + step, raised), down
