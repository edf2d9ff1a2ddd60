"""``neurosim bench``: run the benchmarks of a source checkout; an installed package does not contain them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import typer

import neurosim
from neurosim.cli.output import STDOUT
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


def run(
    names: Sequence[str],
    json: Path | None,
    data: Path | None,
    plot: Path | None,
    quick: bool,
    peers: Path | None = None,
    *,
    tables: IO[str] | None = None,
) -> int:
    """Run benchmarks by name, or all, in a separate process; return its exit status.

    Their tables go to standard output, or to the file `tables`; with `json` as ``-`` the results go there instead.
    """
    if json == STDOUT:
        with tempfile.TemporaryDirectory() as folder_of_results:
            results = Path(folder_of_results) / "results.json"
            status = run(names, results, data, plot, quick, peers, tables=sys.stderr)
            if results.is_file():
                typer.echo(results.read_text(encoding="utf-8"), nl=False)
        return status
    options = [*names]
    # The other process runs in another folder.
    for name, path in (("--json", json), ("--data", data), ("--plot", plot), ("--peers", peers)):
        if path is not None:
            options += [name, str(path.resolve())]
    if quick:
        options.append("--quick")
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *options], cwd=folder(), check=False, stdout=tables
    ).returncode
