"""Learning: rules that find gradients, losses, the training loop and its checkpoints."""

from neurosim.learning.losses import (
    CountMSE,
    CrossEntropy,
    CrossEntropyMSE,
    Latency,
    Loss,
    MaxMembrane,
    MeanMembrane,
    MembraneMSE,
    RateCrossEntropy,
    SpikeTimeMSE,
    Steps,
    TargetRates,
    TorchLoss,
    mask_of,
)
from neurosim.learning.penalties import MembranePenalty, Penalty, RatePenalty, SpikePenalty
from neurosim.learning.rules.base import BPTT, SLTT, Rule
from neurosim.learning.rules.decolle import DECOLLE
from neurosim.learning.rules.eprop import EProp, Feedback
from neurosim.learning.rules.eventprop import EventProp
from neurosim.learning.rules.forward_forward import ForwardForward, Goodness
from neurosim.learning.rules.fptt import FPTT
from neurosim.learning.rules.hlop import HLOP
from neurosim.learning.rules.lateral_banks import LateralBanks
from neurosim.learning.rules.local_readouts import DecolleLIF, LocalReadouts
from neurosim.learning.rules.ottt import OTTT
from neurosim.learning.training.batches import pad
from neurosim.learning.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from neurosim.learning.training.continual import average_accuracy, backward_transfer
from neurosim.learning.training.evaluation import evaluate
from neurosim.learning.training.fit import fit
from neurosim.learning.training.groups import parameter_groups
from neurosim.learning.training.history import History
from neurosim.learning.training.metrics import accuracy, spikes_per_step
from neurosim.learning.training.progress import Progress

__all__ = [
    "BPTT",
    "DECOLLE",
    "FPTT",
    "HLOP",
    "OTTT",
    "SLTT",
    "Checkpoint",
    "CountMSE",
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
    "LocalReadouts",
    "Loss",
    "MaxMembrane",
    "MeanMembrane",
    "MembraneMSE",
    "MembranePenalty",
    "Penalty",
    "Progress",
    "RateCrossEntropy",
    "RatePenalty",
    "Rule",
    "SpikePenalty",
    "SpikeTimeMSE",
    "Steps",
    "TargetRates",
    "TorchLoss",
    "accuracy",
    "average_accuracy",
    "backward_transfer",
    "evaluate",
    "fit",
    "load_checkpoint",
    "mask_of",
    "pad",
    "parameter_groups",
    "save_checkpoint",
    "spikes_per_step",
]
