"""The rules of one plastic edge or population, and their numbers in steps."""

from __future__ import annotations

from typing import NamedTuple

from neurosim.kernels.circuit.plastic import Decay, PairRule, Triplets
from neurosim.plasticity.homeostasis import HomeostaticScaling, HomeostaticThreshold
from neurosim.plasticity.inhibitory import InhibitorySTDP
from neurosim.plasticity.reward import RewardModulated
from neurosim.plasticity.rewiring import Rewiring
from neurosim.plasticity.short_term import TsodyksMarkram
from neurosim.plasticity.stdp import STDP, PairSTDP, TripletSTDP

TimingRule = STDP | RewardModulated | TsodyksMarkram
Rule = TimingRule | HomeostaticScaling | Rewiring | HomeostaticThreshold


class Rules(NamedTuple):
    """The rules of one edge, at most one of each kind, or that of a population.

    Attributes
    ----------
    timing : STDP, RewardModulated, TsodyksMarkram or None
        What spikes change.
    scaling : HomeostaticScaling or None
    rewiring : Rewiring or None
    threshold : HomeostaticThreshold or None
        Of a population.
    """

    timing: TimingRule | None = None
    scaling: HomeostaticScaling | None = None
    rewiring: Rewiring | None = None
    threshold: HomeostaticThreshold | None = None

    @property
    def stdp(self) -> STDP | None:
        """The rule of spike times, if there is one."""
        rule = self.timing.rule if isinstance(self.timing, RewardModulated) else self.timing
        return rule if isinstance(rule, STDP) else None

    @property
    def changes_weights(self) -> bool:
        """Whether the weights of the edge change."""
        return self.threshold is None and not isinstance(self.timing, TsodyksMarkram)

    def late_steps(self, dt: float) -> int:
        """Return the steps from a postsynaptic spike to its arrival at the synapses."""
        return 0 if self.stdp is None else round(self.stdp.dendritic_delay / dt)


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
