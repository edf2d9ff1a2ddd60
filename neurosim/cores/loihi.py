"""The neuron of Intel's Loihi in the chip's integers, bit for bit.

The arithmetic is that of the model ``LIF``, tag ``bit_accurate_loihi``, of lava-nc 0.10.0 (BSD-3-Clause), which
agrees with recordings of the chip; see docs/loihi.md. All numbers are integers in floating point. Double precision is
exact for any current of a network. Single precision is exact while no current is larger than `SINGLE`, which a layer
checks: a decay, 24 bits times 12, is computed in two parts of 24 bits each.

Rounding and wrapping have the gradient of the identity; clipping has none where it clips.
"""

from __future__ import annotations

from typing import Any

from neurosim.language.definition import Parameter, core, integer
from neurosim.language.functions import detach, floor, maximum, minimum, trunc, where

TOP = 2.0**23
"""Current and voltage have 24 bits: the current wraps to above -TOP and up to TOP, the voltage stays inside both."""

SINGLE = 2.0**17
"""Largest current with which single precision gives the same bits."""

_STATE = {"u": 0.0, "v": 0.0}
_DECAYS: dict[str, Parameter] = dict(du=integer(4095, -1, 4095), dv=integer(0, 0, 4096))
_BIAS = integer(0, -(4096 << 7), 4095 << 7)
_THRESHOLD = integer(64, 0, 131071)


def _decayed(x: Any, kept: Any) -> Any:
    """Return ``x kept / 4096`` rounded toward zero."""
    high = trunc(x * 2.0**-12)
    low = x - high * 4096.0
    return high * kept + trunc(low * kept * 2.0**-12)


def _in_32_bits(x: Any) -> Any:
    """Return `x` wrapped to a register of 32 bits."""
    turns = floor((x + 2.0**31) * 2.0**-32)
    return x - detach(turns) * 2.0**32


def _integrated(i: Any, u: Any, v: Any, du: Any, dv: Any, bias: Any) -> tuple[Any, Any]:
    """Return current and voltage before the spike."""
    c = _in_32_bits(_decayed(u, 4095.0 - du) + i * 64.0)
    current = where(c > TOP, c - 2.0 * TOP, where(c <= -TOP, c + 2.0 * TOP, c))
    voltage = _in_32_bits(_decayed(v, 4096.0 - dv) + current + bias)
    return current, minimum(maximum(voltage, 1.0 - TOP), TOP - 1.0)


@core(parameters=dict(**_DECAYS, v_th=_THRESHOLD, bias=_BIAS, unit=4096.0), state=_STATE, integers_up_to=SINGLE)
def loihi(
    i: Any, u: Any, v: Any, *, du: Any, dv: Any, v_th: Any, bias: Any, unit: Any, spike: Any, reset: Any
) -> tuple[Any, ...]:
    """Leaky integrate-and-fire behind a synaptic current, in integers as on Loihi (Davies et al. 2018).

    ``u = wrap(trunc(u (4095 - du) / 4096) + 64 i)``; ``v = clip(trunc(v (4096 - dv) / 4096) + u + bias)``; a spike
    where ``v > 64 v_th``, and v is 0 there. `bias` is mantissa times two to its exponent. `unit` is the voltage that
    the surrogate takes for 1; no spike depends on it.
    """
    current, voltage = _integrated(i, u, v, du, dv, bias)
    z = spike((voltage - v_th * 64.0) * (1.0 / unit))
    return z, current, reset(voltage, z, to=0.0, by=v_th * 64.0)


@core(
    parameters=dict(**_DECAYS, v_th=_THRESHOLD, bias=_BIAS, unit=4096.0, refractory=integer(2, 1, 64)),
    state={**_STATE, "wait": 0.0},
    integers_up_to=SINGLE,
)
def loihi_refractory(
    i: Any,
    u: Any,
    v: Any,
    wait: Any,
    *,
    du: Any,
    dv: Any,
    v_th: Any,
    bias: Any,
    unit: Any,
    refractory: Any,
    spike: Any,
    reset: Any,
) -> tuple[Any, ...]:
    """`loihi` with the refractory delay of Loihi 1: v is held at 0 for `refractory` - 1 steps after a spike.

    The current is updated meanwhile. The rule is that of the emulator of nengo-loihi (emulator/interface.py, commit
    11e64d53); the fixed-point models of lava-nc have none. With `refractory` 1 it is `loihi`.
    """
    current, integrated = _integrated(i, u, v, du, dv, bias)
    voltage = where(wait > 0.0, 0.0, integrated)
    z = spike((voltage - v_th * 64.0) * (1.0 / unit))
    left = where(reset.gate(z), refractory - 1.0, maximum(wait - 1.0, 0.0))
    return z, current, reset(voltage, z, to=0.0, by=v_th * 64.0), left


@core(parameters=dict(**_DECAYS, bias=_BIAS, unit=4096.0), state=_STATE, integers_up_to=SINGLE)
def loihi_integrator(i: Any, u: Any, v: Any, *, du: Any, dv: Any, bias: Any, unit: Any) -> tuple[Any, ...]:
    """`loihi` that never fires; the output is its voltage in units of `unit`, read out from the chip as v."""
    current, voltage = _integrated(i, u, v, du, dv, bias)
    return voltage * (1.0 / unit), current, voltage
