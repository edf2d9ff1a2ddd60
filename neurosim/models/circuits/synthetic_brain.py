"""A network of the size of the brain of the fruit fly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim import cores
from neurosim.circuit import FixedOutDegree, LogNormal, Poisson
from neurosim.errors import InputError
from neurosim.kernels.drawing.arguments import Pairs
from neurosim.network.graph import Edge
from neurosim.network.layers import layer
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Drawn
from neurosim.synapses.connectivity import ConnectionRule, listed_pairs
from neurosim.synapses.distributions import Distribution
from neurosim.units import Hz, ms, mV, pA, pF

NEURONS, CONNECTIONS = 138_639, 15_000_000
W_SYN = 2.75 * pA
"""Current of one synapse: 0.275 mV through 100 MOhm."""


@dataclass(frozen=True)
class LogNormalDegrees(ConnectionRule):
    """Connections whose in- and out-degrees are lognormal: a neuron is drawn with a weight of its own at either end.

    Parameters
    ----------
    mean : float
        Mean in-degree.
    sigma : float
        Standard deviation of the logarithm of the weights.
    seed : int
        Of the weights and the connections.
    """

    mean: float
    sigma: float
    seed: int

    def pairs(self, n_in: int, n_out: int, has_same_ends: bool) -> Pairs:
        """Return what decides the pairs; see `ConnectionRule.pairs`."""
        generator = np.random.Generator(np.random.Philox(key=self.seed))
        pre, post = (self._drawn(generator, n, round(self.mean * n_out)) for n in (n_in, n_out))
        return listed_pairs(pre, post, n_in, n_out)

    def _drawn(self, generator: np.random.Generator, size: int, count: int) -> np.ndarray:
        limits = np.cumsum(generator.lognormal(0.0, self.sigma, size))
        return np.minimum(np.searchsorted(limits, generator.random(count) * limits[-1], side="right"), size - 1)


@dataclass(frozen=True)
class Negative(Distribution):
    """The numbers of a continuous distribution with the other sign.

    Parameters
    ----------
    of : Distribution
    """

    of: Distribution

    @property
    def lowest(self) -> float:
        """The upper bound of the other, negative."""
        return -self.of.highest

    @property
    def highest(self) -> float:
        """The lower bound of the other, negative."""
        return -self.of.lowest

    @property
    def support(self) -> tuple[float, float]:
        """Finite bounds; see `Distribution.support`."""
        low, high = self.of.support
        return -high, -low

    def below(self, numbers: np.ndarray) -> np.ndarray:
        """Return the probability of a number below each; see `Distribution.below`."""
        return 1.0 - self.of.below(np.nextafter(-np.asarray(numbers), np.inf))


def fly_brain_like(scale: float = 1.0, driven: int = 20, seed: int = 0) -> Network:
    """Return a random network with the size, and the neurons, of the model of the fly brain of Shiu et al. (2024).

    138,639 integrate-and-fire neurons and 15 million connections (FlyWire; Dorkenwald et al. 2024,
    doi:10.1038/s41586-024-07558-y). The connections are random: use a table of edges for those of a brain.

    Parameters
    ----------
    scale : float
        Share of the neurons, in (0, 1]. The mean in-degree stays.
    driven : int
        Neurons with a Poisson train of 150 Hz each, as the sugar-sensing neurons of the paper. Nothing else drives the
        network, which is silent without them.
    seed : int
        Connectivity seed.

    Returns
    -------
    Network
        With the populations `E` and `I`; no input is needed.

    Notes
    -----
    From Shiu et al., doi:10.1038/s41586-024-07763-9: tau_mem 20 ms, synaptic current that decays with 5 ms, rest and
    reset -52 mV, threshold -45 mV, t_ref 2.2 ms, delay 1.8 ms, 0.275 mV for each synapse of a connection, 250 times
    that for a spike of the drive at 150 Hz. There a spike sets the synaptic current to 0 as well; here it goes on.
    Chosen here: 60 % of the neurons are excitatory, degrees at both ends are lognormal with sigma 1, and so are the
    numbers of synapses of a connection, with a median of 2, a mean of 3.3 and at most 100. The step is 0.1 ms.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.models.circuits import fly_brain_like
    >>> run = ns.simulate(fly_brain_like(scale=0.01), seconds=0.1, record=["E"])
    >>> run.spikes["E"].step.size > 0
    True
    """
    if not 0.0 < scale <= 1.0:
        raise InputError(f"fly_brain_like: scale must be in (0, 1]; got {scale!r}.")
    neurons = layer(cores.lif_exp)
    size = round(scale * NEURONS)
    sizes = {"E": 6 * size // 10, "I": size - 6 * size // 10}
    cell: dict[str, Any] = dict(tau_mem=20 * ms, tau_exc=5 * ms, tau_inh=5 * ms, c_m=200 * pF, t_ref=2.2 * ms)
    levels: dict[str, Any] = dict(e_l=-52 * mV, v_th=-45 * mV, v_reset=-52 * mV, init=dict(v=-52 * mV))
    nodes: dict[str, Poisson | Neuron] = {"drive": Poisson(150 * Hz, driven)} | {
        n: neurons(size=k, **cell, **levels) for n, k in sizes.items()
    }
    edges = [Edge("drive", "E", Drawn(FixedOutDegree(1), weight=250 * W_SYN), port="i_exc")]
    weights = LogNormal(math.log(2.0 * W_SYN), 1.0, high=100.0 * W_SYN, outside="clipped")
    both = (("E", "i_exc", weights), ("I", "i_inh", Negative(weights)))
    for number, (source, port, weight) in enumerate(both):
        for target in sizes:
            key = 4 * seed + 2 * number + (target == "I")
            rule = LogNormalDegrees(CONNECTIONS / NEURONS * sizes[source] / size, 1.0, key)
            edges.append(Edge(source, target, Drawn(rule, weight=weight), port=port, delay=1.8 * ms))
    return Network(nodes, edges, dt=0.1 * ms, seed=seed)
