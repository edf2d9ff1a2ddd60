"""An astrocyte of four compartments that turns spikes of seconds into bursts: the slow inward current on Loihi."""

from __future__ import annotations

import itertools
import math
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
from neurosim.units import check_dt, time_constant

_STEP = 1e-3  # s, of the published decays
_FULL = 4096  # a decay of all


@dataclass(frozen=True)
class SlowInwardCurrent:
    r"""Astrocytes made of populations and edges of an ordinary network.

    Four compartments in a row, each with current and voltage of Loihi's neuron,
    :math:`u \leftarrow u (4096 - \delta_u) / 4096 + w s`, :math:`v \leftarrow v (4096 - \delta_v) / 4096 + u`, a spike
    where :math:`v > \theta`, then :math:`v \leftarrow 0`:

    ========  =========  ====  ====  =============================================================
    node      threshold  du    dv    input
    ========  =========  ====  ====  =============================================================
    receiver  100        409   1024  the spikes it hears, weight 10
    ip3       15000      4096  1     receiver, weight 20: fills for seconds
    sic       never      40    40    ip3, weight 20: its voltage is the slow inward current
    burst     5000       --    40    the voltage of sic; its own spikes reach neurons by weight 30
    ========  =========  ====  ====  =============================================================

    The spikes of the receiver that ip3 needs for one of its own come down to 15000 / 20 = 750 as they become denser;
    below some rate its leak wins and it never fires.

    Tang, Polykretis, Ivanov, Shah and Michmizos, "Introducing astrocytes on a neuromorphic processor: synchronization,
    local plasticity and edge of chaos", NICE 2019, arXiv:1907.01620, with the settings of the authors' program
    (combra-lab/combra_loihi, ``astro/astrocyte.py``). Its table of settings for a wanted burst is not here.

    Parameters
    ----------
    dt : float
        Length of a step, s. The time constants are those of the decays above at a step of 1 ms.
    size : int
        Number of astrocytes; they do not hear each other.
    arithmetic : {"float", "loihi"}
        Real numbers, or the chip's whole numbers, which know a step of 1 ms only.
    stages : {4, 3}
        With 3 the last two are one current-based neuron that ip3 drives itself: a Lava graph can hold that, where
        nothing passes a voltage on. The burst begins at once, is densest at its start, and has about as many spikes.

    Raises
    ------
    InputError, UnitError
        For a choice there is not.

    Examples
    --------
    >>> import numpy as np, torch, neurosim as ns
    >>> from neurosim.models import SlowInwardCurrent
    >>> astro = SlowInwardCurrent()
    >>> net = ns.Network({"input": ns.Input(20), **astro.nodes()}, [astro.hear("input", 20), *astro.edges()])
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
        made = self._whole() if self.arithmetic == "loihi" else self._real()
        return {f"{name}_{compartment}": population for compartment, population in made.items()}

    def edges(self, name: str = "astro") -> list[Edge]:
        """Return the edges between the compartments; their weights are not trained."""
        row = ["receiver", "ip3", "sic", "burst"] if self.stages == 4 else ["receiver", "ip3", "burst"]
        weights = {"ip3": 20.0, "sic": 20.0, "burst": 1.0 if self.stages == 4 else 20.0}
        return [
            Edge(f"{name}_{before}", f"{name}_{after}", _each_to_its_own(self.size, weights[after]))
            for before, after in itertools.pairwise(row)
        ]

    def hear(self, source: str, neurons: int, *, name: str = "astro", weight: float = 10.0) -> Edge:
        """Return the edge by which every astrocyte hears all `neurons` of the node `source`."""
        return Edge(source, f"{name}_receiver", _all_to_all(neurons, self.size, weight))

    def act(self, target: str, neurons: int, *, name: str = "astro", weight: float = 30.0) -> Edge:
        """Return the edge by which the bursts reach all `neurons` of the node `target`."""
        return Edge(f"{name}_burst", target, _all_to_all(self.size, neurons, weight))

    def _real(self) -> dict[str, Population]:
        dt, size, slow = self.dt, self.size, _tau(40)
        receiver = CubaLIF(tau_syn=_tau(409), tau_mem=_tau(1024), r=_gain(1024), v_th=100.0, dt=dt, size=size)
        # A spike of the receiver lasts a step whatever that is, and fills ip3 by its weight.
        ip3 = layer(slow_lif)(tau_mem=_tau(1), r=-1 / math.expm1(-dt / _tau(1)), v_th=15000.0, dt=dt, size=size)
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

    def _whole(self) -> dict[str, Population]:
        made, dt, size = layer(loihi), self.dt, self.size
        # The chip takes one more of 4096 from a current than its register says.
        receiver = made(du=408, dv=1024, v_th=100, dt=dt, size=size)
        ip3 = made(du=4095, dv=1, v_th=15000, dt=dt, size=size)
        if self.stages == 3:
            return {"receiver": receiver, "ip3": ip3, "burst": made(du=39, dv=40, v_th=_MERGED, dt=dt, size=size)}
        return {
            "receiver": receiver,
            "ip3": ip3,
            "sic": layer(loihi_integrator)(du=39, dv=40, unit=1.0, dt=dt, size=size),
            "burst": layer(loihi_joined)(dv=40, v_th=5000, dt=dt, size=size),
        }


_MERGED = 50  # threshold of the burst where three stages do


def _tau(decay: int) -> float:
    """Return the time constant of a decay of so many parts in 4096 a millisecond, s."""
    return float(time_constant(1 - decay / _FULL, _STEP))


def _gain(decay: int) -> float:
    """Return r of a membrane to which a steady current adds all of itself every millisecond, as on Loihi."""
    return _FULL / decay


def _each_to_its_own(size: int, weight: float) -> Linear:
    made = Linear(size, size)
    with torch.no_grad():
        made.weight.copy_(weight * torch.eye(size))
    made.weight.requires_grad_(False)
    return made


def _all_to_all(before: int, after: int, weight: float) -> Linear:
    made = Linear(before, after)
    torch.nn.init.constant_(made.weight, weight)
    return made
