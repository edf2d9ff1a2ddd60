"""Checks of the rules of plastic edges, before a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from neurosim.circuit.rules import Rule, Rules
from neurosim.circuit.waveform import Waveform
from neurosim.circuit.wiring import SPARSE
from neurosim.errors import InputError
from neurosim.network.graph import Connection
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.network.population import Population, has_hooks
from neurosim.network.source import Source
from neurosim.plasticity.homeostasis import HomeostaticScaling, HomeostaticThreshold, RateRule
from neurosim.plasticity.inhibitory import InhibitorySTDP
from neurosim.plasticity.reward import RewardModulated, Rewards
from neurosim.plasticity.rewiring import Rewiring
from neurosim.plasticity.short_term import TsodyksMarkram
from neurosim.plasticity.stdp import PairSTDP, TripletSTDP
from neurosim.units import steps_of

_STDP = (PairSTDP, TripletSTDP, InhibitorySTDP)


def checked_rules(net: Network, plasticity: Mapping[str, Rule | Sequence[Rule]] | None) -> dict[str, Rules]:
    """Return the rules of each plastic edge, after a check.

    Raises
    ------
    InputError
        For an unknown edge, another rule, several of one kind, synapses that are not listed or drawn, ends that send no
        spikes, weights outside the bounds of a rule, or rewiring that is impossible.
    UnitError
        When a dendritic delay, an interval or the time of a reward is not an integer number of steps.
    """
    if plasticity is None:
        return {}
    if not isinstance(plasticity, Mapping):
        raise InputError(
            f"plasticity must be a mapping of an edge to its rule, such as {{'E->E': PairSTDP()}}; got {plasticity!r}."
        )
    edges = {edge.name: edge for edge in net.edges}
    found = {}
    for name, given in plasticity.items():
        if isinstance(given, HomeostaticThreshold):
            found[name] = _threshold_rule(net, name, given)
            continue
        if name not in edges:
            raise InputError(f"plasticity: no edge {name!r}; this network has {list(edges)}.")
        rules = _rules(name, given)
        _check_edge(net, edges[name])
        _check_times(name, rules, net.dt)
        if rules.changes_weights:
            _check_weights(edges[name], rules)
        if rules.rewiring is not None:
            sizes = math.prod(net.shape(edges[name].source)), math.prod(net.shape(edges[name].target))
            _check_rewiring(edges[name], rules, sizes)
        found[name] = rules
    return found


def _threshold_rule(net: Network, name: str, rule: HomeostaticThreshold) -> Rules:
    """Return the rule of the thresholds of a population, after a check."""
    node = net.populations().get(name)
    if not isinstance(node, Neuron) or "v_th" not in node.core.parameters or name in {edge.name for edge in net.edges}:
        raise InputError(
            f"plasticity of {name!r}: HomeostaticThreshold needs the name of a population whose core has a threshold "
            f"v_th, and which no edge has; of {list(net.populations())}. An edge takes HomeostaticScaling."
        )
    if "v_th" in node.learned:
        raise InputError(
            f"plasticity of {name!r}: the thresholds are parameters that learn by gradients; make the layer without "
            "learn={'v_th'}."
        )
    _check_target(rule, net.dt)
    if steps_of("HomeostaticThreshold", "every", rule.every, net.dt) < 1:
        raise InputError(f"HomeostaticThreshold: every must be a step of {net.dt:g} s or more; got {rule.every!r}.")
    return Rules(threshold=rule)


def _rules(name: str, given: Any) -> Rules:
    """Return the rules of an edge by their kind."""
    found: dict[str, Any] = {}
    for rule in given if isinstance(given, (list, tuple)) else (given,):
        timing = rule.rule if isinstance(rule, RewardModulated) else rule
        if isinstance(timing, (*_STDP, TsodyksMarkram)):
            kind = "timing"
        elif isinstance(rule, HomeostaticScaling):
            kind = "scaling"
        elif isinstance(rule, Rewiring):
            kind = "rewiring"
        else:
            raise InputError(
                f"plasticity of edge {name!r}: the rule must be PairSTDP, TripletSTDP, InhibitorySTDP, "
                "RewardModulated, TsodyksMarkram, HomeostaticScaling or Rewiring, or several of them; "
                f"got {rule!r}. Other rules of edges run with neurosim.plasticity.Plasticity(net, rules), that of "
                "thresholds, HomeostaticThreshold, takes the name of a population."
            )
        if kind in found:
            raise InputError(
                f"plasticity of edge {name!r}: {type(found[kind]).__name__} and {type(rule).__name__} are rules of one "
                "kind; give one of them."
            )
        found[kind] = rule
    if not found:
        raise InputError(f"plasticity of edge {name!r}: no rule; leave the edge out.")
    if isinstance(found.get("timing"), TsodyksMarkram) and len(found) > 1:
        raise InputError(
            f"plasticity of edge {name!r}: TsodyksMarkram stands alone, its weights stay as they are. Give the edge "
            "one rule, or split its synapses into two edges."
        )
    return Rules(**found)


def _check_times(name: str, rules: Rules, dt: float) -> None:
    if rules.stdp is not None:
        steps_of(type(rules.stdp).__name__, "dendritic_delay", rules.stdp.dendritic_delay, dt)
    if rules.scaling is not None:
        _check_target(rules.scaling, dt)
    for rule in (rules.scaling, rules.rewiring):
        if rule is not None and steps_of(type(rule).__name__, "every", rule.every, dt) < 1:
            raise InputError(f"{type(rule).__name__}: every must be a step of {dt:g} s or more; got {rule.every!r}.")
    if isinstance(rules.timing, RewardModulated):
        _check_reward(name, rules.timing, dt)


def _check_target(rule: RateRule, dt: float) -> None:
    if rule.target >= 1 / dt:
        raise InputError(
            f"{type(rule).__name__}: target must be below {1 / dt:g} Hz, a spike at each step; got {rule.target!r}."
        )


def _check_reward(name: str, rule: RewardModulated, dt: float) -> None:
    if rule.reward is None:
        raise InputError(
            f"plasticity of edge {name!r}: RewardModulated needs the reward over time, reward=Rewards(times, values), "
            "an array [T] or a function of time. Rewards that depend on the run: Plasticity(net, rules).reward(value)."
        )
    if isinstance(rule.reward, Rewards):
        rule.reward.check(dt)
    else:
        waveform_of(rule)


def waveform_of(rule: RewardModulated) -> Waveform:
    """Return the reward of a rule in each step."""
    return Waveform("RewardModulated", "reward", rule.reward, ())


def _check_weights(edge: Connection, rules: Rules) -> None:
    if rules.stdp is None:
        return
    low, high = rules.stdp.w_min, rules.stdp.w_max
    weight = edge.synapses[0].weight
    assert isinstance(weight, Tensor)
    weight = weight.detach()
    outside = (~((weight >= low) & (weight <= high))).nonzero()  # NaN too
    if len(outside):
        n = int(outside[0])
        raise InputError(
            f"plasticity of edge {edge.name!r}: weight {n} is {float(weight[n]):g}, outside the bounds "
            f"{low:g} ... {high:g} of the rule. Change the weights, or w_min and w_max."
        )


def _check_rewiring(edge: Connection, rules: Rules, sizes: tuple[int, int]) -> None:
    rule, (n_in, n_out) = rules.rewiring, sizes
    assert rule is not None
    if rules.stdp is not None and not rules.stdp.w_min <= rule.weight <= rules.stdp.w_max:
        raise InputError(
            f"plasticity of edge {edge.name!r}: a new synapse has the weight {rule.weight:g}, outside the bounds "
            f"{rules.stdp.w_min:g} ... {rules.stdp.w_max:g} of the rule. Change weight, or w_min and w_max."
        )
    partners = (n_in if rule.keep == "in" else n_out) - (edge.source == edge.target and not rule.autapses)
    if partners < 1:
        raise InputError(
            f"plasticity of edge {edge.name!r}: a new synapse has no partner in a population of one neuron; use "
            "autapses=True."
        )


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
