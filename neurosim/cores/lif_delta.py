"""Leaky integrate-and-fire in physical units, with synapses that move the membrane at once."""

from __future__ import annotations

from typing import Any

from neurosim.cores.refractory_lif import fires, steps_left
from neurosim.language.definition import Derived, amperes, core, farads, seconds, volts
from neurosim.language.functions import where
from neurosim.units import constant_response, ms, mV, pF


def decayed(v: Any, e_l: Any, alpha_mem: Any) -> Any:
    """Return a membrane after a step without input: its distance from rest decays."""
    return e_l + alpha_mem * (v - e_l)


@core(
    parameters=dict(
        tau_mem=seconds(10 * ms),
        c_m=farads(250 * pF),
        t_ref=seconds(2 * ms, in_steps=True),
        e_l=volts(-70 * mV),
        v_th=volts(-55 * mV),
        v_reset=volts(-70 * mV),
        i_e=amperes(0.0),
    ),
    inputs={"dv": 0.0, "i": 0.0},
    state={"v": -70 * mV, "wait": 0.0},
    derived=dict(charge=Derived(constant_response, "tau_mem", "c_m")),
)
def lif_delta(
    dv: Any,
    i: Any,
    v: Any,
    wait: Any,
    *,
    alpha_mem: Any,
    charge: Any,
    t_ref: Any,
    e_l: Any,
    v_th: Any,
    v_reset: Any,
    i_e: Any,
    dt: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Leaky integrate-and-fire with delta synapses (NEST ``iaf_psc_delta``), exact for any step.

    ``tau_mem dv/dt = e_l - v + (i_e + i) tau_mem / c_m``; each spike that arrives adds its weight (V) to v, through the
    port `dv`. `i` is a current in A that is constant in a step. For `t_ref` after a spike v is frozen at `v_reset` and
    input is lost. In a step v decays, then input is added, then v is compared with `v_th`, so that an input can cause a
    spike in the step in which it arrives. Defaults and order of a step are NEST's, which fires at ``v >= v_th``.
    """
    driven = decayed(v, e_l, alpha_mem) + charge * (i_e + i) + dv
    u = where(wait > 0.0, v, driven)
    z = fires(u, wait, v_th, spike)
    return z, reset(u, z, to=v_reset, by=v_th - v_reset), steps_left(wait, z, t_ref, dt, reset)
