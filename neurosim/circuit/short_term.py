"""Synapses with short-term plasticity in the engine of circuits: state and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim.circuit.wiring import Route, Wiring
from neurosim.errors import ShapeError
from neurosim.kernels.circuit.plastic import LONG_AGO, Decay
from neurosim.kernels.circuit.tasks import PostSpikes, Reward, ShortTermDelivery, SpikeLog
from neurosim.plasticity.short_term import TsodyksMarkram


class ShortTermState(NamedTuple):
    """State of the synapses of an edge with short-term plasticity.

    Attributes
    ----------
    pre : Tensor [B, rows, 3] of float64
        For each presynaptic neuron and delay: steps since the last arrival, its u and its x.
    """

    pre: Tensor


class ShortTermSynapses:
    """The synapses of one edge with short-term plasticity in one trial.

    Parameters
    ----------
    wiring : Wiring
    route : Route
        With the rule `TsodyksMarkram`.
    state : ShortTermState, optional
        To continue from.
    trial : int
        Sample of the state.
    """

    def __init__(self, wiring: Wiring, route: Route, state: ShortTermState | None, trial: int) -> None:
        assert route.rules is not None
        assert isinstance(route.rules.timing, TsodyksMarkram)
        edge = wiring.edge(route.key)
        self.route, self.target, self.rule = route, edge.target, route.rules.timing
        dt, rows = wiring.net.dt, len(route.first[0])
        self.decays = Decay.of(self.rule.tau_facil, dt), Decay.of(self.rule.tau_rec, dt)
        if state is None:
            pre = torch.tensor([-LONG_AGO, 0.0, 1.0], dtype=torch.float64).repeat(rows, 1)
        else:
            pre = state.pre[trial].double().clone()
            if pre.shape != (rows, 3):
                raise ShapeError(
                    f"state of the plastic edge {edge.name!r}: pre must be [B, {rows}, 3]; got "
                    f"{list(state.pre.shape)}. The synapses or their rule have changed."
                )
        pre[:, 0] = -pre[:, 0]
        self.bounds = wiring.division.bounds[edge.target]
        self.sources = [pre.clone() for _ in route.first]

    def delivery(self, part: int, log: SpikeLog, total: Tensor) -> ShortTermDelivery:
        """Return the delivery to the targets of a part."""
        route = self.route
        assert isinstance(route.weight, Tensor)
        rows = route.delays, route.first[part], route.last[part], route.post, route.weight
        return ShortTermDelivery(self.rule.u, *self.decays, log, *rows, self.sources[part], total)

    def post_spikes(self, part: int, log: SpikeLog) -> list[PostSpikes]:
        """Return nothing: the amplitudes depend on presynaptic spikes alone."""
        return []

    def open(self, steps: int) -> None:
        """Begin a call of so many steps."""

    def rewards(self, delivery: ShortTermDelivery) -> list[Reward]:
        """Return nothing."""
        return []

    def shift(self, steps: int) -> None:
        """Count steps from `steps` later on."""
        for sources in self.sources:
            sources[:, 0].sub_(steps).clamp_(min=LONG_AGO)

    def state(self, late: Sequence[Tensor]) -> ShortTermState:
        """Return the state of this trial, without the samples' axis, before a step 0."""
        part = next(p for p in range(len(self.sources)) if self.bounds[p] < self.bounds[p + 1])
        pre = self.sources[part].clone()
        pre[:, 0] = -pre[:, 0]
        return ShortTermState(pre)

    delay = 0  # steps from a postsynaptic spike to its arrival
