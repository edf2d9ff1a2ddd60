"""The verdict on C for microcontrollers."""

from __future__ import annotations

import subprocess
from typing import Any

from neurosim.hardware.c import MACHINES, verify_c
from neurosim.hardware.integers import computes_in_integers
from neurosim.network.network import Network
from neurosim.verdicts.integers import BITS, in_integers
from neurosim.verdicts.verdict import TargetVerdict, bounded, exact

INSTALL = "apt-get install gcc"


def judge(net: Network, x: Any) -> TargetVerdict:
    """Quantise the network, compile it as C, run it, and compare every output and state.

    The processor is an emulated Cortex-M4 where its compiler and emulator are installed, else that of this machine.
    """
    integer, share = (net, None) if computes_in_integers(net) else in_integers(net, x)
    machine = "gcc" if MACHINES["cortex-m4"].missing else "cortex-m4"
    result = verify_c(integer, x, machine=machine)
    found = (result.values if result.sent else 0, result.total)
    if share is None:
        return exact(_name(machine), *found)
    return bounded(_name(machine), *found, share, f"weights of {BITS} bits, decays of 12 bits")


def _name(machine: str) -> str:
    """Return the compiler with its version, and the processor."""
    compiler = MACHINES[machine].compiler
    done = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, timeout=60, check=False)
    emulated = ", emulated Cortex-M4" if machine == "cortex-m4" else ""
    return f"{compiler} {done.stdout.strip()}{emulated}"
