"""Leaky integrate-and-fire in physical units, with exponential synaptic conductances."""

from __future__ import annotations

from typing import Any

from neurosim.cores.conductance_lif import relaxed
from neurosim.cores.refractory_lif import fires, steps_left
from neurosim.language.definition import amperes, core, farads, seconds, siemens, volts
from neurosim.language.functions import where
from neurosim.units import ms, mV, nS, pF


@core(
    parameters=dict(
        tau_exc=seconds(5 * ms),
        tau_inh=seconds(10 * ms),
        c_m=farads(200 * pF),
        g_l=siemens(10 * nS),
        t_ref=seconds(5 * ms, in_steps=True),
        e_l=volts(-60 * mV),
        e_exc=volts(0 * mV),
        e_inh=volts(-80 * mV),
        v_th=volts(-50 * mV),
        v_reset=volts(-60 * mV),
        i_e=amperes(0.0),
    ),
    inputs={"ge": 0.0, "gi": 0.0, "i": 0.0},
    state={"v": -60 * mV, "g_exc": 0.0, "g_inh": 0.0, "wait": 0.0},
)
def lif_cond(
    ge: Any,
    gi: Any,
    i: Any,
    v: Any,
    g_exc: Any,
    g_inh: Any,
    wait: Any,
    *,
    alpha_exc: Any,
    alpha_inh: Any,
    c_m: Any,
    g_l: Any,
    t_ref: Any,
    e_l: Any,
    e_exc: Any,
    e_inh: Any,
    v_th: Any,
    v_reset: Any,
    i_e: Any,
    dt: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Leaky integrate-and-fire with exponential conductances (NEST ``iaf_cond_exp``; COBA of Brette et al. 2007).

    ``c_m dv/dt = g_l (e_l - v) + g_exc (e_exc - v) + g_inh (e_inh - v) + i_e + i``, doi:10.1007/s10827-007-0038-6. Each
    spike that arrives adds its weight (S, not negative) to a conductance, through the port `ge` or `gi`. `i` is a
    current in A that is constant in a step. For `t_ref` after a spike v is frozen at `v_reset`; conductances go on.

    Exponential Euler, first order in dt: v is integrated exactly for the conductances from before the step, then these
    decay, exactly, and input is added. That is the method "exponential_euler" and the order of Brian2; an input acts on
    v from the next step on. NEST integrates the same equation by an adaptive Runge-Kutta method. The core
    `conductance_lif` has the same membrane in units of the leak, where input acts in the step in which it arrives.
    """
    drive = g_l * e_l + g_exc * e_exc + g_inh * e_inh + (i_e + i)
    u = where(wait > 0.0, v, relaxed(v, drive, g_l + g_exc + g_inh, dt / c_m))
    z = fires(u, wait, v_th, spike)
    left = steps_left(wait, z, t_ref, dt, reset)
    return z, reset(u, z, to=v_reset, by=v_th - v_reset), alpha_exc * g_exc + ge, alpha_inh * g_inh + gi, left
