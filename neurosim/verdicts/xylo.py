"""The verdict on Xylo."""

from __future__ import annotations

from typing import Any

from neurosim import cores
from neurosim.hardware.xylo import quantise_xylo, verify_xylo
from neurosim.hardware.xylo.runner import INSTALL, MODULES
from neurosim.network.network import Network
from neurosim.verdicts.integers import outputs
from neurosim.verdicts.verdict import TargetVerdict, bounded, exact
from neurosim.verdicts.versions import version

__all__ = ["INSTALL", "MODULES", "judge"]


def judge(net: Network, x: Any) -> TargetVerdict:
    """Quantise the network, run its configuration on xylosim, and compare every spike and state."""
    name = f"xylosim {version('xylosim')}"
    if all(getattr(node, "core", None) is cores.xylo for node in net.populations().values()):
        result = verify_xylo(net, x)
        return exact(name, 0 if len(result.silent) == len(result.nodes) else result.compared, result.differing)
    quantised = quantise_xylo(net, x)
    result = verify_xylo(quantised.net, x)
    compared = 0 if len(result.silent) == len(result.nodes) else result.compared
    ours, theirs = outputs(net, x), outputs(quantised.net, x)
    total = differing = 0
    for population, late in quantised.latency.items():
        real = ours[population]
        off = real[: len(real) - late] != theirs[population][late:]
        total, differing = total + off.numel(), differing + int(off.sum())
    why = "weights of 8 bits, time constants that are powers of two, several spikes in a step, 16 bits"
    return bounded(name, compared, result.differing, differing / max(total, 1), why)
