"""Graded spikes without memory, in integers: an input is sent if it is large enough."""

from __future__ import annotations

from typing import Any

from neurosim.cores.loihi import SINGLE
from neurosim.language.definition import core, integer
from neurosim.language.functions import absolute, where

_THRESHOLD = integer(1, 0, 2**23 - 1)


@core(parameters=dict(v_th=_THRESHOLD), state=(), integers_up_to=SINGLE)
def graded(i: Any, *, v_th: Any) -> tuple[Any, ...]:
    """Send the input where its size is above the threshold, else nothing; no state (Lava ``GradedVec``)."""
    return (where(absolute(i) > v_th, i, 0.0),)


@core(parameters=dict(v_th=_THRESHOLD), state=(), integers_up_to=SINGLE)
def graded_relu(i: Any, *, v_th: Any) -> tuple[Any, ...]:
    """Send the input where it is above the threshold, else nothing; no state (Lava ``GradedReluVec``)."""
    return (where(i > v_th, i, 0.0),)
