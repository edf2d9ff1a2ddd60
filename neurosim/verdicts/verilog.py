"""The verdict on Verilog for FPGAs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import Any

from neurosim.hardware.integers import computes_in_integers
from neurosim.hardware.verilog import verify_verilog
from neurosim.network.network import Network
from neurosim.verdicts.integers import BITS, in_integers
from neurosim.verdicts.verdict import TargetVerdict, bounded, exact

INSTALL = "apt-get install iverilog"
SAMPLES = 4  # at most: a step of a network of some hundred neurons is simulated in about a tenth of a second


def judge(net: Network, x: Any) -> TargetVerdict:
    """Quantise the network, simulate its Verilog design on the first samples, and compare every output and state."""
    integer, share = (net, None) if computes_in_integers(net) else in_integers(net, x)
    few = {name: each[:, :SAMPLES] for name, each in x.items()} if isinstance(x, Mapping) else x[:, :SAMPLES]
    result = verify_verilog(integer, few)
    found = (result.values if result.sent else 0, result.total + (not result.bench.startswith("PASSED")))
    if share is None:
        return exact(_name(), *found)
    return bounded(_name(), *found, share, f"weights of {BITS} bits, decays of 12 bits")


def _name() -> str:
    """Return the simulator with its version."""
    done = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, timeout=60, check=False)
    version = re.search(r"version (\S+)", done.stdout)
    return f"Icarus Verilog {version.group(1) if version else 'of unknown version'}"
