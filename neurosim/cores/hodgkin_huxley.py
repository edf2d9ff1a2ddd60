"""Hodgkin-Huxley neuron of the form of Traub and Miles, with exponential synaptic conductances."""

from __future__ import annotations

from typing import Any

from neurosim.cores.conductance_lif import relaxed
from neurosim.cores.refractory_lif import fires, steps_left
from neurosim.language.definition import amperes, core, farads, seconds, siemens, volts
from neurosim.language.functions import absolute, exp, minimum, where
from neurosim.units import ms, mV, nS, pF, uS

CAP = 60.0
"""Largest exponent of a rate: a membrane far outside its range gives finite rates."""


REST = {"m": 0.0097324, "h": 0.9975611, "n": 0.0270745}
"""The gates settled at -65 mV, with the default `v_t`."""


def _exponential(x: Any) -> Any:
    return exp(minimum(x, CAP))


def _ratio(x: Any) -> Any:
    """Return ``x / (exp(x) - 1)``, by its power series around 0 where that is 0 / 0."""
    near = absolute(x) < 0.05
    x2 = x * x
    series = 1.0 - 0.5 * x + x2 * (1.0 / 12.0 - x2 * (1.0 / 720.0 - x2 * (1.0 / 30240.0)))
    away = where(near, 1.0, x)
    return where(near, series, away / (_exponential(away) - 1.0))


def _gate(x: Any, opening: Any, closing: Any, dt: Any) -> Any:
    """Return a gate after a step of ``dx/dt = opening (1 - x) - closing x``, with rates in 1/ms."""
    return relaxed(x, opening, opening + closing, 1e3 * dt)


@core(
    parameters=dict(
        tau_exc=seconds(5 * ms),
        tau_inh=seconds(10 * ms),
        c_m=farads(200 * pF),
        g_l=siemens(10 * nS),
        g_na=siemens(20 * uS),
        g_k=siemens(6 * uS),
        t_ref=seconds(3 * ms, in_steps=True),
        e_l=volts(-60 * mV),
        e_na=volts(50 * mV),
        e_k=volts(-90 * mV),
        e_exc=volts(0 * mV),
        e_inh=volts(-80 * mV),
        v_t=volts(-63 * mV),
        v_th=volts(-20 * mV),
        i_e=amperes(0.0),
    ),
    inputs={"ge": 0.0, "gi": 0.0, "i": 0.0},
    state={"v": -65 * mV, **REST, "g_exc": 0.0, "g_inh": 0.0, "wait": 0.0},
)
def hodgkin_huxley(
    ge: Any,
    gi: Any,
    i: Any,
    v: Any,
    m: Any,
    h: Any,
    n: Any,
    g_exc: Any,
    g_inh: Any,
    wait: Any,
    *,
    alpha_exc: Any,
    alpha_inh: Any,
    c_m: Any,
    g_l: Any,
    g_na: Any,
    g_k: Any,
    t_ref: Any,
    e_l: Any,
    e_na: Any,
    e_k: Any,
    e_exc: Any,
    e_inh: Any,
    v_t: Any,
    v_th: Any,
    i_e: Any,
    dt: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Hodgkin-Huxley neuron (Traub & Miles 1991; HH-COBA of Brette et al. 2007, doi:10.1007/s10827-007-0038-6).

    ``c_m dv/dt = g_l (e_l - v) + g_na m^3 h (e_na - v) + g_k n^4 (e_k - v) + i_e + i`` and the currents of conductances
    as in `lif_cond`. The rates of the gates m, h and n are those of the paper, for v measured from `v_t`. A spike is an
    upward crossing of `v_th`; none is counted for `t_ref` after it. Nothing is reset, whatever `reset` is.

    Exponential Euler, first order in dt, the method "exponential_euler" of Brian2: v and each gate are integrated
    exactly for the others from before the step, then conductances decay and input is added. Exponents of rates are at
    most 60.
    """
    x = 1e3 * (v - v_t)
    sodium, potassium = g_na * m * m * m * h, g_k * n * n * n * n
    drive = g_l * e_l + sodium * e_na + potassium * e_k + g_exc * e_exc + g_inh * e_inh + (i_e + i)
    u = relaxed(v, drive, g_l + sodium + potassium + g_exc + g_inh, dt / c_m)
    z = fires(where(v > v_th, v_th - 10 * mV, u), wait, v_th, spike)
    m_after = _gate(m, 1.28 * _ratio((13.0 - x) / 4.0), 1.4 * _ratio((x - 40.0) / 5.0), dt)
    h_after = _gate(h, 0.128 * _exponential((17.0 - x) / 18.0), 4.0 / (1.0 + _exponential((40.0 - x) / 5.0)), dt)
    n_after = _gate(n, 0.16 * _ratio((15.0 - x) / 5.0), 0.5 * _exponential((10.0 - x) / 40.0), dt)
    left = steps_left(wait, z, t_ref, dt, reset)
    return z, u, m_after, h_after, n_after, alpha_exc * g_exc + ge, alpha_inh * g_inh + gi, left
