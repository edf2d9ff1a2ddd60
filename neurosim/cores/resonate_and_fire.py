"""Resonate-and-fire: a damped oscillator that fires in phase."""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import core, hertz, seconds
from neurosim.language.functions import detach, where

BELOW = 1e-5  # how far under the threshold a neuron starts again, as in Lava's RF_IZ


@core(parameters=dict(f_osc=hertz(10.0), tau_mem=seconds(50e-3), v_th=1.0, r=1.0), state=("x", "y"))
def resonate_and_fire(
    i: Any, x: Any, y: Any, *, cos_osc: Any, sin_osc: Any, alpha_mem: Any, v_th: Any, r: Any, spike: Any
) -> tuple[Any, ...]:
    """Complex membrane ``x + i y`` rotating at `f_osc`; input adds to x; fires as y rises through 0 (Lava ``RF``).

    ``(x + i y) <- exp(-dt/tau_mem) exp(2 pi i f_osc dt) (x + i y) + r i``; a spike where ``x > v_th`` at the step at
    which y changes from below 0 to 0 or above; there is no reset. The float model of Lava's ``RF`` (lava-nc 0.10,
    BSD-3), which fires at ``x >= v_th``, after the resonate-and-fire neuron of Izhikevich 2001,
    doi:10.1016/S0893-6080(01)00078-8.
    """
    real, imaginary = _turned(i, x, y, cos_osc, sin_osc, alpha_mem, r)
    z = where(imaginary >= 0.0, where(y < 0.0, spike(real - v_th), 0.0), 0.0)
    return z, real, imaginary


@core(parameters=dict(f_osc=hertz(10.0), tau_mem=seconds(50e-3), v_th=1.0, r=1.0), state=("x", "y"))
def resonate_and_fire_izhikevich(
    i: Any, x: Any, y: Any, *, cos_osc: Any, sin_osc: Any, alpha_mem: Any, v_th: Any, r: Any, spike: Any
) -> tuple[Any, ...]:
    """`resonate_and_fire` that fires where y crosses `v_th` and is then set to ``x = 0``, y just below (``RF_IZ``).

    The float model of Lava's ``RF_IZ`` (lava-nc 0.10, BSD-3), which fires at ``y >= v_th`` and starts again 1e-5 below
    the threshold; the neuron is that of Izhikevich 2001, doi:10.1016/S0893-6080(01)00078-8. The gradient through the
    reset is cut.
    """
    real, imaginary = _turned(i, x, y, cos_osc, sin_osc, alpha_mem, r)
    z = spike(imaginary - v_th)
    gate = detach(z)
    return z, where(gate, 0.0, real), where(gate, v_th - BELOW, imaginary)


def _turned(i: Any, x: Any, y: Any, cos: Any, sin: Any, alpha: Any, r: Any) -> tuple[Any, Any]:
    return alpha * (cos * x - sin * y) + r * i, alpha * (sin * x + cos * y)
