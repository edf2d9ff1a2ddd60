"""``neurosim bench``: run the benchmarks of a source checkout; an installed package does not contain them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import neurosim
from neurosim.errors import InputError


def folder(places: Sequence[Path] | None = None) -> Path:
    """Return the folder that contains neurosim's `benchmarks/`: beside the package, or the current one.

    Raises
    ------
    InputError
        When neither contains it.
    """
    searched = places or (Path(neurosim.__file__).resolve().parent.parent, Path.cwd())
    for place in searched:
        if (place / "benchmarks" / "__main__.py").is_file() and (place / "benchmarks" / "train_step.py").is_file():
            return place
    raise InputError(
        "the folder benchmarks/ is not here: an installed package does not contain it. Get the source of neurosim, "
        "run `make install` in it, which installs the libraries to compare with, and run `neurosim bench` there. "
        f"Looked in {' and '.join(str(place) for place in dict.fromkeys(searched))}."
    )


def run(names: Sequence[str], json: Path | None, data: Path | None, plot: Path | None, quick: bool) -> int:
    """Run benchmarks by name, or all, in a separate process; return its exit status."""
    options = [*names]
    # The other process runs in another folder.
    for name, path in (("--json", json), ("--data", data), ("--plot", plot)):
        if path is not None:
            options += [name, str(path.resolve())]
    if quick:
        options.append("--quick")
    return subprocess.run([sys.executable, "-m", "benchmarks", *options], cwd=folder(), check=False).returncode
