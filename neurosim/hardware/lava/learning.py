"""Plastic edges: which rules Lava's learning synapses hold exactly, and a comparison of the weights step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosim.errors import InputError
from neurosim.hardware.lava import description
from neurosim.hardware.lava.edges import Lowered
from neurosim.hardware.lava.populations import GRADED
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.plasticity.engine import RewardModulated
from neurosim.plasticity.stdp import STDP, PairSTDP
from neurosim.synapses import Linear
from neurosim.units import decay_of

if TYPE_CHECKING:
    pass

Rule = STDP | RewardModulated


def check_rules(net: Network, rules: Mapping[str, Rule], add: Callable[[str, str], None]) -> None:
    """Note through `add` every rule that Lava's learning synapses cannot hold exactly.

    Raises
    ------
    InputError
        For a name that is no edge.
    """
    edges = {edge.name: edge for edge in net.edges}
    unknown = [name for name in rules if name not in edges]
    if unknown:
        raise InputError(f"no edge {unknown}; this network has {list(edges)}.")
    for name, given in rules.items():
        where, rule = f"edge {name!r}", given.rule if isinstance(given, RewardModulated) else given
        if len(edges[name].synapses) != 1 or type(edges[name].synapses[0]) is not Linear:
            add(where, "a rule is for an edge of one Linear, without others")
        if type(rule) is not PairSTDP:
            kind = type(rule).__name__
            add(where, f"learns by {kind}, which Lava's learning rules do not hold exactly; use PairSTDP")
            continue
        if rule.mu or math.isfinite(rule.w_min) or math.isfinite(rule.w_max):
            add(
                where,
                f"w_min={rule.w_min:g}, w_max={rule.w_max:g}, mu={rule.mu:g}; Lava keeps to no bounds: use "
                "w_min=-math.inf, w_max=math.inf and mu=0.0",
            )
        if rule.nearest or not rule.coincident:
            add(
                where,
                f"nearest={rule.nearest}, coincident={rule.coincident}; on Lava all pairs count, those of a step too: "
                "use nearest=False and coincident=True",
            )
        if abs(rule.dendritic_delay / net.dt - 1.0) > 1e-6:
            add(
                where,
                f"dendritic_delay={rule.dendritic_delay:g} s; on Lava a spike comes back to its synapses after one "
                f"step: use dendritic_delay={net.dt:g}",
            )
        if isinstance(given, RewardModulated) and not rule.a_minus:
            add(where, "a_minus=0 with a reward; the tag of Lava's synapses is kept in units of it: use another")
        source = net.nodes[edges[name].source]
        if isinstance(source, Neuron) and source.core in GRADED:
            add(where, f"{edges[name].source!r} sends graded spikes; rules of pairs need spikes of 0 and 1")


def learns(lowered: Lowered, given: Rule, gain: float, dt: float) -> description.Learning:
    """Describe synapses that learn; on Lava weights and what changes them are larger by `gain`."""
    rule = given.rule if isinstance(given, RewardModulated) else given
    assert isinstance(rule, PairSTDP)
    assert isinstance(lowered.maps, np.ndarray)
    edge, taus = lowered.edge, (rule.tau_plus / dt, rule.tau_minus / dt)
    sizes = (gain * rule.a_plus, gain * rule.a_minus)
    ends = (edge.name, edge.source, edge.target)
    if not isinstance(given, RewardModulated):
        return description.Learning(*ends, gain * lowered.maps, *sizes, *taus)
    kept = decay_of(given.tau, dt)
    return description.Learning(*ends, gain * lowered.maps, *sizes, *taus, rate=given.rate, kept=kept)


def surprises(rule: RewardModulated, rewards: Sequence[float]) -> np.ndarray:
    """Return each reward less what was expected, as `Plasticity.reward` follows it; 0 where there is none."""
    expected, found = 0.0, []
    for reward in rewards:
        found.append(0.0 if math.isnan(reward) else reward - expected)
        expected += rule.expectation * found[-1]
    return np.array(found)
