"""Programs that simulate and place Verilog designs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from neurosim.errors import TargetRunError
from neurosim.hardware.packages import check_timeout

SIMULATORS = {"iverilog": ("iverilog", "vvp"), "verilator": ("verilator", "g++", "make")}
PACKAGES = {
    "g++": "g++",
    "make": "make",
    "iverilog": "iverilog",
    "vvp": "iverilog",
    "verilator": "verilator",
    "yosys": "yosys",
    "nextpnr-ice40": "nextpnr-ice40",
    "icepack": "fpga-icestorm",
    "nextpnr-ecp5": "nextpnr-ecp5 (not in Debian 12; see github.com/YosysHQ/nextpnr)",
}


def missing(programs: Sequence[str]) -> list[str]:
    """Return the programs that are not installed."""
    return [each for each in programs if shutil.which(each) is None]


def check(programs: Sequence[str]) -> None:
    """Raise `TargetRunError` if one is not installed, with its package."""
    absent = missing(programs)
    if absent:
        packages = " ".join(dict.fromkeys(PACKAGES[each] for each in absent))
        raise TargetRunError(f"{', '.join(absent)} not found. On Debian: apt-get install {packages}")


def run(command: Sequence[str], folder: Path, timeout: float) -> str:
    """Run a program in a folder; return what it prints.

    Raises
    ------
    TargetRunError
        When it fails or does not end in time, with the end of what it printed.
    """
    check_timeout(timeout)
    try:
        done = subprocess.run(
            list(command),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TargetRunError(
            f"{command[0]} did not end within {timeout:g} s; give a smaller network, fewer samples or a longer timeout."
        ) from None
    if done.returncode:
        raise TargetRunError(f"{command[0]} failed with status {done.returncode}:\n{done.stdout.strip()[-2000:]}")
    return done.stdout
