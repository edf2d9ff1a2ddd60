"""Perfect integrator: a membrane without leak that never fires; the membrane is read out."""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import core


@core(parameters=dict(r=1.0), state=("v",))
def integrator(i: Any, v: Any, *, r: Any) -> tuple[Any, ...]:
    """Sum of the current: ``v += r i`` per step (NIR ``I`` with ``R = r / dt``); the output is v."""
    u = v + r * i
    return u, u
