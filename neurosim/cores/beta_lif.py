"""Leaky integrate-and-fire whose decay per step is a parameter."""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import Parameter, core


@core(parameters=dict(beta=Parameter(0.5, low=0.0, high=1.0), v_th=Parameter(1.0, low=0.0)), state=("v",))
def beta_lif(i: Any, v: Any, *, beta: Any, v_th: Any, spike: Any, reset: Any) -> tuple[Any, ...]:
    """LIF with a decay per step that can be learned: ``u = beta v + i``, as in snnTorch's ``Leaky``.

    The decay belongs to a step: at another `dt` the neuron is another one. `lif` has a time constant.
    """
    u = beta * v + i
    z = spike(u - v_th)
    return z, reset(u, z, to=0.0, by=v_th)
