"""An astrocyte of four compartments that integrates spikes over seconds and emits bursts: slow inward current."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch

from neurosim.cores.cuba_integrator import cuba_integrator
from neurosim.cores.loihi import loihi, loihi_integrator
from neurosim.cores.loihi_joined import loihi_joined
from neurosim.cores.slow_lif import slow_lif
from neurosim.errors import InputError
from neurosim.network.graph import Edge
from neurosim.network.layers import LIF, CubaLIF, layer
from neurosim.network.population import Population
from neurosim.synapses import Linear
from neurosim.synapses.synapse import count
from neurosim.units import check_dt, time_constant, unit_gain

_STEP = 1e-3  # s, of the published decays
_FULL = 4096  # a decay to 0


@dataclass(frozen=True)
class SlowInwardCurrent:
    r"""Astrocytes as populations and edges of an ordinary network.

    Four compartments in a row, each with the current and voltage of Loihi's neuron,
    :math:`u \leftarrow u (4096 - \delta_u) / 4096 + w s`, :math:`v \leftarrow v (4096 - \delta_v) / 4096 + u`, a spike
    where :math:`v > \theta`, then :math:`v \leftarrow 0`:

    ========  =========  ====  ====  =============================================================
    node      threshold  du    dv    input
    ========  =========  ====  ====  =============================================================
    receiver  100        409   1024  presynaptic spikes, weight 10
    ip3       15000      4096  1     receiver, weight 20: integrates for seconds
    sic       never      40    40    ip3, weight 20: its voltage is the slow inward current
    burst     5000       --    40    the voltage of sic; its spikes reach neurons by weight 30
    ========  =========  ====  ====  =============================================================

    The number of receiver spikes per ip3 spike decreases to 15000 / 20 = 750 as the rate increases; below some rate the
    leak of ip3 prevents any spike.

    Tang, Polykretis, Ivanov, Shah and Michmizos, "Introducing astrocytes on a neuromorphic processor: synchronization,
    local plasticity and edge of chaos", NICE 2019, arXiv:1907.01620, with the settings of the authors' program
    (combra-lab/combra_loihi, ``astro/astrocyte.py``). Its table of settings for a given burst is not included.

    Parameters
    ----------
    dt : float
        Length of a step, s. The time constants are those of the decays above at a step of 1 ms.
    size : int
        Number of astrocytes, without connections between them.
    arithmetic : {"float", "loihi"}
        Floating point, or the chip's integers, for a step of 1 ms only.
    stages : {4, 3}
        With 3 the last two are one current-based neuron driven by ip3, which Lava has a process for (it has none that
        sends a voltage). The burst then begins immediately, is densest at its start, and has about as many spikes.

    Raises
    ------
    InputError, UnitError
        For an unknown choice.

    Examples
    --------
    >>> import numpy as np, torch, neurosim as ns
    >>> from neurosim.models import SlowInwardCurrent
    >>> astro = SlowInwardCurrent()
    >>> net = ns.Network({"input": ns.Input(20), **astro.nodes()}, [astro.input_edge("input", 20), *astro.edges()])
    >>> spikes = np.random.default_rng(0).random((7000, 1, 20)) < 0.02
    >>> recording = ns.simulate(net, spikes, record=["astro_ip3", "astro_burst"])
    >>> recording.spikes["astro_ip3"].step, len(recording.spikes["astro_burst"].step)
    (array([6376]), 36)
    """

    dt: float = _STEP
    size: int = 1
    arithmetic: Literal["float", "loihi"] = "float"
    stages: Literal[4, 3] = 4

    def __post_init__(self) -> None:
        """Check the choices."""
        check_dt("SlowInwardCurrent", self.dt)
        count("SlowInwardCurrent", "size", self.size)
        if self.arithmetic not in ("float", "loihi") or self.stages not in (3, 4):
            raise InputError(
                'SlowInwardCurrent: arithmetic is "float" or "loihi", stages 4 or 3; got '
                f"{self.arithmetic!r} and {self.stages!r}."
            )
        if self.arithmetic == "loihi" and self.dt != _STEP:
            raise InputError(
                f"SlowInwardCurrent: the decays of Loihi are for steps of {_STEP:g} s; got dt={self.dt!r}. Use that or "
                'arithmetic="float".'
            )

    def nodes(self, name: str = "astro") -> dict[str, Population]:
        """Return the compartments as nodes ``name_receiver``, ``name_ip3``, ``name_sic`` and ``name_burst``."""
        populations = self._in_integers() if self.arithmetic == "loihi" else self._in_floating_point()
        return {f"{name}_{compartment}": population for compartment, population in populations.items()}

    def edges(self, name: str = "astro") -> list[Edge]:
        """Return the edges between the compartments; their weights are not trained."""
        row = ["receiver", "ip3", "sic", "burst"] if self.stages == 4 else ["receiver", "ip3", "burst"]
        weights = {"ip3": 20.0, "sic": 20.0, "burst": 1.0 if self.stages == 4 else 20.0}
        return [
            Edge(f"{name}_{pre}", f"{name}_{post}", _one_to_one(self.size, weights[post]))
            for pre, post in itertools.pairwise(row)
        ]

    def input_edge(self, source: str, neurons: int, *, name: str = "astro", weight: float = 10.0) -> Edge:
        """Return the edge from all `neurons` of the node `source` to every astrocyte."""
        return Edge(source, f"{name}_receiver", _all_to_all(neurons, self.size, weight))

    def output_edge(self, target: str, neurons: int, *, name: str = "astro", weight: float = 30.0) -> Edge:
        """Return the edge from the bursts of every astrocyte to all `neurons` of the node `target`."""
        return Edge(f"{name}_burst", target, _all_to_all(self.size, neurons, weight))

    def _in_floating_point(self) -> dict[str, Population]:
        dt, size, slow = self.dt, self.size, _tau(40)
        receiver = CubaLIF(tau_syn=_tau(409), tau_mem=_tau(1024), r=_gain(1024), v_th=100.0, dt=dt, size=size)
        # A spike of the receiver adds its weight to ip3, for any length of step.
        ip3 = layer(slow_lif)(tau_mem=_tau(1), r=unit_gain(_tau(1), dt), v_th=15000.0, dt=dt, size=size)
        if self.stages == 3:
            burst = CubaLIF(tau_syn=slow, tau_mem=slow, r=_gain(40), v_th=_MERGED, dt=dt, size=size)
            return {"receiver": receiver, "ip3": ip3, "burst": burst}
        sic = layer(cuba_integrator)(tau_syn=slow, tau_mem=slow, r=_gain(40), dt=dt, size=size)
        return {
            "receiver": receiver,
            "ip3": ip3,
            "sic": sic,
            "burst": LIF(tau_mem=slow, r=_gain(40), v_th=5000.0, dt=dt, size=size),
        }

    def _in_integers(self) -> dict[str, Population]:
        neurons, dt, size = layer(loihi), self.dt, self.size
        # The chip subtracts one more of 4096 from a current than its register holds.
        receiver = neurons(du=408, dv=1024, v_th=100, dt=dt, size=size)
        ip3 = neurons(du=4095, dv=1, v_th=15000, dt=dt, size=size)
        if self.stages == 3:
            return {"receiver": receiver, "ip3": ip3, "burst": neurons(du=39, dv=40, v_th=_MERGED, dt=dt, size=size)}
        return {
            "receiver": receiver,
            "ip3": ip3,
            "sic": layer(loihi_integrator)(du=39, dv=40, unit=1.0, dt=dt, size=size),
            "burst": layer(loihi_joined)(dv=40, v_th=5000, dt=dt, size=size),
        }


_MERGED = 50  # threshold of the burst with three stages


def _tau(decay: int) -> float:
    """Return the time constant, s, of a decay of `decay` parts in 4096 per millisecond."""
    return float(time_constant(1 - decay / _FULL, _STEP))


def _gain(decay: int) -> float:
    """Return r of a membrane to which a constant current is added every millisecond, as on Loihi."""
    return _FULL / decay


def _one_to_one(size: int, weight: float) -> Linear:
    synapse = Linear(size, size)
    with torch.no_grad():
        synapse.weight.copy_(weight * torch.eye(size))
    synapse.weight.requires_grad_(False)
    return synapse


def _all_to_all(pre: int, post: int, weight: float) -> Linear:
    synapse = Linear(pre, post)
    torch.nn.init.constant_(synapse.weight, weight)
    return synapse
