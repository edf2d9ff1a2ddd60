"""The verdict of Lava."""

from __future__ import annotations

from typing import Any

from neurosim.hardware.lava import Verification, verify
from neurosim.hardware.lava.runner import INSTALL
from neurosim.network.network import Network
from neurosim.verdicts.verdict import TargetVerdict, exact
from neurosim.verdicts.versions import version

__all__ = ["INSTALL", "compared_with", "judge"]


def judge(net: Network, x: Any) -> TargetVerdict:
    """Run the network on Lava and compare every spike; in integers every state too."""
    return exact(name(), *compared_with(verify(net, x)))


def compared_with(result: Verification) -> tuple[int, int]:
    """Return how many spikes and states were compared and how many differ."""
    states = [node for node in result.nodes if node.states_differing is not None]
    compared = result.spikes_compared + 2 * sum(node.compared for node in states)
    silent = len(result.silent) == len(result.nodes)
    return 0 if silent else compared, result.spikes_differing + sum(node.states_differing or 0 for node in states)


def name() -> str:
    """Return the name and version of the judge."""
    return f"lava-nc {version('lava-nc')}"
