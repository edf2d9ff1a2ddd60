"""What the command line asks of a benchmark."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Options:
    """`quick`: small sizes, to see that all runs and not to measure. `data`: folder of N-MNIST recordings.

    `plot`: file for the picture, of those that draw one.
    """

    quick: bool = False
    data: Path | None = None
    plot: Path | None = None
