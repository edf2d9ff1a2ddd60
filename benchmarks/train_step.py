"""A training step of a 700-256-256-20 LIF network at several input rates, against every peer."""

from __future__ import annotations

from typing import Any

from benchmarks.compare import compare, table
from benchmarks.options import Options

__all__ = ["NAME", "measure", "table"]

NAME = "train-step"


def measure(options: Options) -> dict[str, Any]:
    """Return one comparison for each input rate; peak memory at 5 %."""
    if options.quick:
        small = {"steps": 20, "batch": 8, "sizes": (70, 32, 32, 20)}
        quick = [compare("feedforward", {"rate": r, **small}, rounds=2, calls=1, quick=True) for r in (0.05, 0.2)]
        return {"cases": quick}
    rates = (0.01, 0.05, 0.1, 0.2)
    return {
        "cases": [
            compare("feedforward", {"rate": r}, rounds=6, calls=4, peaks=options.peaks and r == 0.05)
            for r in options.chosen(rates)
        ]
    }
