"""A training step of 128-128-128-20, batch 256, T = 256: the sizes of jaxpike's comparison, against every peer."""

from __future__ import annotations

from typing import Any

from benchmarks.compare import compare, table
from benchmarks.options import Options

__all__ = ["NAME", "measure", "table"]

NAME = "shd-step"


def measure(options: Options) -> dict[str, Any]:
    """Return one comparison."""
    if options.quick:
        small = {"steps": 20, "batch": 8, "sizes": (70, 32, 32, 20)}
        return {"cases": [compare("feedforward", small, rounds=2, calls=1, quick=True)]}
    sizes = {"steps": 256, "batch": 256, "sizes": (128, 128, 128, 20)}
    return {"cases": [compare("feedforward", sizes, rounds=4, calls=2, peaks=options.peaks)]}
