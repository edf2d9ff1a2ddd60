"""Learning: rules that find gradients, losses, the training loop and its checkpoints."""

from neurosim.learning.adaptation import NeuromodulatedAdaptation
from neurosim.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from neurosim.learning.decolle import DECOLLE, DecolleLIF, LocalReadouts
from neurosim.learning.eprop import EProp, Feedback
from neurosim.learning.evaluation import evaluate
from neurosim.learning.eventprop import EventProp
from neurosim.learning.forward_forward import ForwardForward, Goodness
from neurosim.learning.fptt import FPTT
from neurosim.learning.history import History
from neurosim.learning.hlop import HLOP, LateralBanks
from neurosim.learning.homeostasis import SynapticScaling, ThresholdHomeostasis
from neurosim.learning.loop import fit
from neurosim.learning.losses import (
    CrossEntropy,
    CrossEntropyMSE,
    Latency,
    Loss,
    MaxMembrane,
    MeanMembrane,
    RateCrossEntropy,
    TargetRates,
)
from neurosim.learning.metrics import accuracy, spikes_per_step
from neurosim.learning.online import OTTT
from neurosim.learning.plasticity import Plasticity, RewardModulated
from neurosim.learning.plasticity_astro import AstrocyteModulated, LiquidAstrocyte, branching_factor
from neurosim.learning.plasticity_hebb import SoftHebb, SoftHebbConv
from neurosim.learning.rules import BPTT, SLTT, Rule

__all__ = [
    "BPTT",
    "DECOLLE",
    "FPTT",
    "HLOP",
    "OTTT",
    "SLTT",
    "AstrocyteModulated",
    "Checkpoint",
    "CrossEntropy",
    "CrossEntropyMSE",
    "DecolleLIF",
    "EProp",
    "EventProp",
    "Feedback",
    "ForwardForward",
    "Goodness",
    "History",
    "Latency",
    "LateralBanks",
    "LiquidAstrocyte",
    "LocalReadouts",
    "Loss",
    "MaxMembrane",
    "MeanMembrane",
    "NeuromodulatedAdaptation",
    "Plasticity",
    "RateCrossEntropy",
    "RewardModulated",
    "Rule",
    "SoftHebb",
    "SoftHebbConv",
    "SynapticScaling",
    "TargetRates",
    "ThresholdHomeostasis",
    "accuracy",
    "branching_factor",
    "evaluate",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
    "spikes_per_step",
]
