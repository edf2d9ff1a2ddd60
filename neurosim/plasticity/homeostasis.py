"""Homeostasis of mean rates, by thresholds or by scaling of incoming synapses.

The changes are slow and shared by all samples, like those of weights; they are not state of a run. Adaptation within a
run, for each sample, is the core `alif`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.language import seconds
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.plasticity.checks import check_numbers
from neurosim.plasticity.pairs import Pairs, pairs_of
from neurosim.synapses import Linear, Sparse
from neurosim.units import decay_of


class RateHomeostasis(ABC):
    r"""Base of both rules: the average rate of each neuron, and its difference from the target.

    .. math:: r \leftarrow \rho\, r + (1 - \rho)\, \overline{s} / dt, \qquad \rho = e^{-T dt / \tau}

    with the mean :math:`\overline{s}` over the T steps and all samples of a call. The initial average is that of the
    first call.

    Parameters
    ----------
    net : Network
        Its thresholds or weights are changed in place.
    targets : mapping of str to float
        Target rate r*, Hz, of each population, by name.
    rate : float
        Step of the rule, above 0, per call and per Hz of difference from the target.
    tau : float
        Time constant of the average, s, in (0, 10000). It must be much longer than that of the membranes and than the
        interval between spikes, or the rule follows single spikes.

    Attributes
    ----------
    rates : dict of str to Tensor [N]
        Average rate of each neuron, Hz.

    Raises
    ------
    InputError, UnitError
        For a population that the rule does not support, or a number out of range.
    """

    def __init__(self, net: Network, targets: Mapping[str, float], *, rate: float, tau: float = 10.0) -> None:
        self._owner = type(self).__name__
        seconds(10.0, high=1e4).check(self._owner, "tau", tau)
        if not 0 < rate < math.inf:
            raise InputError(f"{self._owner}: rate must be a number above 0; got {rate!r}.")
        for name, target in targets.items():
            node = net.populations().get(name)
            if node is None or not node.is_spiking:
                firing = [name for name, node in net.populations().items() if node.is_spiking]
                raise InputError(f"{self._owner}: {name!r} is not a spiking population; this network has {firing}.")
            if not 0 < target < 1 / net.dt:
                raise InputError(
                    f"{self._owner}: the rate of {name!r} must be between 0 and {1 / net.dt:g} Hz, a spike at each "
                    f"step; got {target!r}."
                )
        self.net, self.targets, self.rate, self.tau = net, dict(targets), rate, tau
        self.rates: dict[str, Tensor] = {}

    @torch.no_grad()
    def learn(self, seen: Mapping[str, Tensor]) -> None:
        """Update the average rates with the spikes of a call, then thresholds or weights.

        Parameters
        ----------
        seen : mapping of str to Tensor [T, B, N]
            Spikes of each population of `targets`, as `Network.recorded` returns them.
        """
        for name, target in self.targets.items():
            if name not in seen:
                raise InputError(f"{self._owner}: the spikes of {name!r} are needed; got those of {list(seen)}.")
            spikes = seen[name]
            if (
                spikes.dim() != 2 + len(self.net.shape(name))
                or spikes.shape[2:] != self.net.shape(name)
                or not spikes.numel()
            ):
                shape = ", ".join(map(str, self.net.shape(name)))
                raise ShapeError(
                    f"{self._owner}: spikes of {name!r} must be [T, B, {shape}]; got {list(spikes.shape)}."
                )
            now = spikes.mean((0, 1)) / self.net.dt
            self.rates[name] = averaged(self.rates.get(name), now, decay_of(self.tau, len(spikes) * self.net.dt))
            self._move(name, self.rates[name] - target)

    @abstractmethod
    def _move(self, name: str, excess: Tensor) -> None:
        """Change a population whose rates are `excess` [N] Hz above the target."""


class ThresholdHomeostasis(RateHomeostasis):
    r"""Thresholds rise for neurons that fire too much: :math:`\theta \leftarrow \theta + \eta\,(r - r^*)`.

    Parameters
    ----------
    net, targets, rate, tau
        As in `RateHomeostasis`. Each neuron needs its threshold: ``v_th=torch.ones(N)``.
    lowest : float
        Lower bound of the thresholds.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.plasticity.homeostasis import ThresholdHomeostasis
    >>> net = ns.Sequential(ns.Linear(3, 3), ns.LIF(v_th=torch.ones(3), dt=1e-3), names=("out",))
    >>> weight = net.edges[0].synapses[0].weight.data.copy_(torch.diag(torch.tensor([1.5, 3.0, 6.0])))
    >>> homeostasis = ThresholdHomeostasis(net, {"out": 20.0}, rate=5e-3, tau=1.0)
    >>> for _ in range(200):
    ...     z, _ = net(torch.ones(1000, 1, 3))
    ...     homeostasis.learn({"out": z})
    >>> homeostasis.rates["out"].round()
    tensor([20., 20., 20.])
    """

    def __init__(
        self, net: Network, targets: Mapping[str, float], *, rate: float, tau: float = 10.0, lowest: float = 0.1
    ) -> None:
        super().__init__(net, targets, rate=rate, tau=tau)
        self.lowest = lowest
        self._thresholds = {name: self._threshold(name) for name in targets}

    def _threshold(self, name: str) -> Tensor:
        node = self.net.nodes[name]
        threshold = node.value("v_th") if isinstance(node, Neuron) and "v_th" in node.core.parameters else None
        if not isinstance(threshold, Tensor) or threshold.shape != self.net.shape(name):
            raise InputError(
                f"{self._owner}: the neurons of {name!r} share one threshold or have none; use "
                f"v_th=torch.ones({', '.join(map(str, self.net.shape(name)))})."
            )
        return threshold

    def _move(self, name: str, excess: Tensor) -> None:
        threshold = self._thresholds[name]
        threshold.copy_(moved(threshold, excess, self.rate, self.lowest))


class SynapticScaling(RateHomeostasis):
    r"""Incoming weights of a neuron that fires too much are scaled: :math:`w \leftarrow w\,(1 + \eta\,(r^* - r))`.

    Ratios and signs of the weights of a neuron stay the same, and weights of 0 stay 0; the factor is at least 0.

    Parameters
    ----------
    net, targets, rate, tau
        As in `RateHomeostasis`.
    edges : mapping of str to str, optional
        For each population the name of the edge whose weights are scaled, one `Linear` or `Sparse`; by default its only
        incoming edge.

    References
    ----------
    Turrigiano et al., "Activity-dependent scaling of quantal amplitude in neocortical neurons", Nature 391, 1998,
    doi:10.1038/36103.
    """

    def __init__(
        self,
        net: Network,
        targets: Mapping[str, float],
        *,
        rate: float,
        tau: float = 10.0,
        edges: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(net, targets, rate=rate, tau=tau)
        self._synapses = {name: self._synapse(name, (edges or {}).get(name)) for name in targets}

    def _synapse(self, name: str, edge: str | None) -> tuple[Linear | Sparse, Pairs]:
        incoming = {e.name: e for e in self.net.edges if e.target == name}
        if edge is None and len(incoming) == 1:
            edge = next(iter(incoming))
        if edge not in incoming:
            raise InputError(
                f"{self._owner}: edges must name one edge onto {name!r}, of {list(incoming)}; got {edge!r}."
            )
        return pairs_of(f"{self._owner}: edge {edge!r}", incoming[edge].synapses, grows=False)

    def _move(self, name: str, excess: Tensor) -> None:
        synapse, pairs = self._synapses[name]
        synapse.weight.mul_(pairs.by_post(scale_of(excess, self.rate)))


@dataclass(frozen=True)
class RateRule:
    r"""Base of both rules as `neurosim.simulate` applies them at intervals: the average rate of each neuron.

    At the end of each interval it follows the rate of the interval,
    :math:`r \leftarrow \rho\, r + (1 - \rho)\, n / T` with n spikes in T s and :math:`\rho = e^{-T / \tau}`. The first
    average is that of the first interval. Each trial has its own. Spikes are counted where they are made: no delay
    concerns them.

    Parameters
    ----------
    target : float
        Target rate :math:`r^*`, Hz, above 0.
    rate : float
        :math:`\eta`, above 0, per interval and per Hz of difference from the target.
    tau : float
        Time constant of the average, s, in (0, 10000).
    every : float
        Interval T, s, an integer number of steps.

    Raises
    ------
    InputError, UnitError
        For a number out of range.
    """

    target: float
    rate: float
    tau: float = 10.0
    every: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        owner = type(self).__name__
        seconds(10.0, high=1e4).check(owner, "tau", self.tau)
        check_numbers(self, infinite=("lowest",))
        for name in ("target", "rate", "every"):
            if getattr(self, name) <= 0:
                raise InputError(f"{owner}: {name} must be a number above 0; got {getattr(self, name)!r}.")

    def rates(self, before: Tensor, spikes: Tensor, steps: int, dt: float) -> Tensor:
        """Return the average rates [N], Hz, given those before (-1: none) and the spikes of an interval."""
        known = None if bool((before < 0).all()) else before
        return averaged(known, spikes / steps / dt, decay_of(self.tau, steps * dt))


@dataclass(frozen=True)
class HomeostaticScaling(RateRule):
    r"""The rule of `SynapticScaling` for one edge of a circuit, which `neurosim.simulate` applies at intervals.

    The weights of each postsynaptic neuron become :math:`w\,(1 + \eta\,(r^* - r))`, the factor being at least 0.

    Parameters
    ----------
    target, rate, tau, every : float
        As in `RateRule`.

    References
    ----------
    See `SynapticScaling`.
    """

    def scale(self, rates: Tensor) -> Tensor:
        """Return the factor of the weights of each postsynaptic neuron [n_out]."""
        return scale_of(rates - self.target, self.rate)


@dataclass(frozen=True)
class HomeostaticThreshold(RateRule):
    r"""The rule of `ThresholdHomeostasis` for a population, which `neurosim.simulate` applies at intervals.

    The threshold of each neuron becomes :math:`\theta + \eta\,(r - r^*)`.

    Parameters
    ----------
    target, rate, tau, every : float
        As in `RateRule`.
    lowest : float
        Lower bound of the thresholds.
    """

    lowest: float = 0.1

    def threshold(self, before: Tensor, rates: Tensor) -> Tensor:
        """Return the threshold of each neuron, given those before."""
        return moved(before, rates - self.target, self.rate, self.lowest)


def averaged(before: Tensor | None, now: Tensor, decay: float) -> Tensor:
    """Return the average of rates that follows those of an interval; the first is that of the interval."""
    return now if before is None else decay * before + (1 - decay) * now


def scale_of(excess: Tensor, rate: float) -> Tensor:
    """Return the factor of the weights of neurons whose rates are `excess` Hz above the target."""
    return (1 - rate * excess).clamp(min=0)


def moved(threshold: Tensor, excess: Tensor, rate: float, lowest: float) -> Tensor:
    """Return the thresholds of neurons whose rates are `excess` Hz above the target."""
    return (threshold + rate * excess).clamp(min=lowest)
