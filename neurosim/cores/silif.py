"""Spiking neurons with the parameters of a state-space model: logarithms of a step and of time constants."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from neurosim.language.definition import Derived, Parameter, core, hertz
from neurosim.units import decay_of, turn_of

_LOG_STEP = Parameter(0.0, low=-12.0, high=12.0)


def _log_seconds(default: float) -> Parameter:
    """Declare the natural logarithm of a time in s, of 1 us to an hour."""
    return Parameter(math.log(default), low=math.log(1e-6), high=math.log(3600.0))


def _exp(value: float | Tensor) -> Any:
    return value.double().exp() if isinstance(value, Tensor) else math.exp(value)


def _decay(log_step: float | Tensor, log_tau: float | Tensor, dt: float) -> Any:
    """Return ``exp(-step / tau)`` with a step of ``dt exp(log_step)``."""
    return decay_of(_exp(log_tau) / _exp(log_step), dt)


def _turn(log_step: float | Tensor, f: float | Tensor, dt: float) -> Any:
    own = f.double() if isinstance(f, Tensor) else f
    turn: Any = turn_of(_exp(log_step) * own, dt)
    return turn


def _cos(log_step: float | Tensor, f: float | Tensor, dt: float) -> Any:
    return _turn(log_step, f, dt)[0]


def _sin(log_step: float | Tensor, f: float | Tensor, dt: float) -> Any:
    return _turn(log_step, f, dt)[1]


@core(
    parameters=dict(
        log_step=_LOG_STEP,
        log_tau_mem=_log_seconds(20e-3),
        log_tau_adapt=_log_seconds(200e-3),
        a=Parameter(0.5, low=0.0, high=1.0),
        b=Parameter(1.0, low=0.0, high=2.0),
        v_th=1.0,
    ),
    state=("v", "w"),
    derived=dict(
        decay_mem=Derived(_decay, "log_step", "log_tau_mem"), decay_adapt=Derived(_decay, "log_step", "log_tau_adapt")
    ),
)
def silif(
    i: Any, v: Any, w: Any, *, decay_mem: Any, decay_adapt: Any, a: Any, b: Any, v_th: Any, spike: Any
) -> tuple[Any, ...]:
    """SiLIF: an adaptive neuron whose own step and time constants are learned as logarithms.

    ``u <- d v + (1 - d)(i - w)``, a spike where ``u > v_th``, ``v = u - v_th z``, ``w <- e w + a u + b z`` with
    ``d = exp(-step / tau_mem)`` and ``e = exp(-step / tau_adapt)``. The logarithms are natural, `log_tau_mem` and
    `log_tau_adapt` those of times in s; the step of a neuron is ``dt exp(log_step)``. `a` and `b` are factors per step.
    Fabre et al. 2025, arXiv:2506.06374; a state of its authors' program is random at first, here it is 0.
    """
    u = decay_mem * v + (1.0 - decay_mem) * (i - w)
    z = spike(u - v_th)
    return z, u - v_th * z, decay_adapt * w + a * u + b * z


@core(
    parameters=dict(
        log_step=_LOG_STEP,
        log_tau_mem=_log_seconds(50e-3),
        f_mem=hertz(20.0),
        r=Parameter(0.5, low=0.0, high=10.0),
        v_th=1.0,
    ),
    state=("x", "y"),
    derived=dict(
        decay=Derived(_decay, "log_step", "log_tau_mem"),
        cosine=Derived(_cos, "log_step", "f_mem"),
        sine=Derived(_sin, "log_step", "f_mem"),
    ),
)
def csilif(
    i: Any, x: Any, y: Any, *, decay: Any, cosine: Any, sine: Any, r: Any, v_th: Any, spike: Any
) -> tuple[Any, ...]:
    """C-SiLIF: a complex membrane ``x + i y`` that decays and turns, with a learned step of its own.

    ``(x + i y) <- exp((-1/tau_mem + 2 pi i f_mem) step) (x + i y) + r i``, a spike where ``2 x > v_th``, which
    subtracts half of `v_th` from x. The step of a neuron is ``dt exp(log_step)``; `log_tau_mem` is the natural
    logarithm of a time in s. Fabre et al. 2025, arXiv:2506.06374; a state of its authors' program is random at
    first, here it is 0.
    """
    real = decay * (cosine * x - sine * y) + r * i
    imaginary = decay * (sine * x + cosine * y)
    z = spike(2.0 * real - v_th)
    return z, real - 0.5 * v_th * z, imaginary
