"""Make an environment for each simulator that neurosim is compared with; ``make bench-peers`` runs this.

A simulator that the package indexes do not have for this machine is reported as not installed; the benchmark leaves it
out by name. Standard library only.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

from tests.hardware.lava.make_environments import VERSIONS, interpreter

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-peers"
CONSTRAINTS = Path(__file__).with_name("constraints.txt")


@dataclasses.dataclass(frozen=True)
class Environment:
    """What an environment needs: packages, the module that must import, and the oldest Python.

    `unavailable` says why a simulator is on no package index; it is then not looked for.
    """

    packages: tuple[str, ...]
    module: str
    oldest: tuple[int, int] = (3, 10)
    required: bool = False
    unavailable: str = ""


ENVIRONMENTS = {
    "nest": Environment(("nest-simulator",), "nest", required=True),
    # setuptools: Brian2 writes C++ and the compiler is found through it.
    "brian2": Environment(("brian2", "setuptools"), "brian2", required=True),
    "sparxml": Environment(("sparxml",), "sparx", oldest=(3, 12)),
    # numba: brainevent's CPU kernels need it and do not declare it.
    "brainevent": Environment(("brainevent", "numba"), "brainevent", oldest=(3, 11)),
    # A simulator of chips: the judge of energies and times. It needs no other package.
    "sanafe": Environment(("sanafe",), "sanafe"),
    "genn": Environment((), "pygenn", unavailable="GeNN is on no package index; PyGeNN is built from its source"),
}


def python_of(name: str, folder: Path = FOLDER) -> Path | None:
    """Return the interpreter of a simulator's environment in `folder`, or None where there is none."""
    python = folder / name / "bin" / "python"
    return python if python.exists() else None


def python_from(oldest: tuple[int, int]) -> str | None:
    """Return a Python that is new enough: this one, or a later one of this machine."""
    if sys.version_info[:2] >= oldest:
        return sys.executable
    later = [version for version in VERSIONS if tuple(map(int, version.split("."))) >= oldest]
    return next((str(python) for version in later if (python := interpreter(version))), None)


def make(name: str, folder: Path = FOLDER) -> str:
    """Make one environment from the start; return "" or why it is not there."""
    wanted = ENVIRONMENTS[name]
    if wanted.unavailable:
        return wanted.unavailable
    python = python_from(wanted.oldest)
    if python is None:
        return f"needs Python {wanted.oldest[0]}.{wanted.oldest[1]} or later, and none was found"
    place = folder / name
    shutil.rmtree(place, ignore_errors=True)
    inside = str(place / "bin" / "python")
    install = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(CONSTRAINTS)]
    for command in (
        [python, "-m", "venv", str(place)],
        [*install, *wanted.packages],
        [inside, "-c", f"import {wanted.module}"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(place, ignore_errors=True)
            return (done.stderr.strip().splitlines() or ["no message"])[-1]
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing; return 1 when a required simulator could not be installed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.environments", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(ENVIRONMENTS)}; all if omitted")
    parser.add_argument("--peers", type=Path, default=FOLDER, metavar="DIR", help="folder of the environments")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in ENVIRONMENTS]
    if unknown:
        parser.error(f"no simulator {unknown[0]!r}; there are {', '.join(ENVIRONMENTS)}")
    failed = False
    for name in chosen.names or ENVIRONMENTS:
        if python_of(name, chosen.peers):
            print(f"{name}: {chosen.peers / name} is there", flush=True)
            continue
        why = make(name, chosen.peers)
        print(f"{name}: not installed: {why}" if why else f"{name}: installed", flush=True)
        failed |= bool(why) and ENVIRONMENTS[name].required
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
