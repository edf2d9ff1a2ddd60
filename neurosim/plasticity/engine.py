"""Spike-timing-dependent plasticity on the edges of a network, with or without reward.

There is no gradient and no loss: a change depends on pre- and postsynaptic spikes and, optionally, a global reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.network.graph import Connection, Input, NetworkState
from neurosim.network.in_flight import arriving
from neurosim.network.network import Network
from neurosim.network.population import Population
from neurosim.network.source import Source
from neurosim.plasticity.astrocytes import AstrocyteModulated, LiquidAstrocyte
from neurosim.plasticity.pairs import Pairs, pairs_of
from neurosim.plasticity.reward import RewardModulated
from neurosim.plasticity.stdp import STDP
from neurosim.synapses import Linear, Sparse
from neurosim.units import decay_of


class Plasticity:
    """Plastic edges of a network, whose weights change while it runs.

    Parameters
    ----------
    net : Network
        Its weights are changed in place.
    rules : mapping of str to STDP, RewardModulated or AstrocyteModulated
        Rule of each plastic edge, by name; the edge is one `Linear`, whose synapses are all pairs of neurons, or one
        `Sparse`, whose synapses are those listed: no others are made.
    chunk : int
        Steps between two changes of the weights, from 1. With 1 each step uses the weights changed by the step before.
        Longer chunks are faster, and equivalent if weights change little within a chunk.

    Attributes
    ----------
    expected : dict of str to float
        Expected reward of each reward-modulated edge.
    levels : dict of LiquidAstrocyte to Tensor [B]
        Level of each astrocyte after the last step.

    Raises
    ------
    InputError
        For an unknown edge or node, an edge that is not a single `Linear` or `Sparse`, weights that a hook computes, or
        a chunk below 1.

    Warns
    -----
    UserWarning
        When some weights of a `Linear` are exactly 0: the rule changes them too, although they may stand for no
        synapse.

    Examples
    --------
    >>> import torch, neurosim as ns
    >>> from neurosim.plasticity.engine import Plasticity
    >>> from neurosim.plasticity.stdp import PairSTDP
    >>> net = ns.Sequential(ns.Linear(3, 1), ns.LIF(dt=1e-3), names=("out",))
    >>> weight = torch.nn.init.constant_(net.edges[0].synapses[0].weight, 0.5)
    >>> spikes = torch.zeros(100, 1, 3)
    >>> spikes[::50, 0, 0] = 50.0  # makes it fire; the others spike 2 ms before and 3 ms after
    >>> spikes[48::50, 0, 1], spikes[3::50, 0, 2] = 1.0, 1.0
    >>> z, _ = Plasticity(net, {"input->out": PairSTDP()}).run(spikes)
    >>> bool(weight[0, 1] > 0.5), bool(weight[0, 2] < 0.5)
    (True, True)
    """

    def __init__(
        self, net: Network, rules: Mapping[str, STDP | RewardModulated | AstrocyteModulated], *, chunk: int = 1
    ) -> None:
        if not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1:
            raise InputError(f"Plasticity: chunk must be a number of steps from 1; got {chunk!r}.")
        self.net, self.chunk = net, chunk
        self._plastic = [_plastic(net, name, rule) for name, rule in rules.items()]
        self.expected = {p.edge.name: 0.0 for p in self._plastic if p.reward is not None}
        self.levels: dict[LiquidAstrocyte, Tensor] = {}
        astrocytes = (p.astrocyte.astrocyte for p in self._plastic if p.astrocyte is not None)
        self._astrocytes = list(dict.fromkeys(astrocytes))
        self._traces: dict[str, tuple[Tensor, ...]] = {}
        self._eligible: dict[str, Tensor] = {}

    def forget(self) -> None:
        """Reset traces, eligibilities and astrocytes, before other samples."""
        self.levels.clear()
        self._traces.clear()
        self._eligible.clear()

    @torch.no_grad()
    def run(
        self,
        x: Tensor | None = None,
        state: NetworkState | None = None,
        *,
        steps: int | None = None,
        batch: int | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """Run the network on `x` [T, B, ...] and change the weights; traces continue from the call before.

        Parameters
        ----------
        x : Tensor [T, B, ...]
            Input, of the same samples as in the call before, unless `forget` was called; None for a network without
            `Input`.
        state : NetworkState, optional
            State to start from; None is the initial state. It carries the seed of sources.
        steps, batch : int, optional
            T and B of a network without `Input`, as for `Network.forward`.

        Returns
        -------
        z : Tensor [T, B, ...]
            Output of the output node.
        state : NetworkState
            State after the last step.
        """
        chunks = self._chunks(x, steps)
        state = self.net.initial_state(x, batch=batch) if state is None else state
        ends = {name for p in self._plastic for name in (p.edge.source, p.edge.target)}
        names = sorted(ends.union(*((*a.liquid, *a.inputs) for a in self._astrocytes)))
        out = []
        for part, length in chunks:
            before = state
            z, state, seen, *_ = self.net.run(part, state, names, steps=length, batch=batch)
            self._check_samples(z.shape[1])
            out.append(z)
            level = {}
            for astrocyte in self._astrocytes:
                level[astrocyte], self.levels[astrocyte] = astrocyte.levels(
                    seen, self.net.dt, self.levels.get(astrocyte)
                )
            for plastic in self._plastic:
                sent = arriving(plastic.edge, seen[plastic.edge.source], before)
                self._learn(plastic, sent, seen[plastic.edge.target], level)
        return torch.cat(out), state

    def _chunks(self, x: Tensor | None, steps: int | None) -> list[tuple[Tensor | None, int]]:
        """Return the chunks of a run, each with its number of steps."""
        if x is None and not self.net.inputs:
            if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
                raise InputError(f"this network has no Input; steps must be an integer from 1; got {steps!r}.")
            return [(None, min(self.chunk, steps - start)) for start in range(0, steps, self.chunk)]
        if not isinstance(x, Tensor) or x.dim() < 2 or not len(x):
            got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"x is {got}; a tensor [T, B, ...] with at least one step is needed, time first.")
        if steps is not None:
            raise InputError(f"steps={steps} is for networks without Input; here x gives T.")
        self._check_samples(x.shape[1])
        return [(part, len(part)) for part in x.split(self.chunk)]

    def _check_samples(self, samples: int) -> None:
        before = next((traces[0].shape[0] for traces in self._traces.values()), samples)
        if before != samples:
            raise ShapeError(
                f"x holds {samples} samples, the traces have {before}; call forget() before another batch."
            )

    @torch.no_grad()
    def reward(self, value: float | Tensor) -> None:
        """Give a reward, one number or one for each sample [B], and apply the eligibility traces."""
        for plastic in self._plastic:
            name, rule, synapse = plastic.edge.name, plastic.reward, plastic.synapse
            if rule is None:
                continue
            if name not in self._eligible:
                raise InputError(f"edge {name!r}: a reward needs a run before it; call run(x) first.")
            eligible = self._eligible[name]
            reward = torch.as_tensor(value, dtype=eligible.dtype, device=eligible.device)
            if reward.dim() and reward.shape != eligible.shape[:1]:
                raise ShapeError(f"reward must be one number or [{len(eligible)}]; got {list(reward.shape)}.")
            surprise = (reward - self.expected[name]).expand(len(eligible))
            change = torch.tensordot(surprise, eligible, 1) * (rule.rate / len(eligible))
            synapse.weight.copy_(rule.rule.bounded(synapse.weight + change))
            self.expected[name] += rule.expectation * (float(reward.mean()) - self.expected[name])

    def state_dict(self) -> dict[str, Any]:
        """Return traces, eligibilities, expected rewards and astrocytes' levels; the weights are in the network."""
        return {
            "expected": dict(self.expected),
            "traces": dict(self._traces),
            "eligible": dict(self._eligible),
            "levels": [self.levels.get(astrocyte) for astrocyte in self._astrocytes],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of `state_dict`."""
        edges = {plastic.edge.name for plastic in self._plastic}
        for part in ("expected", "traces", "eligible"):
            if not set(state[part]) <= (set(self.expected) if part == "expected" else edges):
                raise InputError(
                    f"Plasticity: {part} was saved for the edges {list(state[part])}; here {sorted(edges)}."
                )
        self.expected = dict(state["expected"])
        self._traces = {name: tuple(value) for name, value in state["traces"].items()}
        self._eligible = dict(state["eligible"])
        if len(state["levels"]) != len(self._astrocytes):
            raise InputError(
                f"Plasticity: levels were saved for {len(state['levels'])} astrocyte(s); here {len(self._astrocytes)}."
            )
        levels = zip(self._astrocytes, state["levels"], strict=True)
        self.levels = {astrocyte: level for astrocyte, level in levels if level is not None}

    def _learn(self, plastic: _Plastic, pre: Tensor, post: Tensor, level: Mapping[LiquidAstrocyte, Tensor]) -> None:
        name, weight, rule = plastic.edge.name, plastic.synapse.weight, plastic.rule
        factors, self._traces[name] = rule.factors(pre.to(weight), post.to(weight), self.net.dt, self._traces.get(name))
        if plastic.astrocyte is not None:
            factors = plastic.astrocyte.modulated(factors, level[plastic.astrocyte.astrocyte].to(weight))
        if plastic.reward is None:
            weight.copy_(rule.bounded(weight + rule.change(weight, factors, plastic.pairs)))
            return
        decay = decay_of(plastic.reward.tau, self.net.dt)
        new = rule.eligibility(weight, factors, decay, plastic.pairs)
        old = self._eligible.get(name)
        self._eligible[name] = new if old is None else old * decay ** len(pre) + new


class _Plastic(NamedTuple):
    edge: Connection
    synapse: Linear | Sparse
    pairs: Pairs
    rule: STDP
    reward: RewardModulated | None = None
    astrocyte: AstrocyteModulated | None = None


def _plastic(net: Network, name: str, rule: STDP | RewardModulated | AstrocyteModulated) -> _Plastic:
    edges = {edge.name: edge for edge in net.edges}
    if name not in edges:
        raise InputError(f"no edge {name!r}; this network has {list(edges)}.")
    edge = edges[name]
    synapse, pairs = pairs_of(f"edge {name!r}", edge.synapses)
    for end in (edge.source, edge.target):
        node = net.nodes[end]
        if not isinstance(node, Input) and not (isinstance(node, (Population, Source)) and node.is_spiking):
            raise InputError(f"edge {name!r}: {end!r} never fires; timing rules need spikes on both sides.")
    if isinstance(rule, RewardModulated):
        if rule.reward is not None:
            raise InputError(
                f"edge {name!r}: reward= is for simulate(..., plasticity=); leave it out and call reward(value)."
            )
        return _Plastic(edge, synapse, pairs, rule.rule, reward=rule)
    if isinstance(rule, AstrocyteModulated):
        unknown = [n for n in (*rule.astrocyte.liquid, *rule.astrocyte.inputs) if n not in net.nodes]
        if unknown:
            raise InputError(
                f"edge {name!r}: its astrocyte integrates spikes of {unknown}; this network has {list(net.nodes)}."
            )
        return _Plastic(edge, synapse, pairs, rule.rule, astrocyte=rule)
    if not isinstance(rule, STDP):
        raise InputError(
            f"edge {name!r}: the rule must be PairSTDP, TripletSTDP, InhibitorySTDP, RewardModulated or "
            f"AstrocyteModulated; got {rule!r}."
        )
    return _Plastic(edge, synapse, pairs, rule)
