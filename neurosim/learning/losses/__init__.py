"""Losses as values: called with output [T, B, ...] and target [B] or [B, T, ...] they return a scalar tensor."""

from neurosim.learning.losses.base import Loss, Masked, Steps, mask_of
from neurosim.learning.losses.classes import (
    CrossEntropy,
    CrossEntropyMSE,
    Latency,
    MaxMembrane,
    MeanMembrane,
    RateCrossEntropy,
    TargetRates,
)
from neurosim.learning.losses.regression import CountMSE, MembraneMSE, SpikeTimeMSE
from neurosim.learning.losses.torch_loss import TorchLoss

__all__ = [
    "CountMSE",
    "CrossEntropy",
    "CrossEntropyMSE",
    "Latency",
    "Loss",
    "Masked",
    "MaxMembrane",
    "MeanMembrane",
    "MembraneMSE",
    "RateCrossEntropy",
    "SpikeTimeMSE",
    "Steps",
    "TargetRates",
    "TorchLoss",
    "mask_of",
]
