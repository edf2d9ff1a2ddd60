"""A training step of the N-MNIST network of the NIR paper, T = 300 steps of 1 ms, batch 16, against every peer.

`--data` is the folder with the recordings; without it a stand-in of the same shape and rate is used and reported.
"""

from __future__ import annotations

from typing import Any

from benchmarks.compare import compare, table
from benchmarks.options import Options

__all__ = ["NAME", "measure", "table"]

NAME = "conv-step"


def measure(options: Options) -> dict[str, Any]:
    """Return one comparison."""
    data = None if options.data is None else str(options.data.resolve())
    if options.quick:
        small = {"steps": 40, "batch": 2, "data": data}
        return {"cases": [compare("conv", small, rounds=2, calls=1, quick=True)]}
    return {"cases": [compare("conv", {"data": data}, rounds=4, calls=2, peaks=options.peaks)]}
