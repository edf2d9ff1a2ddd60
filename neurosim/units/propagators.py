"""Exact responses of a leaky membrane over one step (Rotter & Diesmann 1999, doi:10.1007/s004220050570).

The membrane is ``c dv/dt = -c v / tau_mem + i(t)``. Each function returns v at the end of a step of length dt that
starts at v = 0, in double precision, for one shape of the current. It is a response in volts to a current in amperes:

* `constant_response`: ``i = 1``;
* `exponential_response`: ``i = exp(-t / tau_syn)``;
* `alpha_response`: ``i = t exp(-t / tau_syn)``, in volts for a current in amperes per second.

The textbook form of the last two divides by ``tau_mem - tau_syn``. Here they are a decay times a function of
``x = dt |tau_mem - tau_syn| / (tau_mem tau_syn)`` that is 1 or 1/2 at 0, so that nothing cancels when the two time
constants are close.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from neurosim.units.decays import decay_of

Value = float | Tensor
_SERIES_BELOW = 0.5
_TERMS = 16


def constant_response(tau_mem: Value, c: Value, dt: float) -> Value:
    """Return the response to a current of 1 A that lasts the step.

    Parameters
    ----------
    tau_mem : float or Tensor
        Time constant of the membrane, s.
    c : float or Tensor
        Capacitance, F.
    dt : float
        Length of a step, s.

    Examples
    --------
    >>> from neurosim.units import MOhm, constant_response, ms, pF
    >>> round(constant_response(20 * ms, 200 * pF, 10.0) / MOhm, 6)  # after a long time, tau_mem / c
    100.0
    """
    tau_mem, c = _in_double(tau_mem), _in_double(c)
    return dt / c * _mean_decay(dt / tau_mem)


def exponential_response(tau_mem: Value, tau_syn: Value, c: Value, dt: float) -> Value:
    """Return the response to a current that is 1 A at first and decays with `tau_syn`.

    Parameters
    ----------
    tau_mem, tau_syn : float or Tensor
        Time constants of the membrane and of the current, s; they may be equal.
    c : float or Tensor
        Capacitance, F.
    dt : float
        Length of a step, s.
    """
    slower, x, _ = _compared(tau_mem, tau_syn, dt)
    return dt / _in_double(c) * decay_of(slower, dt) * _mean_decay(x)


def alpha_response(tau_mem: Value, tau_syn: Value, c: Value, dt: float) -> Value:
    """Return the response to a current that rises by 1 A/s at first, ``i = t exp(-t / tau_syn)``.

    Parameters
    ----------
    tau_mem, tau_syn : float or Tensor
        Time constants of the membrane and of the current, s; they may be equal.
    c : float or Tensor
        Capacitance, F.
    dt : float
        Length of a step, s.
    """
    slower, x, membrane_is_slower = _compared(tau_mem, tau_syn, dt)
    early = _mean_ramp(x)
    late = _mean_decay(x) - early
    share = early * membrane_is_slower + late * (1.0 - membrane_is_slower)
    return dt * dt / _in_double(c) * decay_of(slower, dt) * share


def _in_double(x: Value) -> Value:
    return x.double() if isinstance(x, Tensor) else x


def _compared(tau_mem: Value, tau_syn: Value, dt: float) -> tuple[Value, Value, Value]:
    """Return the slower time constant, the difference of both rates times dt, and 1 if the membrane is the slower."""
    if isinstance(tau_mem, Tensor) or isinstance(tau_syn, Tensor):
        mem, syn = (torch.as_tensor(tau, dtype=torch.float64) for tau in (tau_mem, tau_syn))
        membrane_is_slower = mem >= syn
        # A choice, not a maximum: at equal time constants the gradient is that of the first.
        difference = torch.where(membrane_is_slower, mem - syn, syn - mem)
        slower = torch.where(membrane_is_slower, mem, syn)
        return slower, dt * difference / (mem * syn), membrane_is_slower.double()
    return max(tau_mem, tau_syn), dt * abs(tau_mem - tau_syn) / (tau_mem * tau_syn), float(tau_mem >= tau_syn)


def _mean_decay(x: Value) -> Value:
    """Return the mean of ``exp(-x u)`` over u from 0 to 1, ``(1 - exp(-x)) / x``, for x from 0."""
    return _by_size(x, _decay_series, lambda x, expm1: -expm1(-x) / x)


def _mean_ramp(x: Value) -> Value:
    """Return the mean of ``u exp(-x u)`` over u from 0 to 1, ``(1 - (1 + x) exp(-x)) / x^2``, for x from 0."""
    return _by_size(x, _ramp_series, lambda x, expm1: -(expm1(-x) * (1.0 + x) + x) / (x * x))


def _by_size(x: Value, series: Callable[[Value], Value], closed: Callable[..., Value]) -> Value:
    """Return a function by its power series where x is small, else by its closed form.

    Beside the value, the gradient is accurate for any x too, as that of the closed form near 0 is not.
    """
    if not isinstance(x, Tensor):
        return series(x) if x < _SERIES_BELOW else closed(x, math.expm1)
    is_small = x < _SERIES_BELOW
    small, large = x.clamp(max=_SERIES_BELOW), x.clamp(min=_SERIES_BELOW)
    return torch.where(is_small, series(small), closed(large, torch.expm1))


def _decay_series(x: Value) -> Value:
    return _polynomial(x, [(-1) ** k / math.factorial(k + 1) for k in range(_TERMS)])


def _ramp_series(x: Value) -> Value:
    return _polynomial(x, [(-1) ** k / (math.factorial(k) * (k + 2)) for k in range(_TERMS)])


def _polynomial(x: Value, coefficients: list[float]) -> Value:
    value: Value = coefficients[-1]
    for each in reversed(coefficients[:-1]):
        value = value * x + each
    return value
