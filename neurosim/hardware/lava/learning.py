"""Plastic edges: the rules that Lava's learning synapses compute exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from neurosim.errors import InputError
from neurosim.files.problems import Problems
from neurosim.hardware.lava import description
from neurosim.hardware.lava.edges import Projection
from neurosim.hardware.lava.populations import GRADED
from neurosim.network.network import Network
from neurosim.network.neuron import Neuron
from neurosim.plasticity.reward import RewardModulated
from neurosim.plasticity.stdp import STDP, PairSTDP
from neurosim.synapses import Linear
from neurosim.units import decay_of

PlasticityRule = STDP | RewardModulated


def check_rules(net: Network, rules: Mapping[str, PlasticityRule], problems: Problems) -> None:
    """Add every rule that Lava's learning synapses do not compute exactly.

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
        first = edges[name].synapses[0]
        if len(edges[name].synapses) != 1 or type(first) is not Linear or not first.runs_as_written():
            problems.add(where, "learns, but is not one Linear alone without hooks; a rule is for such an edge")
        if type(rule) is not PairSTDP:
            kind = type(rule).__name__
            problems.add(where, f"learns by {kind}, which Lava's learning rules do not compute exactly; use PairSTDP")
            continue
        if rule.mu or math.isfinite(rule.w_min) or math.isfinite(rule.w_max):
            problems.add(
                where,
                f"w_min={rule.w_min:g}, w_max={rule.w_max:g}, mu={rule.mu:g}; Lava has no bounds: use "
                "w_min=-math.inf, w_max=math.inf and mu=0.0",
            )
        if rule.nearest or not rule.coincident:
            problems.add(
                where,
                f"nearest={rule.nearest}, coincident={rule.coincident}; on Lava all pairs count, those of a step too: "
                "use nearest=False and coincident=True",
            )
        if abs(rule.dendritic_delay / net.dt - 1.0) > 1e-6:
            problems.add(
                where,
                f"dendritic_delay={rule.dendritic_delay:g} s; on Lava a spike returns to its synapses after one "
                f"step: use dendritic_delay={net.dt:g}",
            )
        if isinstance(given, RewardModulated) and given.reward is not None:
            problems.add(where, "reward= is for simulate; leave it out and give rewards to the run of the graph")
        if isinstance(given, RewardModulated) and not rule.a_minus:
            problems.add(
                where, "a_minus=0 with a reward; the tag of Lava's synapses is in units of it: use another value"
            )
        source = net.nodes[edges[name].source]
        if isinstance(source, Neuron) and source.core in GRADED:
            problems.add(where, f"{edges[name].source!r} sends graded spikes; pair rules need spikes of 0 and 1")


def learning_process(
    projection: Projection, given: PlasticityRule, gain: float, dt: float
) -> description.LearningProcess:
    """Return the process of synapses that learn; its weights and their changes are larger by `gain`."""
    rule = given.rule if isinstance(given, RewardModulated) else given
    assert isinstance(rule, PairSTDP)
    weight = gain * projection.connectivity.weight.numpy()
    edge, taus = projection.edge, (rule.tau_plus / dt, rule.tau_minus / dt)
    amplitudes = (gain * rule.a_plus, gain * rule.a_minus)
    ends = (edge.name, edge.source, edge.target)
    if not isinstance(given, RewardModulated):
        return description.LearningProcess(*ends, weight, *amplitudes, *taus)
    decay = decay_of(given.tau, dt)
    return description.LearningProcess(*ends, weight, *amplitudes, *taus, rate=given.rate, decay=decay)


def surprises(rule: RewardModulated, rewards: Sequence[float]) -> np.ndarray:
    """Return each reward minus the expected one, as in `Plasticity.reward`; 0 where there is none."""
    expected, differences = 0.0, []
    for reward in rewards:
        differences.append(0.0 if math.isnan(reward) else reward - expected)
        expected += rule.expectation * differences[-1]
    return np.array(differences)
