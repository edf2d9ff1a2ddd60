"""Local plasticity and slow processes: STDP, reward, soft Hebb, astrocytes, homeostasis, adaptation."""

from __future__ import annotations

from neurosim.plasticity.adaptation import NeuromodulatedAdaptation
from neurosim.plasticity.astrocytes import AstrocyteModulated, LiquidAstrocyte, branching_factor
from neurosim.plasticity.engine import Plasticity
from neurosim.plasticity.homeostasis import (
    HomeostaticScaling,
    HomeostaticThreshold,
    SynapticScaling,
    ThresholdHomeostasis,
)
from neurosim.plasticity.inhibitory import InhibitorySTDP
from neurosim.plasticity.reward import RewardModulated, Rewards
from neurosim.plasticity.rewiring import Rewiring
from neurosim.plasticity.short_term import TsodyksMarkram
from neurosim.plasticity.soft_hebb import SoftHebb, SoftHebbConv
from neurosim.plasticity.stdp import PairSTDP, TripletSTDP

__all__ = [
    "AstrocyteModulated",
    "HomeostaticScaling",
    "HomeostaticThreshold",
    "InhibitorySTDP",
    "LiquidAstrocyte",
    "NeuromodulatedAdaptation",
    "PairSTDP",
    "Plasticity",
    "RewardModulated",
    "Rewards",
    "Rewiring",
    "SoftHebb",
    "SoftHebbConv",
    "SynapticScaling",
    "ThresholdHomeostasis",
    "TripletSTDP",
    "TsodyksMarkram",
    "branching_factor",
]
