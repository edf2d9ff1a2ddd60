"""A training step of 700-256(recurrent)-20, T = 100 and 1000, 5 % input, against every peer."""

from __future__ import annotations

from typing import Any

from benchmarks.compare import compare, table
from benchmarks.options import Options

__all__ = ["NAME", "measure", "table"]

NAME = "recurrent-step"


def measure(options: Options) -> dict[str, Any]:
    """Return one comparison for each number of steps."""
    if options.quick:
        small = {"batch": 8, "sizes": (70, 32, 20)}
        return {"cases": [compare("recurrent", {"steps": t, **small}, rounds=2, calls=1, quick=True) for t in (10, 30)]}
    cases = options.chosen([(100, 6, 4), (1000, 4, 1)])
    return {
        "cases": [
            compare("recurrent", {"steps": t}, rounds=rounds, calls=calls, peaks=options.peaks)
            for t, rounds, calls in cases
        ]
    }
