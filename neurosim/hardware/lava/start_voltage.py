"""Voltages from which the bias leads to 0 when the data arrive.

Lava integrates a bias from its first step on, but data reach a population only after as many steps as there are
connections before it.
"""

from __future__ import annotations

import numpy as np

TOP = 1 << 23  # a voltage of the chip has 24 bits
UNITY = 4096


def float_start(
    bias: np.ndarray, dv: np.ndarray, vth: np.ndarray, steps: int, low: np.ndarray | float = -np.inf
) -> np.ndarray | None:
    """Return the voltage from which `steps` steps of bias alone lead to 0, without a spike on the way.

    That is ``-bias * sum_{j=1..steps} (1-dv)^-j``. A negative bias starts above 0. There is no such voltage where it
    would cross the threshold, or where it is not finite because the leak is nearly complete.

    Parameters
    ----------
    bias, dv, vth : numpy.ndarray
        As the arguments of Lava's ``LIF``.
    steps : int
        Steps until the data arrive.
    low : numpy.ndarray or float
        Threshold below which a ternary neuron fires.

    Returns
    -------
    numpy.ndarray or None
        Of the shape of `bias`, checked step by step in Lava's own arithmetic.
    """
    keep = 1.0 - dv
    with np.errstate(all="ignore"):
        start = v = -bias * sum(keep ** -float(j) for j in range(1, steps + 1))
        if not np.all(np.isfinite(start)):
            return None
        for _ in range(steps):
            v = v * (1.0 - dv) + bias
            if np.any(v > vth) or np.any(v < low):
                return None
    return start if np.all(np.abs(v) <= 1e-12 * np.abs(bias)) else None


def integer_start(bias: np.ndarray, dv: np.ndarray, vth: np.ndarray, steps: int) -> np.ndarray | None:
    """Return the same in the chip's own integer arithmetic.

    Of the voltages that decay to the next one needed, the smallest in size is taken at each step. None where a voltage
    exceeds 24 bits or fires on the way; with ``dv = 4096``, which keeps nothing, only the latter can happen.

    Parameters
    ----------
    bias, dv, vth : numpy.ndarray of int64
        Of one shape; `bias` with its exponent, `vth` without the factor 64.
    steps : int
        Steps until the data arrive.
    """
    decay = UNITY - dv
    forgets = decay == 0
    v = np.zeros_like(bias)
    path = [v]
    for _ in range(steps):
        size = np.abs(v - bias)
        needed = np.where(forgets, 0, -(-(size * UNITY) // np.where(forgets, 1, decay)))
        v = np.sign(v - bias) * needed
        path.append(v)
    if any(np.any(np.abs(v) >= TOP) for v in path):
        return None
    start = v = path[-1]
    for _ in range(steps):
        v = np.sign(v) * ((np.abs(v) * decay) >> 12) + bias
        if np.any(v > vth << 6):
            return None
    return start if np.all((v == 0) | forgets) else None
