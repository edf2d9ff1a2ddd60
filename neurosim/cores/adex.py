"""Adaptive exponential integrate-and-fire in physical units, with exponential synaptic conductances."""

from __future__ import annotations

from typing import Any

from neurosim.cores.conductance_lif import relaxed
from neurosim.cores.refractory_lif import fires, steps_left
from neurosim.language.definition import amperes, core, farads, seconds, siemens, volts
from neurosim.language.functions import exp, minimum, where
from neurosim.units import ms, mV, nS, pA, pF

CAP = 20.0
"""Largest exponent of the spike current, which is constant from v_th + 20 delta_t on."""


@core(
    parameters=dict(
        tau_w=seconds(144 * ms, high=10.0),
        tau_exc=seconds(5 * ms),
        tau_inh=seconds(10 * ms),
        c_m=farads(281 * pF),
        g_l=siemens(30 * nS),
        a=siemens(4 * nS, low=-1e-3),
        b=amperes(80.5 * pA),
        t_ref=seconds(0 * ms, in_steps=True),
        e_l=volts(-70.6 * mV),
        e_exc=volts(0 * mV),
        e_inh=volts(-80 * mV),
        delta_t=volts(2 * mV, low=0.0),
        v_th=volts(-50.4 * mV),
        v_peak=volts(20 * mV),
        v_reset=volts(-70.6 * mV),
        i_e=amperes(0.0),
    ),
    inputs={"ge": 0.0, "gi": 0.0, "i": 0.0},
    state={"v": -70.6 * mV, "w": 0.0, "g_exc": 0.0, "g_inh": 0.0, "wait": 0.0},
)
def adex(
    ge: Any,
    gi: Any,
    i: Any,
    v: Any,
    w: Any,
    g_exc: Any,
    g_inh: Any,
    wait: Any,
    *,
    alpha_w: Any,
    alpha_exc: Any,
    alpha_inh: Any,
    c_m: Any,
    g_l: Any,
    a: Any,
    b: Any,
    t_ref: Any,
    e_l: Any,
    e_exc: Any,
    e_inh: Any,
    delta_t: Any,
    v_th: Any,
    v_peak: Any,
    v_reset: Any,
    i_e: Any,
    dt: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Adaptive exponential integrate-and-fire (Brette & Gerstner 2005, doi:10.1152/jn.00686.2005).

    ``c_m dv/dt = g_l (e_l - v) + g_l delta_t exp((v - v_th) / delta_t) - w + i_e + i`` and the currents of conductances
    as in `lif_cond`; ``tau_w dw/dt = a (v - e_l) - w``. Above `v_peak` it spikes: v is set to `v_reset`, where it is
    frozen for `t_ref`, and w grows by `b`. Defaults are those of the paper, with a peak of 20 mV.

    Exponential Euler, first order in dt: v is integrated exactly for the conductances, w and spike current from before
    the step, w exactly for that v. The exponent ``(v - v_th) / delta_t`` is at most 20, so that no input makes the
    state infinite. A neuron spikes at most once in a step: use steps of 0.1 ms or less.
    """
    upswing = g_l * delta_t * exp(minimum((v - v_th) / delta_t, CAP))
    drive = g_l * e_l + g_exc * e_exc + g_inh * e_inh + upswing - w + (i_e + i)
    u = where(wait > 0.0, v, relaxed(v, drive, g_l + g_exc + g_inh, dt / c_m))
    z = fires(u, wait, v_peak, spike)
    settled = a * (v - e_l)
    adapted = settled + alpha_w * (w - settled) + reset.gate(z) * b
    left = steps_left(wait, z, t_ref, dt, reset)
    v_after = reset(u, z, to=v_reset, by=v_peak - v_reset)
    return z, v_after, adapted, alpha_exc * g_exc + ge, alpha_inh * g_inh + gi, left
