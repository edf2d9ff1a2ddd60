"""Leaky integrate-and-fire with time constants of seconds and minutes."""

from __future__ import annotations

from typing import Any

from neurosim.cores.lif import lif
from neurosim.language.definition import core, seconds


@core(parameters=dict(tau_mem=seconds(4.1, high=1e3), v_th=1.0, v_reset=0.0, r=1.0), state=("v",))
def slow_lif(
    i: Any, v: Any, *, alpha_mem: Any, v_th: Any, v_reset: Any, r: Any, spike: Any, reset: Any
) -> tuple[Any, ...]:
    """`lif` for processes slower than a membrane, with a higher bound of the time constant.

    An example is the messenger IP3 in an astrocyte, which rises for seconds and then releases calcium.
    """
    return lif(i, v, alpha_mem=alpha_mem, v_th=v_th, v_reset=v_reset, r=r, spike=spike, reset=reset)
