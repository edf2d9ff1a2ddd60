"""Leaky integrate-and-fire with conductance-based synapses."""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import core, seconds
from neurosim.language.functions import exp


def relaxed(v: Any, drive: Any, total: Any, time: Any) -> Any:
    """Return v after a time of ``dv/dt = drive - total v``: exact where drive and conductance are constant.

    Time is in units of the capacitance, so that `total` times it is a number.
    """
    rest = drive / total
    return rest + (v - rest) * exp(-time * total)


@core(
    parameters=dict(
        tau_mem=seconds(20e-3),
        tau_exc=seconds(5e-3),
        tau_inh=seconds(10e-3),
        e_exc=6.0,
        e_inh=-2.0,
        v_leak=0.0,
        v_th=1.0,
        v_reset=0.0,
        r=1.0,
    ),
    inputs={"ge": 0.0, "gi": 0.0, "i": 0.0},
    state=("v", "g_exc", "g_inh"),
)
def conductance_lif(
    ge: Any,
    gi: Any,
    i: Any,
    v: Any,
    g_exc: Any,
    g_inh: Any,
    *,
    tau_mem: Any,
    alpha_exc: Any,
    alpha_inh: Any,
    e_exc: Any,
    e_inh: Any,
    v_leak: Any,
    v_th: Any,
    v_reset: Any,
    r: Any,
    dt: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """Leaky integrate-and-fire with exponential synaptic conductances (Brette et al. 2007, benchmark COBA).

    ``tau_mem dv/dt = (v_leak - v) + g_exc (e_exc - v) + g_inh (e_inh - v) + r i``, doi:10.1007/s10827-007-0038-6. The
    ports ``ge`` and ``gi`` add to the conductances, in units of the leak conductance; ``i`` is a current. A port that
    nothing feeds is 0. The membrane is integrated exactly for the conductances after the input of the step, which are
    not negative. By default v is in units of the distance from rest to threshold, 10 mV in the benchmark.
    """
    exc = alpha_exc * g_exc + ge
    inh = alpha_inh * g_inh + gi
    drive = v_leak + exc * e_exc + inh * e_inh + r * i
    u = relaxed(v, drive, 1.0 + exc + inh, dt / tau_mem)
    z = spike(u - v_th)
    return z, reset(u, z, to=v_reset, by=v_th), exc, inh
