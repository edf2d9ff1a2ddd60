"""The verdict on Loihi's integers."""

from __future__ import annotations

from typing import Any

from neurosim.hardware.lava import verify
from neurosim.network.network import Network
from neurosim.verdicts.integers import BITS, in_integers
from neurosim.verdicts.lava import compared_with, name
from neurosim.verdicts.verdict import TargetVerdict, bounded, exact


def judge(net: Network, x: Any) -> TargetVerdict:
    """Quantise the network, run it on Lava's fixed-point models, and compare every spike and state."""
    integer, share = in_integers(net, x)
    found = compared_with(verify(integer, x))
    if share is None:
        return exact(name(), *found)
    return bounded(name(), *found, share, f"weights of {BITS} bits, decays of 12 bits")
