"""A compartment of Loihi that takes the voltage of another as its current."""

from __future__ import annotations

from typing import Any

from neurosim.cores.loihi import TOP, loihi
from neurosim.language.definition import core, integer


@core(
    parameters=dict(dv=integer(0, 0, 4096), v_th=integer(64, 0, 131071), unit=4096.0), state=("v",), integers_up_to=TOP
)
def loihi_joined(i: Any, v: Any, *, dv: Any, v_th: Any, unit: Any, spike: Any, reset: Any) -> tuple[Any, ...]:
    """`loihi` without synapses: what reaches it is the voltage of its child compartment, joined by addition.

    ``v = clip(trunc(v (4096 - dv) / 4096) + i)``; a spike where ``v > 64 v_th``, and v is 0 there. Loihi passes
    voltages between the compartments of one neuron only; Lava has no process for it.
    """
    z, _, voltage = loihi(
        i * 2.0**-6, 0.0, v, du=4095.0, dv=dv, v_th=v_th, bias=0.0, unit=unit, spike=spike, reset=reset
    )
    return z, voltage
