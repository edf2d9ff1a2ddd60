"""The neuron of SynSense's Xylo in the chip's integers, bit for bit.

The arithmetic is that of the second version of the chip (Xylo Audio 2, Xylo IMU, XyloAudio 3), as the maker's
simulator xylosim 0.1.3 computes it; see docs/xylo.md. All numbers are integers in floating point. Single precision is
exact while no current of a step is larger than `SINGLE`, which a layer checks.
"""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import Derived, core, integer
from neurosim.language.functions import detach, floor, maximum, minimum, where

LOWEST, HIGHEST = -(2.0**15), 2.0**15 - 1.0
"""Bounds of the 16 bits of a state; a sum beyond them is the bound."""

SINGLE = 2.0**23
"""Largest current of a step with which single precision gives the same bits."""


def share_of(dash: Any, dt: float) -> Any:
    """Return the share of a state that a shift by `dash` bits takes in a step, ``2^-dash``."""
    return 2.0**-dash


def _saturated(x: Any) -> Any:
    return minimum(maximum(x, LOWEST), HIGHEST)


def _decay(x: Any, share: Any) -> Any:
    """Return `x` shifted right; 1 where that is 0 and `x` is above 0. Below 0 a shift gives -1 at least."""
    shifted = floor(x * share)
    return where(x > 0.0, maximum(shifted, 1.0), shifted)


def _current(i: Any, low: Any, high: Any, held: Any, share: Any) -> Any:
    """Return a synaptic current after the arrivals and the decay of a step."""
    arrived = minimum(maximum(held + i, low), high)
    return arrived - _decay(arrived, share)


_DASH = integer(1, 0, 15)


@core(
    parameters=dict(
        dash_syn=_DASH,
        dash_syn2=_DASH,
        dash_mem=integer(4, 0, 15),
        v_th=integer(1024, 1, 32767),
        bias=integer(0, -32768, 32767),
        most=integer(31, 1, 31),
        unit=1024.0,
    ),
    inputs={"i": 0.0, "low": LOWEST, "high": HIGHEST, "i2": 0.0, "low2": LOWEST, "high2": HIGHEST, "alias": 0.0},
    state={"i_syn": 0.0, "i_syn2": 0.0, "v": 0.0},
    derived=dict(
        share_syn=Derived(share_of, "dash_syn"),
        share_syn2=Derived(share_of, "dash_syn2"),
        share_mem=Derived(share_of, "dash_mem"),
    ),
    integers_up_to=SINGLE,
)
def xylo(
    i: Any,
    low: Any,
    high: Any,
    i2: Any,
    low2: Any,
    high2: Any,
    alias: Any,
    i_syn: Any,
    i_syn2: Any,
    v: Any,
    *,
    share_syn: Any,
    share_syn2: Any,
    share_mem: Any,
    v_th: Any,
    bias: Any,
    most: Any,
    unit: Any,
    spike: Any,
) -> tuple[Any, ...]:
    """Leaky integrate-and-fire behind two synaptic currents, in integers of 16 bits as on Xylo.

    ``i_syn = clip(i_syn + i); i_syn -= decay(i_syn)``, the same for the second current; ``v = sat(v + sat(sat(i_syn +
    i_syn2 - decay(v)) + bias))``, where ``decay(x) = x >> dash`` and at least 1 for x above 0; then one spike for each
    time that v holds v_th, up to `most` with those that come by `alias`, and v is lowered by v_th for each. The output
    is the number of spikes. `i` is the sum of the weights that arrive in a step. On the chip each arrival saturates by
    itself: `low` and `high` are the current after all arrivals of the step from the lowest and from the highest one,
    by which ``clip`` is exact in any order; where nothing feeds them the sum saturates once. `unit` is the voltage that
    the surrogate takes for 1; no spike depends on it. The gradient through the reset is cut.
    """
    first, second = _current(i, low, high, i_syn, share_syn), _current(i2, low2, high2, i_syn2, share_syn2)
    leak = _decay(v, share_mem)
    # The negative of the lowest number of 16 bits is that number.
    change = where(leak > LOWEST, -leak, LOWEST)
    u = _saturated(v + _saturated(_saturated(change + (first + second)) + bias))
    above = u - v_th
    # Integers: u >= v_th where u - v_th + 1/2 > 0.
    own = spike((above + 0.5) * (1.0 / unit)) + floor(maximum(above, 0.0) / v_th)
    sent = minimum(own, maximum(most - alias, 0.0))
    return alias + sent, first, second, u - detach(sent) * v_th
