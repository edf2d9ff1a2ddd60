"""From the decay over a step back to a time constant, as exactly as floating point allows.

Libraries that step by forward Euler have ``a = 1 - dt / tau`` where `neurosim` has ``a = exp(-dt / tau)``. Two neurons
are the same if a is; so a is what is carried across, never tau.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurosim.errors import InputError

_NEIGHBOURS = 16  # floating-point numbers on each side of the first guess


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
        A time constant, s, whose decay as a layer works it out is `decay` to the last bit wherever a number has that
        property. From a decay of 0.7 on one has; below, where the time constant is a few steps or less, the decay may
        be off by units in the last place of double precision, which in single precision is never seen.

    Raises
    ------
    InputError
        For a decay out of range.

    Examples
    --------
    >>> import math
    >>> from neurosim.time_constants import time_constant
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
    """Return the decay as a layer works it out: a shared one by Python's exp, else by torch's."""
    if shared:
        return torch.tensor(math.exp(-dt / tau.item()), dtype=torch.float64)
    return torch.exp(-dt / tau)


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
