"""The neuron of IIR-SNN: a trained threshold and a trained leak per step."""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import core
from neurosim.language.functions import detach


@core(parameters=dict(leak=1.0, v_th=1.0), state=("v",))
def iir_lif(i: Any, v: Any, *, leak: Any, v_th: Any, spike: Any) -> tuple[Any, ...]:
    """LIF of IIR-SNN: surrogate on ``v / v_th - 1``, reset by subtraction (Chowdhury et al. 2021, arXiv:2110.05929).

    `leak` is a factor per step: unlike a time constant it gives another neuron at another `dt`.
    """
    u = leak * v + i
    z = spike(u / v_th - 1.0)
    # No gradient passes through the spike in the reset; the threshold that is subtracted gets one.
    return z, u - v_th * detach(z)
