"""The benchmark networks of Brette et al., after Vogels and Abbott."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from neurosim import cores
from neurosim.circuit import Bernoulli, Normal, Uniform
from neurosim.errors import InputError
from neurosim.language import Core
from neurosim.network.graph import Edge
from neurosim.network.layers import layer
from neurosim.network.network import Network
from neurosim.synapses import Drawn
from neurosim.units import ms, mV, nS, pA, pF


class _Kind(NamedTuple):
    core: Core
    ports: tuple[str, str]
    weights: tuple[float, float]
    cell: dict[str, Any]


_CONDUCTANCES = dict(g_exc=Normal(40 * nS, 15 * nS, low=0.0, outside="clipped"),
                     g_inh=Normal(200 * nS, 120 * nS, low=0.0, outside="clipped"))  # fmt: skip
_START = dict(v=Normal(-65 * mV, 5 * mV), **_CONDUCTANCES)
_KINDS = {
    "coba": _Kind(cores.lif_cond, ("ge", "gi"), (6 * nS, 67 * nS), dict(init=_START)),
    "cuba": _Kind(
        cores.lif_exp,
        ("i_exc", "i_inh"),
        (16.2 * pA, -90 * pA),
        dict(
            **dict(tau_mem=20 * ms, tau_exc=5 * ms, tau_inh=10 * ms, c_m=200 * pF, t_ref=5 * ms),
            **dict(e_l=-49 * mV, v_th=-50 * mV, v_reset=-60 * mV, init=dict(v=Uniform(-60 * mV, -50 * mV))),
        ),
    ),
    "hh": _Kind(cores.hodgkin_huxley, ("ge", "gi"), (6 * nS, 67 * nS), dict(init=_START)),
}


def vogels_abbott(
    kind: Literal["coba", "cuba", "hh"] = "coba", size: int = 4000, probability: float = 0.02, seed: int = 4
) -> Network:
    """Return benchmark 1 (COBA), 2 (CUBA) or 3 (HH) of Brette et al. (2007), doi:10.1007/s10827-007-0038-6.

    Networks of Vogels & Abbott (2005), doi:10.1523/JNEUROSCI.3508-05.2005, whose activity needs no input.

    Parameters
    ----------
    kind : {"coba", "cuba", "hh"}
        Conductances (`lif_cond`), currents (`lif_exp`), or Hodgkin-Huxley neurons with conductances (`hodgkin_huxley`).
    size : int
        Number of neurons, of which 80 % are excitatory; 4,000 in the paper.
    probability : float
        Of a synapse from one neuron to another; 2 % in the paper.
    seed : int
        Connectivity seed.

    Returns
    -------
    Network
        With the populations `E` and `I`; no input is needed.

    Notes
    -----
    From appendix 2 of the paper: area 20,000 um2, 1 uF/cm2 and 5e-5 S/cm2 (c_m 200 pF, g_l 10 nS, tau_mem 20 ms),
    threshold -50 mV, reset -60 mV, refractory time 5 ms, synaptic time constants 5 and 10 ms. COBA: e_l -60, e_exc 0,
    e_inh -80 mV, 6 and 67 nS. CUBA: e_l -49 mV; 0.27 nS and 4.5 nS at a mean membrane of -60 mV, 16.2 and -90 pA
    (NEST's example has -139.5 pA). HH: the currents of Traub & Miles, and a crossing of -20 mV as the spike, as in
    Brian2's example. The paper leaves the delay open: 0.1 ms, one step, here and in NEST's example.

    Starts are those of Brian2's examples: COBA and HH v = N(-65, 5) mV, conductances N(40, 15) and N(200, 120) nS,
    negative ones 0; CUBA v uniform between -60 and -50 mV. CUBA has 5.5 Hz, with a standard deviation of 0.33 Hz over
    connectivity seeds. COBA has 18 to 21 Hz with a CV of 1.7 to 1.9 while it lasts: about one start in six falls silent
    within 0.4 s, as in Brian2.

    Examples
    --------
    >>> import neurosim as ns
    >>> from neurosim.models.circuits import vogels_abbott
    >>> run = ns.simulate(vogels_abbott("cuba", size=1000), seconds=0.05)
    >>> sorted(run.spikes)
    ['E', 'I']
    """
    if kind not in _KINDS:
        raise InputError(f"vogels_abbott: kind must be one of {list(_KINDS)}; got {kind!r}.")
    core, ports, weights, cell = _KINDS[kind]
    neurons = layer(core)
    n_exc = 4 * size // 5
    rule = Bernoulli(probability, autapses="excluded")
    return Network(
        nodes={"E": neurons(size=n_exc, **cell), "I": neurons(size=size - n_exc, **cell)},
        edges=[
            Edge(source, ("E", "I"), Drawn(rule, weight=weight), port=port, delay=0.1 * ms)
            for source, port, weight in zip("EI", ports, weights, strict=True)
        ],
        dt=0.1 * ms,
        seed=seed,
    )
