"""The cortical microcircuit of Potjans and Diesmann."""

from __future__ import annotations

import math
from typing import Any

from neurosim import cores
from neurosim.circuit import FixedTotal, Normal, OneToOne, Poisson
from neurosim.errors import InputError
from neurosim.network.graph import Edge
from neurosim.network.layers import layer
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Drawn
from neurosim.units import Hz, ms, mV, pA, pF

POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
SIZES = dict(zip(POPULATIONS, (20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948), strict=True))
EXTERNAL = dict(zip(POPULATIONS, (1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100), strict=True))
PROBABILITIES = {  # of a connection to each population, from all in the order of POPULATIONS
    "L23E": (0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0, 0.0076, 0.0),
    "L23I": (0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0, 0.0042, 0.0),
    "L4E": (0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0),
    "L4I": (0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0, 0.1057, 0.0),
    "L5E": (0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0),
    "L5I": (0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0),
    "L6E": (0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252),
    "L6I": (0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443),
}
START = {  # mean and standard deviation of the first membrane potential, mV
    "L23E": (-68.28, 5.36), "L23I": (-63.16, 4.57), "L4E": (-63.33, 4.74), "L4I": (-63.45, 4.94),
    "L5E": (-63.11, 4.94), "L5I": (-61.66, 4.55), "L6E": (-66.72, 5.46), "L6I": (-61.43, 4.48),
}  # fmt: skip
RATES = dict(zip(POPULATIONS, (0.943, 3.026, 4.368, 5.882, 7.733, 8.664, 1.096, 7.851), strict=True))
"""Mean rate of each population at full scale, Hz: NEST's, as distributed with its example."""


def synapses_between(source: str, target: str) -> int:
    """Return the number of synapses of the full model: of as many draws with replacement as give the probability."""
    probability = PROBABILITIES[target][POPULATIONS.index(source)]
    pairs = SIZES[source] * SIZES[target]
    return round(math.log1p(-probability) / math.log1p(-1.0 / pairs))


def _weight(source: str, target: str) -> Normal:
    """Return the weights (A): PSCs of PSPs of 0.15 mV with 10 %, doubled from L4E to L23E, times -4 of inhibition."""
    mean = 87.8 * pA * (2.0 if (source, target) == ("L4E", "L23E") else 1.0)
    if source.endswith("I"):
        return Normal(-4.0 * mean, 0.4 * mean, high=0.0, outside="redrawn")
    return Normal(mean, 0.1 * mean, low=0.0, outside="redrawn")


def _delay(source: str) -> Normal:
    mean = 1.5 * ms if source.endswith("E") else 0.75 * ms
    return Normal(mean, 0.5 * mean, low=0.1 * ms, outside="redrawn")


def potjans_diesmann(scale: float = 1.0, seed: int = 0) -> Network:
    """Return the microcircuit of Potjans & Diesmann (2014), Cereb Cortex 24:785, doi:10.1093/cercor/bhs358.

    Eight populations of integrate-and-fire neurons with exponential currents, 77,169 neurons and 298.9 million synapses
    at full scale, each neuron with a Poisson train of its own.

    Parameters
    ----------
    scale : float
        Share of the neurons, in (0, 1]. Each keeps the number of its synapses, so that the mean input stays, while
        correlations grow as the network shrinks. The number of synapses grows with `scale`.
    seed : int
        Connectivity seed.

    Returns
    -------
    Network
        With the populations ``L23E, L23I, L4E, L4I, L5E, L5I, L6E, L6I``; no input is needed.

    Notes
    -----
    From tables 4 and 5 of the paper: sizes, connection probabilities p with ``log(1 - p) / log(1 - 1 / (N_pre
    N_post))`` synapses drawn with replacement, 250 pF, tau_mem 10 ms, tau_syn 0.5 ms, e_l and v_reset -65 mV, v_th -50
    mV, t_ref 2 ms, weights 87.8 +- 8.78 pA, doubled from L4E to L23E, times -4 of inhibition, delays 1.5 +- 0.75 and
    0.75 +- 0.375 ms, 1500 to 2900 external synapses at 8 Hz. As in NEST's example, delays below the step of 0.1 ms and
    weights of the wrong sign are drawn again, and the start of v is normal for each population.

    Excitatory and inhibitory currents have one time constant, so that their sum is one current, into the port
    ``i_exc``: half of the accumulators, and the same membrane.

    Rates at full scale: `RATES` of this module, 0.94 to 8.7 Hz.

    Examples
    --------
    >>> from neurosim.models.circuits import potjans_diesmann
    >>> len(potjans_diesmann(scale=0.01).edges)
    63
    """
    if not 0.0 < scale <= 1.0:
        raise InputError(f"potjans_diesmann: scale must be in (0, 1]; got {scale!r}.")
    neurons = layer(cores.lif_exp)
    cell: dict[str, Any] = dict(tau_mem=10 * ms, tau_exc=0.5 * ms, tau_inh=0.5 * ms, c_m=250 * pF, t_ref=2 * ms)
    levels: dict[str, Any] = dict(e_l=-65 * mV, v_th=-50 * mV, v_reset=-65 * mV)
    nodes: dict[str, Poisson | Neuron] = {}
    edges = []
    for name, full in SIZES.items():
        size, (mean, std) = max(1, round(scale * full)), START[name]
        nodes[f"noise {name}"] = Poisson(8 * Hz * EXTERNAL[name], size)
        nodes[name] = neurons(size=size, init=dict(v=Normal(mean * mV, std * mV)), **cell, **levels)
        edges.append(Edge(f"noise {name}", name, Drawn(OneToOne(), 87.8 * pA), port="i_exc"))
        for source in POPULATIONS:
            if count := round(scale * synapses_between(source, name)):
                synapses = Drawn(FixedTotal(count), weight=_weight(source, name), delay=_delay(source))
                edges.append(Edge(source, name, synapses, delay=0.0, port="i_exc"))
    return Network(nodes, edges, dt=0.1 * ms, seed=seed)
