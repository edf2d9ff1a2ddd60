"""Layers of SiLIF and C-SiLIF neurons with the initial parameters of their authors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurosim.cores import csilif, silif
from neurosim.language import Surrogate, rectangle
from neurosim.network.layers import layer
from neurosim.network.neuron import Neuron
from neurosim.synapses.synapse import count
from neurosim.units import check_dt


def silif_neurons(size: int, *, dt: float, spike: Surrogate | None = None) -> Neuron:
    """Return a layer of `neurosim.cores.silif` neurons, each with parameters of its own, all of which are learned.

    Rates ``1/tau_mem`` are drawn between 10 and 250 per second, ``1/tau_adapt`` between 2.5 and 10, uniformly in the
    logarithm; `a` between 0 and 1, `b` between 0 and 2. The step of a neuron is that of the layer at first.

    Parameters
    ----------
    size : int
        Number of neurons.
    dt : float
        Length of a step, s.
    spike : Surrogate, optional
        By default a boxcar of width 1.

    Returns
    -------
    Neuron

    References
    ----------
    Fabre et al., "Structured state space model dynamics and parametrization for spiking neural networks", 2025,
    arXiv:2506.06374, and its program github.com/Maxtimer97/SSM-inspired-LIF.

    Examples
    --------
    >>> import torch
    >>> import neurosim as ns
    >>> from neurosim.models import silif_neurons
    >>> net = ns.Sequential(ns.Linear(40, 64), silif_neurons(64, dt=4e-3), ns.Linear(64, 10), ns.LI(dt=4e-3))
    >>> net(torch.rand(50, 2, 40))[0].shape
    torch.Size([50, 2, 10])
    """
    size, dt = count("silif_neurons", "size", size), check_dt("silif_neurons", dt)
    values = dict(
        log_step=torch.zeros(size),
        log_tau_mem=-_drawn(size, math.log(10.0), math.log(250.0)),
        log_tau_adapt=-_drawn(size, math.log(2.5), math.log(10.0)),
        a=_drawn(size, 0.0, 1.0),
        b=_drawn(size, 0.0, 2.0),
    )
    return layer(silif)(dt=dt, **values, learn=tuple(values), spike=spike or rectangle(1.0))


def csilif_neurons(size: int, *, dt: float, spike: Surrogate | None = None) -> Neuron:
    """Return a layer of `neurosim.cores.csilif` neurons, each with parameters of its own, all of which are learned.

    Over a step of a layer a membrane decays by ``exp(-1/2)`` and makes half a turn; the step of a neuron is 0.001 to
    0.5 of that at first, drawn uniformly in the logarithm, and `r` is drawn between 0 and 1.

    Parameters
    ----------
    size : int
        Number of neurons.
    dt : float
        Length of a step, s.
    spike : Surrogate, optional
        By default a boxcar of width 1.

    Returns
    -------
    Neuron

    References
    ----------
    As for `silif_neurons`.

    Examples
    --------
    >>> from neurosim.models import csilif_neurons
    >>> sorted(name for name, _ in csilif_neurons(64, dt=4e-3).named_parameters())
    ['f_mem', 'log_step', 'log_tau_mem', 'r']
    """
    size, dt = count("csilif_neurons", "size", size), check_dt("csilif_neurons", dt)
    values = dict(
        log_step=_drawn(size, math.log(1e-3), math.log(0.5)),
        log_tau_mem=torch.full((size,), math.log(2.0 * dt)),
        f_mem=torch.full((size,), 0.5 / dt),
        r=_drawn(size, 0.0, 1.0),
    )
    return layer(csilif)(dt=dt, **values, learn=tuple(values), spike=spike or rectangle(1.0))


def _drawn(size: int, low: float, high: float) -> Tensor:
    """Return numbers in the open interval, in which parameters must be."""
    return low + (high - low) * torch.rand(size).clamp(1e-6, 1.0 - 1e-6)
