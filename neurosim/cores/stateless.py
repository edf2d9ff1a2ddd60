"""Nodes without memory: a threshold, and a relay that adds currents."""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import core


@core(parameters=dict(v_th=1.0), state=())
def threshold(i: Any, *, v_th: Any, spike: Any) -> tuple[Any, ...]:
    """Spike where the input is above the threshold; no state (NIR ``Threshold``)."""
    return (spike(i - v_th),)


@core(state=())
def relay(i: Any) -> tuple[Any, ...]:
    """Return the input of the same step: a node that adds, splits or reads out currents; no state."""
    return (i,)
