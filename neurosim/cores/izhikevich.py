"""The simple model of a spiking neuron of Izhikevich."""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import core


@core(parameters=dict(a=0.02, b=0.2, c=-65.0, d=8.0, v_peak=30.0), state={"v": -65.0, "u": -13.0})
def izhikevich(
    i: Any,
    v: Any,
    u: Any,
    *,
    a: Any,
    b: Any,
    c: Any,
    d: Any,
    v_peak: Any,
    dt: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Izhikevich's simple model (2003, doi:10.1109/TNN.2003.820440), with the step of its published program.

    ``dv/dt = 0.04 v^2 + 5 v + 140 - u + i``, ``du/dt = a (b v - u)``; above 30 it spikes, v is set to `c` and u grows
    by `d`. Numbers are those of the paper: v in mV, rates in 1/ms. In a step v takes two half steps of forward Euler,
    then u one step with the new v. The program, with a step of 1 ms, compares v with 30 where the next step begins and
    adds the synaptic input of the spikes there: that is a delay of one step here.
    """
    time = 1e3 * dt
    half = v + 0.5 * time * (0.04 * v * v + 5.0 * v + 140.0 - u + i)
    rising = half + 0.5 * time * (0.04 * half * half + 5.0 * half + 140.0 - u + i)
    recovered = u + time * a * (b * rising - u)
    z = spike(0.1 * (rising - v_peak))
    return z, reset(rising, z, to=c, by=v_peak - c), recovered + reset.gate(z) * d
