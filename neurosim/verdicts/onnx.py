"""The verdict on one time step as an ONNX graph."""

from __future__ import annotations

from typing import Any

from neurosim.exchange.onnx import verify_onnx
from neurosim.network.network import Network
from neurosim.verdicts.verdict import TargetVerdict, exact


def judge(net: Network, x: Any) -> TargetVerdict:
    """Run the graph under onnxruntime, its state fed back, and compare every output."""
    result = verify_onnx(net, x)
    why = (
        ""
        if not any(result.largest.values())
        else "membranes within 1e-4 of the largest: products sum in another order"
    )
    found = (result.compared if result.sent else 0, sum(result.differing.values()))
    return exact(f"onnxruntime {result.version}", *found, why=why)
