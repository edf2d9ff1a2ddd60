"""A core as a user writes it, at the top level of a module so that it can be pickled."""

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
