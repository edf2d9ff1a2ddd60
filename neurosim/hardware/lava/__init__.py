"""Lava process graphs for Loihi: export, isolated run, and verification against the simulator."""

from neurosim.hardware.lava.export import LavaExport, LavaRun, to_lava
from neurosim.hardware.lava.learning_verification import EdgeVerification, LearningVerification, verify_learning
from neurosim.hardware.lava.verification import Difference, NodeVerification, Verification, verify

__all__ = [
    "Difference",
    "EdgeVerification",
    "LavaExport",
    "LavaRun",
    "LearningVerification",
    "NodeVerification",
    "Verification",
    "to_lava",
    "verify",
    "verify_learning",
]
