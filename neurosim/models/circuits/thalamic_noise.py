"""The network of Izhikevich's simple model under thalamic noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurosim import cores
from neurosim.circuit import AllToAll, Noise, Uniform
from neurosim.network.graph import Edge
from neurosim.network.layers import layer
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Drawn, Identity
from neurosim.units import ms


def izhikevich_2003(seed: int = 0) -> Network:
    """Return the network of 1,000 neurons of Izhikevich (2003), IEEE Trans Neural Netw 14:1569.

    800 excitatory and 200 inhibitory neurons, doi:10.1109/TNN.2003.820440, each with parameters of its own, all joined
    to all, with white noise in place of thalamic input.

    Parameters
    ----------
    seed : int
        Connectivity seed, of which the parameters of the neurons are drawn as well.

    Returns
    -------
    Network
        With the populations `E` and `I`; no input is needed.

    Notes
    -----
    From the program of figure 3, with r uniform between 0 and 1 for each neuron: excitatory a = 0.02, b = 0.2,
    c = -65 + 15 r^2, d = 8 - 6 r^2; inhibitory a = 0.02 + 0.08 r, b = 0.25 - 0.05 r, c = -65, d = 2; weights uniform
    between 0 and 0.5 of excitatory, between -1 and 0 of inhibitory neurons; noise of standard deviation 5 and 2; v -65
    and u = b v at the start; a step of 1 ms. The program adds synaptic input one step after the spike.

    Rates are 7.3 and 6.7 Hz, the CV of intervals is 0.44.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.models.circuits import izhikevich_2003
    >>> run = ns.simulate(izhikevich_2003(), seconds=1.0, seed=3)
    >>> 5.0 < run.rates()["E"] < 10.0
    True
    """
    r_exc, r_inh = torch.rand(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).split(
        (800, 200)
    )
    exc = dict(c=-65 + 15 * r_exc**2, d=8 - 6 * r_exc**2)
    inh = dict(a=0.02 + 0.08 * r_inh, b=0.25 - 0.05 * r_inh, d=torch.full((200,), 2.0))
    neurons = layer(cores.izhikevich)
    nodes: dict[str, Noise | Neuron] = {
        "noise E": Noise(5.0, 800),
        "noise I": Noise(2.0, 200),
        "E": neurons(size=800, init=dict(v=-65.0, u=-13.0), **_single(exc)),
        "I": neurons(size=200, init=dict(v=-65.0, u=_single(inh)["b"] * -65.0), **_single(inh)),
    }
    edges = [
        *(Edge(f"noise {name}", name, Identity()) for name in "EI"),
        Edge("E", ("E", "I"), Drawn(AllToAll(), weight=Uniform(0.0, 0.5)), delay=1 * ms),
        Edge("I", ("E", "I"), Drawn(AllToAll(), weight=Uniform(-1.0, 0.0)), delay=1 * ms),
    ]
    return Network(nodes, edges, dt=1 * ms, seed=seed)


def _single(values: dict[str, Tensor]) -> dict[str, Any]:
    return {name: value.to(torch.get_default_dtype()) for name, value in values.items()}
