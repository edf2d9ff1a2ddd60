"""Plastic synapses in the engine of circuits: state, tasks, and changes at intervals of weights that change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosim.circuit.rule_checks import waveform_of
from neurosim.circuit.rules import Rules, pair_rule
from neurosim.circuit.short_term import ShortTermState, ShortTermSynapses
from neurosim.circuit.waveform import Waveform
from neurosim.circuit.wiring import Route, Wiring
from neurosim.errors import InputError, ShapeError
from neurosim.kernels.circuit.plastic import LONG_AGO, ROOM, TIME, WALKED, PairRule, Targets
from neurosim.kernels.circuit.tasks import Delivery, PlasticDelivery, PostSpikes, Reward, SpikeLog
from neurosim.kernels.common.philox import stream_of
from neurosim.network.source import SourceState
from neurosim.plasticity.reward import RewardModulated, Rewards
from neurosim.plasticity.rewiring import Pairing
from neurosim.units import steps_of


class PlasticState(NamedTuple):
    """State of the synapses of a plastic edge, after the changes of all steps so far.

    What the rules of the edge do not need has no rows.

    Attributes
    ----------
    weight : Tensor [B, n]
        Of each synapse, in the order of the weights of the edge.
    pre : Tensor [B, rows, 6] of float64
        For each presynaptic neuron and delay: steps since the last arrival, the trace with it and before it, the factor
        of its depression and that of one spike, and the slow trace of triplets.
    post : Tensor [B, n_out, 5] of float64
        For each postsynaptic neuron: steps since its last spike arrived at the synapses, the trace with it and before
        it, the factor of its potentiation, and the slow trace of triplets.
    late : Tensor [B, dendritic delay, n_out] of bool
        Postsynaptic spikes that have not arrived at the synapses yet, the oldest first.
    eligible : Tensor [B, n, 2] of float64
        With rewards, the eligibility of each synapse at its last change, and the steps since then.
    expected : Tensor [B] of float64
        Expected reward.
    rates : Tensor [B, n_out]
        With scaling, the average rate of each postsynaptic neuron, Hz; -1 before the first interval has ended.
    counts : Tensor [B, n_out] of int64
        With scaling, its spikes in the present interval.
    connections : Tensor [B, 2, n] of int64
        With rewiring, the postsynaptic and the presynaptic neuron of each synapse.
    step, trial : Tensor [B] of int64
        Steps with the rules so far, and the number of the trial.
    """

    weight: Tensor
    pre: Tensor
    post: Tensor
    late: Tensor
    eligible: Tensor
    expected: Tensor
    rates: Tensor
    counts: Tensor
    connections: Tensor
    step: Tensor
    trial: Tensor


def synapses_of(
    wiring: Wiring, route: Route, state: Any, sample: int, trial: int
) -> PlasticSynapses | ShortTermSynapses:
    """Return the synapses of a route with rules, in one sample; `state` is None at the start."""
    assert route.rules is not None
    fields = (PlasticState if route.rules.changes_weights else ShortTermState)._fields
    if state is not None and state._fields != fields:
        raise InputError(
            f"state of the plastic edge {wiring.edge(route.key).name!r} has {list(state._fields)}; {list(fields)} are "
            "needed. It was made with another rule."
        )
    if not route.rules.changes_weights:
        return ShortTermSynapses(wiring, route, state, sample)
    return PlasticSynapses(wiring, route, state, sample, trial)


class PlasticSynapses:
    """The plastic synapses of one edge in one trial.

    Rows of synapses are ordered by source and delay, then by the part of the target. Until the first rewiring that is
    the order of the weights of the edge.

    Parameters
    ----------
    wiring : Wiring
    route : Route
        With rules that change weights.
    state : PlasticState, optional
        To continue from.
    sample : int
        Of the state.
    trial : int
        Number of the trial, at the start.

    Attributes
    ----------
    weight : Tensor [n]
        In the order of the rows.
    """

    def __init__(self, wiring: Wiring, route: Route, state: PlasticState | None, sample: int, trial: int) -> None:
        assert route.rules is not None
        assert isinstance(route.weight, Tensor)
        edge, self.dt = wiring.edge(route.key), wiring.net.dt
        self.route, self.rules, self.name, self.target = route, route.rules, edge.name, edge.target
        self.bounds, self.is_loop = wiring.division.bounds[edge.target], edge.source == edge.target
        self.rule = _pair_rule(route.rules, self.dt)
        self.delay = route.rules.late_steps(self.dt)
        self.intervals = [  # of scaling and of rewiring, in steps; 0 where there is none
            0 if rule is None else steps_of(type(rule).__name__, "every", rule.every, self.dt)
            for rule in (route.rules.scaling, route.rules.rewiring)
        ]
        self.first, self.last, self.post = route.first, route.last, route.post
        self.order: Tensor | None = None  # place in the list of synapses of each synapse of the rows
        rows, size = len(route.first[0]), math.prod(wiring.net.shape(edge.target))
        self.sizes = math.prod(wiring.net.shape(edge.source)), size
        self.step, self.trial, self.expected = 0, trial, 0.0
        timing = route.rules.timing
        is_rewarded = isinstance(timing, RewardModulated)
        self.waveform: Waveform | None = None
        if isinstance(timing, RewardModulated) and not isinstance(timing.reward, Rewards):
            self.waveform = waveform_of(timing)
        self.eligible = torch.zeros(len(route.weight) if is_rewarded else 0, 2, dtype=torch.float64)
        scaled = size if route.rules.scaling is not None else 0
        self.rates = torch.full((scaled,), -1.0, dtype=route.weight.dtype)
        self.counts = torch.zeros(scaled, dtype=torch.int64)
        pairs = 0 if self.rule is None else 1
        pre = torch.zeros(pairs * rows, 6, dtype=torch.float64)
        post = torch.zeros(pairs * size, 5, dtype=torch.float64)
        pre[:, 0] = post[:, 0] = -LONG_AGO
        self.weight = route.weight.clone()
        self.pairing: Pairing | None = None
        if route.rules.rewiring is not None:
            sources = torch.arange(rows).repeat_interleave(route.last[-1] - route.first[0])
            groups = len(route.delays)
            self.group = (sources % groups).numpy()
            self.pairing = Pairing(route.post.numpy().astype(np.int64), (sources // groups).numpy())
        if state is not None:
            self._check(state, (len(pre), len(post), self.delay * pairs))
            self.weight = state.weight[sample].to(route.weight.dtype).clone()
            pre, post = state.pre[sample].double(), state.post[sample].double().clone()
            self.eligible = state.eligible[sample].double().clone()
            self.eligible[:, 1] *= -1
            self.rates, self.counts = state.rates[sample].to(route.weight.dtype), state.counts[sample].clone()
            self.expected = float(state.expected[sample])
            self.step, self.trial = int(state.step[sample]), int(state.trial[sample])
            if self.pairing is not None:
                self._join(Pairing(*state.connections[sample].numpy()))
        held = torch.zeros(len(pre), 7, dtype=torch.float64)
        held[:, TIME], held[:, WALKED + 1 :] = -pre[:, 0], pre[:, 1:]
        post[:, TIME] = -post[:, TIME]
        self.sources = [held.clone() for _ in route.first]
        self.targets = Targets.of(post.contiguous(), wiring.window + ROOM)
        self.surprise = torch.zeros(0, dtype=torch.float64)

    def _check(self, state: PlasticState, sizes: tuple[int, int, int]) -> None:
        rows, targets, late = sizes
        n, pairs = len(self.weight), 0 if self.pairing is None else len(self.weight)
        shapes = {"weight": (n,), "pre": (rows, 6), "post": (targets, 5), "late": (late, targets)}
        shapes |= {"eligible": tuple(self.eligible.shape), "rates": tuple(self.rates.shape)}
        shapes |= {"counts": tuple(self.counts.shape), "connections": (2, pairs)}
        for field, shape in shapes.items():
            values = getattr(state, field)
            if tuple(values.shape[1:]) != shape:
                raise ShapeError(
                    f"state of the plastic edge {self.name!r}: {field} must be [B, {', '.join(map(str, shape))}]; got "
                    f"{list(values.shape)}. The synapses or their rule have changed."
                )

    def open(self, steps: int) -> None:
        """Begin a call of so many steps: read their rewards."""
        rule = self.rules.timing
        if not isinstance(rule, RewardModulated):
            return
        if isinstance(rule.reward, Rewards):
            rewards = rule.reward.between(self.step, steps, self.dt)
        else:
            place = SourceState(*(torch.tensor([each]) for each in (0, self.trial, self.step)))
            assert self.waveform is not None
            rewards = np.broadcast_to(self.waveform.at(place, steps, self.dt)[:, 0], steps)
        surprise, self.expected = rule.surprises(rewards, self.expected)
        self.surprise = torch.from_numpy(surprise)

    def delivery(self, part: int, log: SpikeLog, total: Tensor) -> PlasticDelivery | Delivery:
        """Return the delivery to the targets of a part."""
        rows = self.route.delays, self.first[part], self.last[part], self.post, self.weight
        if self.rule is None:
            return Delivery("real", log, *rows, total)
        eligible = self.eligible if self.rule.fade is not None else None
        return PlasticDelivery(self.rule, log, *rows, self.sources[part], self.targets, total, eligible)

    def post_spikes(self, part: int, log: SpikeLog) -> list[PostSpikes]:
        """Return the recording of the spikes of a part of the targets."""
        return [] if self.rule is None else [PostSpikes(self.rule, log, part, self.delay, self.targets)]

    def rewards(self, delivery: Any) -> list[Reward]:
        """Return the changes by rewards of the rows of a delivery."""
        return [Reward(delivery, self.surprise)] if bool(self.surprise.any()) else []

    def shift(self, steps: int) -> None:
        """Count steps from `steps` later on."""
        self.step += steps
        self.eligible[:, 1] -= steps
        self.targets.shift(steps)
        for sources in self.sources:
            sources[:, [TIME, WALKED]] = (sources[:, [TIME, WALKED]] - steps).clamp(min=LONG_AGO)

    @property
    def due(self) -> int | None:
        """Steps until the next change at the end of an interval; None if there is no such rule."""
        left = [length - self.step % length for length in self.intervals if length]
        return min(left, default=None)

    def observe(self, log: SpikeLog) -> None:
        """Count the spikes of the targets in a call."""
        if self.rules.scaling is not None:
            self.counts += torch.from_numpy(np.bincount(log.spikes()[1], minlength=len(self.counts)))

    def end_intervals(self) -> None:
        """Change what is due after `shift` and `flush`: weights are scaled first, then synapses are lost and grow."""
        scaling, rewiring = self.intervals
        if scaling and self.step % scaling == 0:
            self._scale(scaling)
        if rewiring and self.step % rewiring == 0:
            self._rewire(self.step // rewiring)

    def _scale(self, steps: int) -> None:
        rule = self.rules.scaling
        assert rule is not None
        self.rates = rule.rates(self.rates, self.counts.to(self.weight.dtype), steps, self.dt)
        self.counts = torch.zeros_like(self.counts)
        self.weight *= rule.scale(self.rates)[self.post.long()]
        if self.rules.stdp is not None:
            self.weight.clamp_(self.rules.stdp.w_min, self.rules.stdp.w_max)

    def _rewire(self, number: int) -> None:
        rule = self.rules.rewiring
        assert rule is not None
        assert self.pairing is not None
        self.weight, self.eligible = self._listed(self.weight), self._listed(self.eligible)
        lost = rule.lost(self.weight.double().numpy())
        pairing, grown = rule.grown(self.pairing, lost, self.sizes, number, stream_of(self.name), is_loop=self.is_loop)
        self.weight[grown] = rule.weight
        if len(self.eligible):
            self.eligible[grown] = 0.0
        self._join(pairing)

    def _join(self, pairing: Pairing) -> None:
        """Order the synapses, whose values are listed, by source, delay and part of the target."""
        self.pairing, parts, groups = pairing, len(self.first), len(self.route.delays)
        part = np.searchsorted(self.bounds[1:-1], pairing.post, side="right")
        place = (pairing.pre * groups + self.group) * parts + part
        order = np.argsort(place, kind="stable")
        rows = len(self.first[0])
        starts = np.concatenate(([0], np.bincount(place, minlength=rows * parts).cumsum())).astype(np.int64)
        self.first = [torch.from_numpy(starts[p:-1:parts].copy()) for p in range(parts)]
        self.last = [torch.from_numpy(starts[p + 1 :: parts].copy()) for p in range(parts)]
        self.order = torch.from_numpy(order)
        post = pairing.post[order]
        self.post = torch.from_numpy(post.astype(self.route.post.numpy().dtype))
        self.weight = self.weight[self.order].contiguous()
        self.eligible = self.eligible[self.order].contiguous() if len(self.eligible) else self.eligible

    def _listed(self, values: Tensor) -> Tensor:
        """Return a copy of values of the rows in the order of the list of synapses."""
        held = values.clone()
        if self.order is not None and len(values):
            held[self.order] = values
        return held

    def values(self, variable: str, synapses: Tensor) -> Tensor:
        """Return the weights of some synapses, or the neurons that they join, after a flush."""
        if variable == "weight":
            return self._listed(self.weight)[synapses]
        assert self.pairing is not None
        return torch.from_numpy(getattr(self.pairing, variable))[synapses]

    def state(self, late: Sequence[Tensor]) -> PlasticState:
        """Return the state of this trial, without the samples' axis, after a flush and before a step 0.

        Parameters
        ----------
        late : sequence of Tensor
            Targets that fired in each of the steps of the dendritic delay, the oldest first.
        """
        part = next(p for p in range(len(self.sources)) if self.bounds[p] < self.bounds[p + 1])
        pre = torch.cat((self.sources[part][:, :WALKED], self.sources[part][:, WALKED + 1 :]), 1)
        post, line = self.targets.last, torch.zeros(self.delay, len(self.targets.counts), dtype=torch.bool)
        eligible = self._listed(self.eligible)
        for held, column in ((pre, 0), (post, 0), (eligible, 1)):
            held[:, column] = -held[:, column]
        for step, neurons in zip(line, late, strict=True):
            step[neurons.long()] = True
        connections = np.zeros((2, 0), np.int64) if self.pairing is None else np.stack(self.pairing)
        numbers = torch.tensor(self.expected, dtype=torch.float64), torch.tensor(self.step), torch.tensor(self.trial)
        return PlasticState(
            weight=self._listed(self.weight),
            pre=pre,
            post=post,
            late=line,
            eligible=eligible,
            expected=numbers[0],
            rates=self.rates.clone(),
            counts=self.counts.clone(),
            connections=torch.from_numpy(connections),
            step=numbers[1],
            trial=numbers[2],
        )


def _pair_rule(rules: Rules, dt: float) -> PairRule | None:
    return None if rules.stdp is None else pair_rule(rules.timing, dt)  # type: ignore[arg-type]
