"""Linear(N, N) and LIF, T = 500, batch 16: the Open Neuromorphic benchmark, corrected.

As there: float32, normally distributed input, the sum of the output as loss. Unlike there: the input has a gradient,
all contenders have the same dynamics and weights (scaled so that the layer fires), and agree on the spikes.
"""

from __future__ import annotations

from typing import Any

from benchmarks.compare import compare, table
from benchmarks.options import Options

__all__ = ["NAME", "measure", "table"]

NAME = "lif-layer"
_SAME = "a single layer behind a dense input has no gradient to leave out"


def measure(options: Options) -> dict[str, Any]:
    """Return one comparison for each width."""
    alone = {"neurosim, triangle": _SAME}
    if options.quick:
        return {
            "cases": [
                compare("dense", {"width": n, "steps": 30}, rounds=2, calls=1, left_out=alone, quick=True)
                for n in (32, 64)
            ]
        }
    cases = options.chosen([(512, 5, 3), (4096, 3, 1)])
    return {
        "cases": [
            compare("dense", {"width": n}, rounds=rounds, calls=calls, left_out=alone, peaks=options.peaks)
            for n, rounds, calls in cases
        ]
    }
