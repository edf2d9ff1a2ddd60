r"""IIR-SNN: layers whose threshold and leak are trained, and thresholds set from currents.

Chowdhury, Rathi & Roy, "One timestep is all you need: training spiking neural networks with ultra low latency"
(iterative initialisation and retraining), arXiv:2110.05929; in ECCV 2022 as "Towards ultra low latency spiking neural
networks ... using temporal pruning". Each layer l has one trained threshold and one trained leak:

.. math:: m[t] = \lambda_l m[t-1] + W_l o_{l-1}[t], \quad z[t] = m[t] / \theta_l - 1, \quad o[t] = [z[t] > 0],
          \quad m[t] \leftarrow m[t] - \theta_l o[t]

with :math:`\partial o / \partial z = 0.3 \max(0, 1 - |z|)`, no gradient through the spike in the reset (the threshold
there gets one), and outputs :math:`\sum_t W o[t]`, neither leaking nor divided by T. The analog input is given at every
step. The equations, the order of operations and the defaults are those of the authors' program. Training in stages:
`neurosim.models.iir_stages`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from neurosim.cores import iir_lif, relay
from neurosim.errors import InputError, NetworkError
from neurosim.language import triangle
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron


def hidden(dt: float = 1e-3) -> Neuron:
    """Return neurons of IIR-SNN: one trained threshold and one trained leak per layer.

    The leak is a factor per step: unlike a time constant it gives another neuron at another `dt` (s).
    """
    return Neuron(iir_lif, dt=dt, spike=triangle(1.0, 0.3), learn=("leak", "v_th"))


def output(dt: float = 1e-3) -> Neuron:
    """Return the readout, `dt` in s: its output is the current of each step, which `RateCrossEntropy` sums."""
    return Neuron(relay, dt=dt)


def set_thresholds(net: Network, x: Tensor, percentile: float = 90.0) -> dict[str, float]:
    """Set the thresholds of all `hidden` layers from their currents, layer by layer, from the input on.

    The threshold of a layer is the maximum over time of a percentile, over samples and neurons, of the *current* into
    the layer (not of its membrane). Every leak is 1 while the network runs for this.

    Parameters
    ----------
    net : Network
        Without delays and loops.
    x : Tensor [T, B, ...]
        One batch; the authors take 512 samples.
    percentile : float
        In (0, 100].

    Returns
    -------
    dict of str to float
        Threshold of each layer.

    Raises
    ------
    InputError, NetworkError
        For a percentile out of range, a network without `hidden` layers or with delays, or a layer whose currents give
        no threshold above 0. Leaks are restored; thresholds of earlier layers stay set.
    """
    if not 0 < percentile <= 100:
        raise InputError(f"set_thresholds: percentile must be in (0, 100]; got {percentile!r}.")
    delayed = [edge.name for edge in net.edges if edge.delay_steps]
    if delayed:
        raise NetworkError(f"set_thresholds: edges {delayed} have a delay; use a network without delays.")
    layers = dict(_layers(net))
    if not layers:
        raise NetworkError("set_thresholds: this network has no hidden() layer whose threshold could be set.")
    thresholds: dict[str, float] = {}
    with torch.no_grad(), _leaks_at_one(layers.values()):
        for name, layer in layers.items():
            edges = [edge for edge in net.edges if edge.target == name]
            sources = tuple(dict.fromkeys(edge.source for edge in edges))
            values = net.run(x, None, tuple(s for s in sources if s not in net.inputs)).recorded
            current = sum(edge(values.get(edge.source, x)) for edge in edges)
            assert isinstance(current, Tensor)  # every layer has an edge
            threshold = max(float(np.percentile(step.cpu().numpy(), percentile)) for step in current)
            if threshold <= 0:
                raise NetworkError(
                    f"set_thresholds: percentile {percentile:g} of the current into {name!r} is {threshold:g}; a "
                    "threshold must be above 0. Use a higher percentile or check the weights."
                )
            layer.get_parameter("v_th").fill_(threshold)
            thresholds[name] = threshold
    return thresholds


@contextmanager
def _leaks_at_one(layers: Iterable[Neuron]) -> Iterator[None]:
    leaks = [layer.get_parameter("leak") for layer in layers]
    before = [leak.clone() for leak in leaks]
    for leak in leaks:
        leak.fill_(1.0)
    try:
        yield
    finally:
        for leak, value in zip(leaks, before, strict=True):
            leak.copy_(value)


def limit_leaks(net: Network) -> None:
    """Clamp every leak of a `hidden` layer to 1 from above; there is no lower limit."""
    with torch.no_grad():
        for _, layer in _layers(net):
            layer.get_parameter("leak").clamp_(max=1.0)


def _layers(net: Network) -> Iterator[tuple[str, Neuron]]:
    """Yield the layers of IIR neurons whose threshold and leak are both trained, in order."""
    for name, population in net.populations().items():
        if isinstance(population, Neuron) and population.core is iir_lif and {"leak", "v_th"} <= {*population.learned}:
            yield name, population
