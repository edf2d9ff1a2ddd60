"""Leaky integrate-and-fire in physical units, with synaptic currents that rise and fall."""

from __future__ import annotations

import math
from typing import Any

from neurosim.cores.lif_delta import decayed
from neurosim.cores.lif_exp import lif_exp
from neurosim.cores.refractory_lif import fires, steps_left
from neurosim.language.definition import Derived, core
from neurosim.language.functions import where
from neurosim.units import alpha_response, mV


@core(
    parameters=lif_exp.parameters,
    inputs=lif_exp.inputs,
    state={"v": -70 * mV, "j_exc": 0.0, "j_inh": 0.0, "rise_exc": 0.0, "rise_inh": 0.0, "wait": 0.0},
    derived={
        **{name: lif_exp.derived[name] for name in ("charge", "p_exc", "p_inh")},
        "q_exc": Derived(alpha_response, "tau_mem", "tau_exc", "c_m"),
        "q_inh": Derived(alpha_response, "tau_mem", "tau_inh", "c_m"),
    },
)
def lif_alpha(
    i_exc: Any,
    i_inh: Any,
    i: Any,
    v: Any,
    j_exc: Any,
    j_inh: Any,
    rise_exc: Any,
    rise_inh: Any,
    wait: Any,
    *,
    tau_exc: Any,
    tau_inh: Any,
    alpha_mem: Any,
    alpha_exc: Any,
    alpha_inh: Any,
    charge: Any,
    p_exc: Any,
    p_inh: Any,
    q_exc: Any,
    q_inh: Any,
    t_ref: Any,
    e_l: Any,
    v_th: Any,
    v_reset: Any,
    i_e: Any,
    dt: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Leaky integrate-and-fire with alpha-shaped currents (NEST ``iaf_psc_alpha``), exact for any step.

    As `lif_exp`, but a spike that arrives causes the current ``w (t / tau) exp(1 - t / tau)``, whose peak is its weight
    w (A) after one time constant. The state has each current and ``rise``, in A/s, the rate at which it rises beside
    its own decay (Rotter & Diesmann 1999, doi:10.1007/s004220050570).
    """
    synaptic = p_exc * j_exc + p_inh * j_inh + q_exc * rise_exc + q_inh * rise_inh
    u = where(wait > 0.0, v, decayed(v, e_l, alpha_mem) + synaptic + charge * (i_e + i))
    z = fires(u, wait, v_th, spike)
    currents = alpha_exc * (j_exc + dt * rise_exc), alpha_inh * (j_inh + dt * rise_inh)
    rises = alpha_exc * rise_exc + math.e / tau_exc * i_exc, alpha_inh * rise_inh + math.e / tau_inh * i_inh
    left = steps_left(wait, z, t_ref, dt, reset)
    return z, reset(u, z, to=v_reset, by=v_th - v_reset), *currents, *rises, left
