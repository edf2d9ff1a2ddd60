"""From a time constant to its decay over a step and back, as exactly as floating point allows.

Libraries that step by forward Euler have ``a = 1 - dt / tau`` where `neurosim` has ``a = exp(-dt / tau)``. Two neurons
are the same if a is; so a is what is carried across, never tau.
"""

from __future__ import annotations

import math
from typing import overload

import torch
from torch import Tensor

from neurosim.errors import InputError

_NEIGHBOURS = 16  # floating-point numbers on each side of the first guess


@overload
def decay_of(tau: float, dt: float) -> float: ...


@overload
def decay_of(tau: Tensor, dt: float) -> Tensor: ...


def decay_of(tau: float | Tensor, dt: float) -> float | Tensor:
    """Return ``exp(-dt / tau)`` of a time constant in s, in double precision: what a layer keeps over a step."""
    return torch.exp(-dt / tau.double()) if isinstance(tau, Tensor) else math.exp(-dt / tau)


def unit_gain(tau: float, dt: float) -> float:
    """Return r with ``(1 - exp(-dt / tau)) r = 1``: with it a leaky membrane adds its current as it is."""
    return -1.0 / math.expm1(-dt / tau)


@overload
def turn_of(f: float, dt: float) -> tuple[float, float]: ...


@overload
def turn_of(f: Tensor, dt: float) -> tuple[Tensor, Tensor]: ...


def turn_of(f: float | Tensor, dt: float) -> tuple[float, float] | tuple[Tensor, Tensor]:
    """Return ``cos(2 pi f dt)`` and ``sin(2 pi f dt)`` of a frequency in Hz, in double precision."""
    if isinstance(f, Tensor):
        angle = 2.0 * math.pi * dt * f.double()
        return torch.cos(angle), torch.sin(angle)
    return math.cos(2.0 * math.pi * dt * f), math.sin(2.0 * math.pi * dt * f)


def time_constant(decay: float | Tensor, dt: float) -> float | Tensor:
    """Return tau with ``exp(-dt / tau) = decay``.

    Parameters
    ----------
    decay : float or Tensor
        In [0, 1).
    dt : float
        Length of a step, s.

    Returns
    -------
    float or Tensor of float64
        A time constant, s, whose decay as a layer computes it is `decay` to the last bit wherever a number has that
        property. From a decay of 0.7 on one has; below, where the time constant is a few steps or less, the decay may
        be off by units in the last place of double precision, which in single precision is never seen.

    Raises
    ------
    InputError
        For a decay out of range.

    Examples
    --------
    >>> import math
    >>> from neurosim.units import time_constant
    >>> tau = time_constant(0.9, 1e-3)
    >>> f"{tau:.6f}", math.exp(-1e-3 / tau)
    ('0.009491', 0.9)
    """
    shared = not isinstance(decay, Tensor)
    wanted = torch.as_tensor(decay, dtype=torch.float64)
    if not bool(((wanted >= 0) & (wanted < 1)).all()):
        shown = f"{wanted.min().item():g} to {wanted.max().item():g}" if wanted.numel() > 1 else f"{wanted.item():g}"
        raise InputError(f"a decay over a step must be in [0, 1) to have a time constant; got {shown}.")
    # A decay of 0 is what exp gives far beyond the smallest number it can.
    guess = torch.where(wanted > 0, -dt / wanted.clamp_min(5e-324).log(), dt / 1000.0)
    best, distance = guess, (_decay(guess, dt, shared) - wanted).abs()
    step = guess * torch.finfo(torch.float64).eps
    for k in range(1, _NEIGHBOURS + 1):
        if not distance.any():
            break
        for other in (guess + k * step, guess - k * step):
            off = (_decay(other, dt, shared) - wanted).abs()
            best, distance = torch.where(off < distance, other, best), torch.minimum(off, distance)
    return best.item() if shared else best


def _decay(tau: Tensor, dt: float, shared: bool) -> Tensor:
    """Return the decay as a layer computes it: a shared one by Python's exp, else by torch's."""
    return torch.as_tensor(decay_of(tau.item() if shared else tau, dt), dtype=torch.float64)


def euler_time_constant(decay: Tensor, dt: float) -> Tensor:
    """Return tau with ``1 - dt / tau = decay``, the time constant of forward Euler.

    Parameters
    ----------
    decay : Tensor of float64
        In [0, 1).
    dt : float
        Length of a step, s.

    Returns
    -------
    Tensor of float64
        In s. From a decay of 0.8 on the equation holds to the last bit, below within 2^-52.
    """
    guess = dt / (1.0 - decay)
    best, distance = guess, (1.0 - dt / guess - decay).abs()
    for k in range(1, _NEIGHBOURS + 1):
        if not distance.any():
            break
        for other in (guess * (1.0 + k * 2.0**-52), guess * (1.0 - k * 2.0**-52)):
            off = (1.0 - dt / other - decay).abs()
            best, distance = torch.where(off < distance, other, best), torch.minimum(off, distance)
    return best


def resistance(decay: float | Tensor, gain: float | Tensor, dtype: torch.dtype) -> float | Tensor:
    """Return r with ``(1 - decay) r = gain``, the factor of a current in a leaky membrane, as a layer computes it.

    Parameters
    ----------
    decay, gain : float or Tensor
        Shared numbers, which a layer multiplies in double precision, or one for each neuron, in the precision of a run.
    dtype : torch.dtype
        Precision of the run.

    Returns
    -------
    float or Tensor of float64
        So that the product is `gain` to the last bit wherever a number has that property, else the nearest.
    """
    shared = not isinstance(decay, Tensor) and not isinstance(gain, Tensor)
    kind = torch.float64 if shared else dtype
    share = 1.0 - torch.as_tensor(decay, dtype=torch.float64).to(kind)
    wanted = torch.as_tensor(gain, dtype=torch.float64).to(kind)
    best = wanted / share
    distance = (share * best - wanted).abs()
    up = down = best
    for _ in range(_NEIGHBOURS):
        if not distance.any():
            break
        up, down = torch.nextafter(up, up.new_tensor(math.inf)), torch.nextafter(down, down.new_tensor(-math.inf))
        for other in (up, down):
            off = (share * other - wanted).abs()
            best, distance = torch.where(off < distance, other, best), torch.minimum(off, distance)
    return best.item() if shared else best.double()


def just_below(threshold: float | Tensor, dtype: torch.dtype) -> float | Tensor:
    """Return the threshold above which is what is at or above `threshold`, in numbers of `dtype`.

    Examples
    --------
    >>> import torch
    >>> from neurosim.units import just_below
    >>> just_below(1.0, torch.float32)
    0.9999999403953552
    """
    kept = torch.as_tensor(threshold, dtype=torch.float64).to(dtype)
    below = torch.nextafter(kept, kept.new_tensor(-math.inf)).double()
    return below if isinstance(threshold, Tensor) else below.item()
