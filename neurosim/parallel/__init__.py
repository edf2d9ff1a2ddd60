"""Layers without a reset, whose steps can be computed in parallel. None of them is a LIF: they fire differently."""

from neurosim.parallel.masked import MaskedPSN, masking_at
from neurosim.parallel.psn import PSN
from neurosim.parallel.reset_free import ResetFreeLeaky
from neurosim.parallel.sliding import SlidingPSN

__all__ = ["PSN", "MaskedPSN", "ResetFreeLeaky", "SlidingPSN", "masking_at"]
