"""The network of sparsely connected excitatory and inhibitory neurons of Brunel."""

from __future__ import annotations

from typing import Any

from neurosim import cores
from neurosim.circuit import FixedInDegree, OneToOne, Poisson, Uniform
from neurosim.network.graph import Edge
from neurosim.network.layers import layer
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.synapses import Drawn
from neurosim.units import ms, mV


def brunel(g: float = 5.0, eta: float = 2.0, size: int = 12_500, j: float = 0.1 * mV, seed: int = 0) -> Network:
    """Return model A of Brunel (2000), J Comput Neurosci 8:183, doi:10.1023/A:1008925309027.

    Integrate-and-fire neurons with delta synapses; 80 % are excitatory (`E`), the others inhibitory (`I`). Each neuron
    gets synapses from a tenth of either population and a Poisson train of its own.

    Parameters
    ----------
    g : float
        Strength of inhibition: a synapse from I moves the membrane by ``-g j``.
    eta : float
        External rate, in units of the rate that drives the mean membrane to threshold.
    size : int
        Number of neurons; 12,500 in the paper.
    j : float
        Excitatory postsynaptic potential, V. With fewer neurons ``0.1 mV * 12_500 / size`` keeps the mean input.
    seed : int
        Connectivity seed.

    Returns
    -------
    Network
        With the populations `E` and `I`; no input is needed.

    Notes
    -----
    From section 2 of the paper: tau_mem 20 ms, v_th 20 mV above rest, v_reset 10 mV, t_ref 2 ms, delay 1.5 ms,
    in-degree 0.1 of the population, J 0.1 mV. The threshold rate is ``v_th / (j C_E tau_mem)``, 10 Hz per external
    synapse. Several synapses of a pair and synapses of a neuron onto itself are allowed, as in NEST's example (the
    paper does not say); without the former the coefficient of variation is 5 % lower. The start is uniform between rest
    and threshold. The step is 0.1 ms.

    With g = 5 and eta = 2 the rate is 37.5 Hz and the CV of intervals 0.43 (asynchronous irregular).

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.models.circuits import brunel
    >>> run = ns.simulate(brunel(size=500, j=2.5e-3), seconds=0.1, seed=3)
    >>> sorted(run.spikes)
    ['E', 'I']
    """
    n_exc = 4 * size // 5
    sizes = {"E": n_exc, "I": size - n_exc}
    c_exc, c_inh = n_exc // 10, sizes["I"] // 10
    lif = layer(cores.lif_delta)
    cell: dict[str, Any] = dict(
        tau_mem=20 * ms, t_ref=2 * ms, e_l=0.0, v_th=20 * mV, v_reset=10 * mV, init=dict(v=Uniform(0.0, 20 * mV))
    )
    rate = eta * 20 * mV / (j * 20 * ms)  # of all external synapses of a neuron
    noise: dict[str, Poisson | Neuron] = {f"noise {name}": Poisson(rate, n) for name, n in sizes.items()}
    neurons: dict[str, Poisson | Neuron] = {name: lif(size=n, **cell) for name, n in sizes.items()}
    return Network(
        nodes=noise | neurons,
        edges=[
            *(Edge(f"noise {name}", name, Drawn(OneToOne(), j), port="dv") for name in sizes),
            Edge("E", ("E", "I"), Drawn(FixedInDegree(c_exc), weight=j), port="dv", delay=1.5 * ms),
            Edge("I", ("E", "I"), Drawn(FixedInDegree(c_inh), weight=-g * j), port="dv", delay=1.5 * ms),
        ],
        dt=0.1 * ms,
        seed=seed,
    )
