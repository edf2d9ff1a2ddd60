"""Linear(N, N) and LIF, T = 500, batch 16: the Open Neuromorphic benchmark, corrected.

As in the original: float32, normally distributed input, the sum of the output as loss. Different: the input has a
gradient, all contenders have the same dynamics and weights (scaled so that the layer fires), and spikes are compared.
"""

from __future__ import annotations

from typing import Any

from benchmarks.compare import compare, table
from benchmarks.options import Options

__all__ = ["NAME", "measure", "table"]

NAME = "lif-layer"
_SAME = "a single layer with a dense input has no gradient to omit"


def measure(options: Options) -> dict[str, Any]:
    """Return one comparison for each width."""
    alone = {"neurosim, triangle": _SAME}
    if options.quick:
        return {
            "cases": [
                compare("dense", {"width": n, "steps": 30}, rounds=2, calls=1, omitted=alone, quick=True)
                for n in (32, 64)
            ]
        }
    cases = options.chosen([(512, 5, 3), (4096, 3, 1)])
    return {
        "cases": [
            compare("dense", {"width": n}, rounds=rounds, calls=calls, omitted=alone, peaks=options.peaks)
            for n, rounds, calls in cases
        ]
    }
