"""Cores as a user writes them, at the top level of a module so that they can be pickled."""

from __future__ import annotations

import neurosim as ns


@ns.core(parameters=dict(a=0.02, b=0.2, c=-65.0, d=8.0, v_peak=30.0), state={"v": -65.0, "w": -13.0})
def izhikevich(i, v, w, *, a, b, c, d, v_peak, dt, spike, reset):
    """Izhikevich 2003, doi:10.1109/TNN.2003.820440, explicit Euler; v in mV, its rates in 1/ms."""
    ms = dt * 1e3
    u = v + ms * (0.04 * v * v + 5.0 * v + 140.0 - w + i)
    recovered = w + ms * (a * (b * v - w))
    z = spike(u - v_peak)
    return z, reset(u, z, to=c, by=v_peak), recovered + reset.gate(z) * d


@ns.core(
    parameters=dict(
        tau_mem=ns.seconds(20e-3),
        tau_exc=ns.seconds(5e-3),
        tau_inh=ns.seconds(10e-3),
        e_exc=6.0,
        e_inh=-2.0,
        v_th=1.0,
        v_reset=0.0,
    ),
    inputs={"ge": None, "gi": 0.0},
    state=("v", "g_exc", "g_inh"),
)
def coba(ge, gi, v, g_exc, g_inh, *, tau_mem, alpha_exc, alpha_inh, e_exc, e_inh, v_th, v_reset, dt, spike, reset):
    """COBA of Brette et al. 2007, doi:10.1007/s10827-007-0038-6, explicit Euler; v in units of 10 mV above rest."""
    exc = alpha_exc * g_exc + ge
    inh = alpha_inh * g_inh + gi
    u = v + dt / tau_mem * (exc * (e_exc - v) + inh * (e_inh - v) - v)
    z = spike(u - v_th)
    return z, reset(u, z, to=v_reset, by=v_th), exc, inh
