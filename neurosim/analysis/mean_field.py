"""Rates of leaky integrate-and-fire neurons under noise, by theory."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from neurosim.analysis.grid import Array
from neurosim.errors import InputError, UnitError
from neurosim.units import milliseconds_question

# Nodes of the quadrature: the integrand is smooth in the logarithm of its argument.
_NODES = 64


def siegert_rate(mu: Any, sigma: Any, *, tau_mem: float, t_ref: float, v_th: float, v_reset: float) -> Any:
    r"""Return the rate of a leaky integrate-and-fire neuron that is driven by white noise, by Siegert's formula.

    .. math:: \tau_m \dot V = -V + \mu + \sigma \sqrt{\tau_m}\, \eta(t), \qquad
              \frac{1}{\nu} = t_{ref} + \tau_m \sqrt{\pi}
              \int_{(v_{reset} - \mu) / \sigma}^{(v_{th} - \mu) / \sigma} e^{x^2} (1 + \operatorname{erf} x)\, dx

    Synapses are voltage jumps: Poisson inputs of rate :math:`\nu_k` and weight :math:`J_k` give
    :math:`\mu = \tau_m \sum J_k \nu_k` and :math:`\sigma^2 = \tau_m \sum J_k^2 \nu_k` (the standard deviation of the
    free membrane is :math:`\sigma / \sqrt{2}`). The formula holds for small, frequent jumps.

    Parameters
    ----------
    mu, sigma : float or array
        Mean and size of the input in the unit of `v_th`; `sigma` from 0, which is the noiseless neuron.
    tau_mem : float
        Membrane time constant, s, in (0, 1).
    t_ref : float
        Refractory time, s, in [0, 1).
    v_th, v_reset : float
        Threshold and reset, ``v_reset < v_th``.

    Returns
    -------
    float, or array of float64
        Rate, Hz, of the shape of `mu` and `sigma` together. Below about 1e-300 it is 0.

    Raises
    ------
    UnitError
        When a time is outside its range.
    InputError
        When a value is not finite, `sigma` is below 0, or the reset is not below the threshold.

    References
    ----------
    Siegert, "On the first passage time probability problem", Physical Review 81, 1951, doi:10.1103/PhysRev.81.617;
    Brunel, "Dynamics of sparsely connected networks of excitatory and inhibitory spiking neurons", Journal of
    Computational Neuroscience 8, 2000, doi:10.1023/A:1008925309027, equation 21.

    Examples
    --------
    >>> cell = dict(tau_mem=20e-3, t_ref=2e-3, v_th=20e-3, v_reset=10e-3)
    >>> round(siegert_rate(18e-3, 4e-3, **cell), 3), round(siegert_rate(25e-3, 0.0, **cell), 3)
    (16.302, 41.715)
    """
    for name, value, allowed in (("tau_mem", tau_mem, "(0, 1)"), ("t_ref", t_ref, "[0, 1)")):
        if not 0 <= value < 1 or (value == 0 and name == "tau_mem"):
            hint = f" {milliseconds_question(value)}" if 1 <= value < math.inf else ""
            raise UnitError(f"siegert_rate: {name} must be in {allowed} s; got {value!r}.{hint}")
    if not -math.inf < v_reset < v_th < math.inf:
        raise InputError(f"siegert_rate: v_reset must be below v_th; got {v_reset!r} and {v_th!r}.")
    mean, size = np.broadcast_arrays(np.asarray(mu, dtype=np.float64), np.asarray(sigma, dtype=np.float64))
    if not (np.isfinite(mean).all() and np.isfinite(size).all() and (size >= 0).all()):
        raise InputError("siegert_rate: mu and sigma must be finite, and sigma must not be below 0.")
    rate = np.empty(mean.shape)
    for place in np.ndindex(mean.shape):
        rate[place] = _rate(float(mean[place]), float(size[place]), tau_mem, t_ref, v_th, v_reset)
    return rate if rate.ndim else float(rate)


def _rate(mu: float, sigma: float, tau_mem: float, t_ref: float, v_th: float, v_reset: float) -> float:
    from scipy.special import dawsn

    low, high = ((v - mu) / sigma if sigma else math.copysign(math.inf, v - mu) for v in (v_reset, v_th))
    if high == -math.inf:
        return 1 / (t_ref + tau_mem * math.log((mu - v_reset) / (mu - v_th)))
    if high == math.inf:
        return 0.0
    # e^(x^2) (1 + erf x) is erfcx(-x), and 2 e^(x^2) - erfcx(x) above 0, where the first term may exceed every number:
    # numerator and denominator are multiplied with e^(-high^2), and its integral is Dawson's function.
    below = _erfcx_integral(max(-high, 0.0), -low) if low < 0 else 0.0
    if high <= 0:
        return 1 / (t_ref + tau_mem * math.sqrt(math.pi) * below)
    start = max(low, 0.0)
    scale = math.exp(-(high**2))
    rise = 2 * (float(dawsn(high)) - float(dawsn(start)) * math.exp((start - high) * (start + high)))
    integral = rise + scale * (below - _erfcx_integral(start, high))
    return scale / (scale * t_ref + tau_mem * math.sqrt(math.pi) * integral)


def _erfcx_integral(start: float, stop: float) -> float:
    """Return the integral of erfcx between two numbers from 0, in x = e^u - 1."""
    from scipy.special import erfcx

    nodes, weights = _quadrature()
    one, two = math.log1p(start), math.log1p(stop)
    u = one + (two - one) * nodes
    return float((two - one) * (weights * erfcx(np.expm1(u)) * np.exp(u)).sum())


@functools.cache
def _quadrature() -> tuple[Array, Array]:
    """Return nodes and weights of Gauss and Legendre on (0, 1)."""
    x, w = np.polynomial.legendre.leggauss(_NODES)
    return (x + 1) / 2, w / 2
