"""Plastic synapses in the engine of circuits: checks of the rules; state and tasks of weights that change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosim.circuit.short_term import ShortTermState, ShortTermSynapses
from neurosim.circuit.waveform import Waveform
from neurosim.circuit.wiring import SPARSE, Route, Rule, Wiring
from neurosim.errors import InputError, ShapeError
from neurosim.kernels.circuit.plastic import LONG_AGO, ROOM, TIME, WALKED, Decay, PairRule, Targets, Triplets
from neurosim.kernels.circuit.tasks import PlasticDelivery, PostSpikes, Reward, SpikeLog
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.population import Population, has_hooks
from neurosim.network.source import Source, SourceState
from neurosim.plasticity.inhibitory import InhibitorySTDP
from neurosim.plasticity.reward import RewardModulated, Rewards
from neurosim.plasticity.short_term import TsodyksMarkram
from neurosim.plasticity.stdp import STDP, PairSTDP, TripletSTDP
from neurosim.units import steps_of


class PlasticState(NamedTuple):
    """State of the synapses of a plastic edge, after the changes of all steps so far.

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
    """

    weight: Tensor
    pre: Tensor
    post: Tensor
    late: Tensor


class RewardedState(NamedTuple):
    """State of the synapses of a plastic edge whose weights change by rewards, after those of all steps so far.

    Attributes
    ----------
    weight, pre, post, late : Tensor
        As in `PlasticState`.
    eligible : Tensor [B, n, 2] of float64
        Eligibility of each synapse at its last change, and the steps since then.
    expected : Tensor [B] of float64
        Expected reward.
    step, trial : Tensor [B] of int64
        Steps with the rule so far, and the number of the trial.
    """

    weight: Tensor
    pre: Tensor
    post: Tensor
    late: Tensor
    eligible: Tensor
    expected: Tensor
    step: Tensor
    trial: Tensor


def checked_rules(net: Network, plasticity: Mapping[str, Rule] | None) -> dict[str, Rule]:
    """Return the rule of each plastic edge, after a check.

    Raises
    ------
    InputError
        For an unknown edge, another rule, synapses that are not listed or drawn, ends that send no spikes, or weights
        outside the bounds of the rule.
    UnitError
        When a dendritic delay is not an integer number of steps.
    """
    if plasticity is None:
        return {}
    if not isinstance(plasticity, Mapping):
        raise InputError(
            f"plasticity must be a mapping of an edge to its rule, such as {{'E->E': PairSTDP()}}; got {plasticity!r}."
        )
    edges = {edge.name: edge for edge in net.edges}
    for name, rule in plasticity.items():
        if name not in edges:
            raise InputError(f"plasticity: no edge {name!r}; this network has {list(edges)}.")
        timing = rule.rule if isinstance(rule, RewardModulated) else rule
        if not isinstance(timing, (PairSTDP, TripletSTDP, InhibitorySTDP, TsodyksMarkram)):
            raise InputError(
                f"plasticity of edge {name!r}: the rule must be PairSTDP, TripletSTDP, InhibitorySTDP, RewardModulated "
                f"or TsodyksMarkram; got {rule!r}. Other rules run with neurosim.plasticity.Plasticity(net, rules)."
            )
        _check_edge(net, edges[name])
        if isinstance(timing, TsodyksMarkram):
            continue
        steps_of(type(timing).__name__, "dendritic_delay", timing.dendritic_delay, net.dt)
        if isinstance(rule, RewardModulated):
            _check_reward(name, rule, net.dt)
        weight = edges[name].synapses[0].weight
        assert isinstance(weight, Tensor)
        weight = weight.detach()
        outside = ((weight < timing.w_min) | (weight > timing.w_max)).nonzero()
        if len(outside):
            n = int(outside[0])
            raise InputError(
                f"plasticity of edge {name!r}: weight {n} is {float(weight[n]):g}, outside the bounds "
                f"{timing.w_min:g} ... {timing.w_max:g} of the rule. Change the weights, or w_min and w_max."
            )
    return dict(plasticity)


def _check_reward(name: str, rule: RewardModulated, dt: float) -> None:
    if rule.reward is None:
        raise InputError(
            f"plasticity of edge {name!r}: RewardModulated needs the reward over time, reward=Rewards(times, values), "
            "an array [T] or a function of time. Rewards that depend on the run: Plasticity(net, rules).reward(value)."
        )
    if isinstance(rule.reward, Rewards):
        rule.reward.between(0, 0, dt)
    else:
        _waveform(rule)


def _waveform(rule: RewardModulated) -> Waveform:
    return Waveform("RewardModulated", "reward", rule.reward, ())


def _check_edge(net: Network, edge: Connection) -> None:
    source, synapse = net.nodes[edge.source], edge.synapses[0]
    if len(edge.synapses) > 1 or type(synapse) not in SPARSE or has_hooks(synapse):
        kinds = ", ".join(type(each).__name__ for each in edge.synapses)
        raise InputError(
            f"plasticity of edge {edge.name!r}: one Sparse, DelayedSparse or Drawn without hooks is needed; got "
            f"{kinds}. A Linear learns with neurosim.plasticity.Plasticity(net, rules)."
        )
    if not isinstance(source, (Population, Source)) or not source.is_spiking:
        raise InputError(
            f"plasticity of edge {edge.name!r}: {edge.source!r} must be a population or a source of spikes."
        )


def pair_rule(rule: STDP | RewardModulated, dt: float) -> PairRule:
    """Return the numbers of a rule at steps of `dt`."""
    if isinstance(rule, RewardModulated):
        return pair_rule(rule.rule, dt)._replace(fade=Decay.of(rule.tau, dt))
    bounds = float(rule.w_min), float(rule.w_max), float(rule.mu)
    if isinstance(rule, InhibitorySTDP):
        both, step = Decay.of(rule.tau, dt), float(rule.step)
        return PairRule(step, -step, *bounds, False, rule.coincident, both, both, alpha=float(rule.alpha))
    assert isinstance(rule, (PairSTDP, TripletSTDP))
    plus, minus = Decay.of(rule.tau_plus, dt), Decay.of(rule.tau_minus, dt)
    if isinstance(rule, TripletSTDP):
        slow = Decay.of(rule.tau_y, dt), Decay.of(rule.tau_x, dt)
        triplets = Triplets(float(rule.a3_plus), float(rule.a3_minus), *slow)
        return PairRule(float(rule.a2_plus), float(rule.a2_minus), *bounds, False, True, plus, minus, triplets)
    return PairRule(float(rule.a_plus), float(rule.a_minus), *bounds, rule.nearest, rule.coincident, plus, minus)


def late_steps(rule: Rule, dt: float) -> int:
    """Return the steps from a postsynaptic spike to its arrival at the synapses."""
    timing = rule.rule if isinstance(rule, RewardModulated) else rule
    return round(timing.dendritic_delay / dt) if isinstance(timing, STDP) else 0


def synapses_of(
    wiring: Wiring, route: Route, state: Any, sample: int, trial: int
) -> PlasticSynapses | ShortTermSynapses:
    """Return the synapses of a route with a rule, in one sample; `state` is None at the start."""
    is_short_term, is_rewarded = isinstance(route.rule, TsodyksMarkram), isinstance(route.rule, RewardModulated)
    fields = (ShortTermState if is_short_term else RewardedState if is_rewarded else PlasticState)._fields
    if state is not None and state._fields != fields:
        raise InputError(
            f"state of the plastic edge {wiring.edge(route.key).name!r} has {list(state._fields)}; {list(fields)} are "
            "needed. It was made with another rule."
        )
    if is_short_term:
        return ShortTermSynapses(wiring, route, state, sample)
    return (RewardedSynapses if is_rewarded else PlasticSynapses)(wiring, route, state, sample, trial)


class PlasticSynapses:
    """The plastic synapses of one edge in one trial.

    Parameters
    ----------
    wiring : Wiring
    route : Route
        With a rule.
    state : PlasticState, optional
        To continue from.
    sample : int
        Of the state.
    trial : int
        Number of the trial, at the start.
    """

    def __init__(self, wiring: Wiring, route: Route, state: Any, sample: int, trial: int) -> None:
        assert isinstance(route.rule, (STDP, RewardModulated))
        assert isinstance(route.weight, Tensor)
        edge = wiring.edge(route.key)
        self.route, self.name, self.target = route, edge.name, edge.target
        self.rule, self.bounds = pair_rule(route.rule, wiring.net.dt), wiring.division.bounds[edge.target]
        self.delay = late_steps(route.rule, wiring.net.dt)
        rows, size = len(route.first[0]), math.prod(wiring.net.shape(edge.target))
        if state is None:
            self.weight = route.weight.clone()
            pre, post = torch.zeros(rows, 6, dtype=torch.float64), torch.zeros(size, 5, dtype=torch.float64)
            pre[:, 0] = post[:, 0] = -LONG_AGO
        else:
            _check_state(self.name, state, (len(route.weight), rows, size, self.delay))
            self.weight = state.weight[sample].to(route.weight.dtype).clone()
            pre, post = state.pre[sample].double(), state.post[sample].double().clone()
        sources = torch.zeros(rows, 7, dtype=torch.float64)
        sources[:, TIME], sources[:, WALKED + 1 :] = -pre[:, 0], pre[:, 1:]
        post[:, TIME] = -post[:, TIME]
        self.sources = [sources.clone() for _ in route.first]
        self.targets = Targets.of(post.contiguous(), wiring.window + ROOM)

    def delivery(self, part: int, log: SpikeLog, total: Tensor) -> PlasticDelivery:
        """Return the delivery to the targets of a part."""
        route = self.route
        rows = route.delays, route.first[part], route.last[part], route.post, self.weight
        return PlasticDelivery(self.rule, log, *rows, self.sources[part], self.targets, total)

    def open(self, steps: int) -> None:
        """Begin a call of so many steps."""

    def rewards(self, delivery: PlasticDelivery) -> list[Reward]:
        """Return the changes by rewards of the rows of a delivery."""
        return []

    def post_spikes(self, part: int, log: SpikeLog) -> list[PostSpikes]:
        """Return the recording of the spikes of a part of the targets."""
        return [PostSpikes(self.rule, log, part, self.delay, self.targets)]

    def shift(self, steps: int) -> None:
        """Count steps from `steps` later on."""
        self.targets.shift(steps)
        for sources in self.sources:
            sources[:, [TIME, WALKED]] = (sources[:, [TIME, WALKED]] - steps).clamp(min=LONG_AGO)

    def state(self, late: Sequence[Tensor]) -> Any:
        """Return the state of this trial, without the samples' axis, after a flush and before a step 0.

        Parameters
        ----------
        late : sequence of Tensor
            Targets that fired in each of the steps of the dendritic delay, the oldest first.
        """
        part = next(p for p in range(len(self.sources)) if self.bounds[p] < self.bounds[p + 1])
        pre = torch.cat((self.sources[part][:, :WALKED], self.sources[part][:, WALKED + 1 :]), 1)
        post, line = self.targets.last.clone(), torch.zeros(self.delay, len(self.targets.last), dtype=torch.bool)
        for held in (pre, post):
            held[:, 0] = -held[:, 0]
        for step, neurons in zip(line, late, strict=True):
            step[neurons.long()] = True
        return PlasticState(self.weight.clone(), pre, post, line)


class RewardedSynapses(PlasticSynapses):
    """The synapses of one edge in one trial whose weights change by rewards; see `PlasticSynapses`."""

    def __init__(self, wiring: Wiring, route: Route, state: Any, sample: int, trial: int) -> None:
        super().__init__(wiring, route, state, sample, trial)
        assert isinstance(route.rule, RewardModulated)
        self.modulated, self.dt = route.rule, wiring.net.dt
        self.waveform = None if isinstance(route.rule.reward, Rewards) else _waveform(route.rule)
        self.eligible = torch.zeros(len(self.weight), 2, dtype=torch.float64)
        self.expected, self.step, self.trial = 0.0, 0, trial
        if state is not None:
            if state.eligible.shape[1:] != self.eligible.shape:
                raise ShapeError(
                    f"state of the plastic edge {self.name!r}: eligible must be [B, {len(self.weight)}, 2]; got "
                    f"{list(state.eligible.shape)}. The synapses or their rule have changed."
                )
            self.eligible = state.eligible[sample].double().clone()
            self.eligible[:, 1] *= -1
            self.expected = float(state.expected[sample])
            self.step, self.trial = int(state.step[sample]), int(state.trial[sample])
        self.surprise = torch.zeros(0, dtype=torch.float64)

    def open(self, steps: int) -> None:
        """Begin a call of so many steps: read their rewards."""
        if self.waveform is None:
            rewards = self.modulated.reward.between(self.step, steps, self.dt)
        else:
            place = SourceState(*(torch.tensor([each]) for each in (0, self.trial, self.step)))
            rewards = np.broadcast_to(self.waveform.at(place, steps, self.dt)[:, 0], steps)
        surprise, self.expected = self.modulated.surprises(rewards, self.expected)
        self.surprise = torch.from_numpy(surprise)

    def delivery(self, part: int, log: SpikeLog, total: Tensor) -> PlasticDelivery:
        """Return the delivery to the targets of a part."""
        return super().delivery(part, log, total)._replace(eligible=self.eligible)

    def rewards(self, delivery: PlasticDelivery) -> list[Reward]:
        """Return the changes by rewards of the rows of a delivery."""
        return [Reward(delivery, self.surprise)] if bool(self.surprise.any()) else []

    def shift(self, steps: int) -> None:
        """Count steps from `steps` later on."""
        super().shift(steps)
        self.step += steps
        self.eligible[:, 1] -= steps

    def state(self, late: Sequence[Tensor]) -> Any:
        """Return the state of this trial; see `PlasticSynapses.state`."""
        eligible = self.eligible.clone()
        eligible[:, 1] *= -1
        base: PlasticState = super().state(late)
        expected = torch.tensor(self.expected, dtype=torch.float64)
        return RewardedState(
            base.weight,
            base.pre,
            base.post,
            base.late,
            eligible,
            expected,
            torch.tensor(self.step),
            torch.tensor(self.trial),
        )


def _check_state(name: str, state: PlasticState, sizes: tuple[int, int, int, int]) -> None:
    synapses, rows, targets, delay = sizes
    wanted = ((synapses,), (rows, 6), (targets, 5), (delay, targets))
    for field, values, shape in zip(PlasticState._fields, state, wanted, strict=False):
        if tuple(values.shape[1:]) != shape:
            raise ShapeError(
                f"state of the plastic edge {name!r}: {field} must be [B, {', '.join(map(str, shape))}]; got "
                f"{list(values.shape)}. The synapses or their rule have changed."
            )
