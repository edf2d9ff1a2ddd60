"""Long-term potentiation by a simulated astrocyte, and the shares of it that successive cycles contribute."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from neurosim.cores import li_rinzel
from neurosim.errors import InputError
from neurosim.network.layers import layer
from neurosim.synapses.synapse import count
from neurosim.units import check_dt

_MICRO = 1e-3  # one micromolar in mol/m^3
_CA_TH = 0.19669 * _MICRO  # above it the slow inward current of `li_rinzel` flows
_MOST = 5_000_000  # steps of one simulation


def potentiation(
    cycles: int, *, cycle: float = 10.0, interval: float = 1.0, weight: float = 0.1, tau: float = 60.0, dt: float = 2e-3
) -> Tensor:
    r"""Simulate an astrocyte under regular presynaptic spikes; return its potentiation integrated over each cycle.

    The astrocyte is the core `li_rinzel` with the constants of NEST, from rest. Its calcium drives a long-term
    potentiation p that saturates at 1:

    .. math:: \tau \frac{dp}{dt} = (1 - p)\, \frac{[Ca - Ca_{th}]_+}{1\,\mu M}, \quad p(0) = 0
              \quad\Rightarrow\quad p = 1 - e^{-u}, \quad
              u(t) = \frac{1}{\tau} \int_0^t \frac{[Ca - Ca_{th}]_+}{1\,\mu M}\, dt'

    with the threshold of 0.19669 uM, above which the core's slow inward current flows. The equation of p and all
    defaults are this project's: the sources at hand give no equation of the potentiation.

    Parameters
    ----------
    cycles : int
    cycle : float
        Length of a cycle, s.
    interval : float
        Time between presynaptic spikes, s; the first is at time 0.
    weight : float
        Weight of a spike; 1 releases 5 uM of IP3.
    tau : float
        Time constant of p at 1 uM above the threshold, s.
    dt : float
        Step of the simulation, s.

    Returns
    -------
    Tensor [cycles], float64
        u at the end of each cycle; ``1 - exp(-u)`` is the potentiation p.

    Raises
    ------
    InputError
        For values out of range, times that are not an integer number of steps, or more than 5 million steps.

    Examples
    --------
    >>> from neurosim.models import potentiation
    >>> p = 1 - (-potentiation(8)).exp()
    >>> p.round(decimals=2).tolist()
    [0.1, 0.19, 0.27, 0.35, 0.41, 0.47, 0.53, 0.58]
    """
    dt = check_dt("potentiation", dt)
    for name, value in (("cycle", cycle), ("interval", interval), ("weight", weight), ("tau", tau)):
        if not (isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 < value < math.inf):
            raise InputError(f"potentiation: {name} must be a positive number; got {value!r}.")
    every, length = (_steps(name, value, dt) for name, value in (("interval", interval), ("cycle", cycle)))
    if count("potentiation", "cycles", cycles) * length > _MOST:
        raise InputError(
            f"potentiation: {cycles} cycles of {cycle} s are {cycles * length:,} steps of {dt} s, more than {_MOST:,}. "
            "Take shorter cycles or longer steps."
        )
    return _integral(int(cycles), length, every, float(weight), float(tau), dt).clone()


def retention_factors(
    segments: int,
    *,
    cycle: float = 10.0,
    interval: float = 1.0,
    weight: float = 0.1,
    tau: float = 60.0,
    dt: float = 2e-3,
) -> Tensor:
    r"""Return the share of each segment in the potentiation of a simulated astrocyte over all of them.

    .. math:: f_t = \frac{p(t\,\tau_{cycle}) - p((t-1)\,\tau_{cycle})}{\sum_{i=1}^{T} p(i\,\tau_{cycle})
              - p((i-1)\,\tau_{cycle})}

    with the p of `potentiation`, whose parameters these are. As p saturates, later segments have smaller shares, and
    each share is smaller in a longer sequence.

    Parameters
    ----------
    segments : int
        T.
    cycle, interval, weight, tau, dt : float
        As for `potentiation`; a segment is one cycle.

    Returns
    -------
    Tensor [segments], float64
        Shares, whose sum is 1.

    Raises
    ------
    InputError
        As for `potentiation`, and for spikes that raise the calcium above its threshold in no cycle.

    References
    ----------
    Mia, Bal, Sengupta 2026, "RMAAT: Astrocyte-inspired memory compression and replay for efficient long-context
    transformers", ICLR, arXiv:2601.00426: the shares; their p is another one.

    Examples
    --------
    >>> from neurosim.models import retention_factors
    >>> retention_factors(4).round(decimals=3).tolist()
    [0.299, 0.255, 0.234, 0.212]
    """
    ends = potentiation(segments, cycle=cycle, interval=interval, weight=weight, tau=tau, dt=dt)
    starts = torch.cat((ends.new_zeros(1), ends[:-1]))
    gained = -torch.exp(-starts) * torch.expm1(starts - ends)  # without cancellation near saturation
    if not float(gained.sum()) > 0.0:
        raise InputError(
            f"retention_factors: spikes of weight {weight} every {interval} s raise the calcium above "
            f"{_CA_TH / _MICRO} uM in none of {segments} cycles of {cycle} s. Give larger weights or more spikes."
        )
    return gained / gained.sum()


def _steps(name: str, value: float, dt: float) -> int:
    steps = round(value / dt)
    if steps < 1 or not math.isclose(steps * dt, value, rel_tol=1e-9):
        raise InputError(f"potentiation: {name} = {value} s is not an integer number of steps of {dt} s.")
    return steps


@functools.lru_cache(maxsize=64)
def _integral(cycles: int, length: int, every: int, weight: float, tau: float, dt: float) -> Tensor:
    """Return u at the end of each cycle of `length` steps, with a spike every `every` steps."""
    astrocyte = layer(li_rinzel)(dt=dt)
    spikes = torch.zeros(cycles * length, 1, 1, dtype=torch.float64)
    spikes[::every] = weight
    with torch.no_grad():
        _, _, seen, *_ = astrocyte.run(spikes, astrocyte.initial_state(spikes), ("ca",))
    before = astrocyte.initial_state(spikes).ca.flatten()
    above = (torch.cat((before, seen["ca"].flatten())) - _CA_TH).clamp(min=0.0)
    above = (above[1:] + above[:-1]) / 2
    return (above.view(cycles, length).sum(1) * (dt / (tau * _MICRO))).cumsum(0)
