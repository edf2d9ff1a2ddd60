"""The verdict on NIR."""

from __future__ import annotations

from typing import Any

from neurosim.exchange.nir import verify_nir
from neurosim.network.network import Network
from neurosim.verdicts.verdict import TargetVerdict, bounded, exact
from neurosim.verdicts.versions import version


def judge(net: Network, x: Any) -> TargetVerdict:
    """Write the network as `write_nir` does by default, read the file back, and compare all outputs.

    If they differ, the gain of the neurons is kept apart from the weights and the file is compared again: equal then,
    the difference is the rounding of the weights.
    """
    judge = f"the file of nir {version('nir')}, read back"
    result = verify_nir(net, x)
    compared = sum(node.compared for node in result.nodes if not node.is_silent)
    differing = sum(node.differing for node in result.nodes)
    again = 0 if result.agrees else sum(node.differing for node in verify_nir(net, x, gain="network").nodes)
    if differing and not again:
        why = "the gain of the neurons is in the weights, which are rounded"
        return bounded(judge, compared, again, differing / compared, why)
    return exact(judge, compared, differing)
