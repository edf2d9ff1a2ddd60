"""Leaky integrate-and-fire in physical units, with exponential synaptic currents."""

from __future__ import annotations

from typing import Any

from neurosim.cores.lif_delta import decayed
from neurosim.cores.refractory_lif import fires, steps_left
from neurosim.language.definition import Derived, amperes, core, farads, seconds, volts
from neurosim.language.functions import where
from neurosim.units import constant_response, exponential_response, ms, mV, pF


@core(
    parameters=dict(
        tau_mem=seconds(10 * ms),
        tau_exc=seconds(2 * ms),
        tau_inh=seconds(2 * ms),
        c_m=farads(250 * pF),
        t_ref=seconds(2 * ms, in_steps=True),
        e_l=volts(-70 * mV),
        v_th=volts(-55 * mV),
        v_reset=volts(-70 * mV),
        i_e=amperes(0.0),
    ),
    inputs={"i_exc": 0.0, "i_inh": 0.0, "i": 0.0},
    state={"v": -70 * mV, "j_exc": 0.0, "j_inh": 0.0, "wait": 0.0},
    derived=dict(
        charge=Derived(constant_response, "tau_mem", "c_m"),
        p_exc=Derived(exponential_response, "tau_mem", "tau_exc", "c_m"),
        p_inh=Derived(exponential_response, "tau_mem", "tau_inh", "c_m"),
    ),
)
def lif_exp(
    i_exc: Any,
    i_inh: Any,
    i: Any,
    v: Any,
    j_exc: Any,
    j_inh: Any,
    wait: Any,
    *,
    alpha_mem: Any,
    alpha_exc: Any,
    alpha_inh: Any,
    charge: Any,
    p_exc: Any,
    p_inh: Any,
    t_ref: Any,
    e_l: Any,
    v_th: Any,
    v_reset: Any,
    i_e: Any,
    dt: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Leaky integrate-and-fire with exponential currents (NEST ``iaf_psc_exp``), exact for any step.

    ``tau_mem dv/dt = e_l - v + (j_exc + j_inh + i_e + i) tau_mem / c_m`` (Rotter & Diesmann 1999,
    doi:10.1007/s004220050570). Each spike that arrives adds its weight (A) to a current that decays with `tau_exc` or
    `tau_inh`, through the port `i_exc` or `i_inh`; inhibitory weights are negative. `i` is a current in A that is
    constant in a step. For `t_ref` after a spike v is frozen at `v_reset`; currents go on. In a step v is advanced by
    the currents from before it, then currents decay and input is added: an input acts on v from the next step on.
    Defaults and order of a step are NEST's, which fires at ``v >= v_th``.
    """
    driven = decayed(v, e_l, alpha_mem) + p_exc * j_exc + p_inh * j_inh + charge * (i_e + i)
    u = where(wait > 0.0, v, driven)
    z = fires(u, wait, v_th, spike)
    left = steps_left(wait, z, t_ref, dt, reset)
    return z, reset(u, z, to=v_reset, by=v_th - v_reset), alpha_exc * j_exc + i_exc, alpha_inh * j_inh + i_inh, left
