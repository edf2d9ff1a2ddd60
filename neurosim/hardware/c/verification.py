"""Comparison of the C program of a network with the simulator: every output and every state of every step."""

from __future__ import annotations

import dataclasses

from neurosim.hardware.c.compiling import traced
from neurosim.hardware.c.source import c_program
from neurosim.hardware.integers import Comparison, integer_network, simulated, spikes_of, traces_of
from neurosim.hardware.integers.traces import Data
from neurosim.network.network import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class CVerification(Comparison):
    """Result of `verify_c`.

    Attributes
    ----------
    machine : str
        Where the program ran: ``"gcc"``, ``"clang"`` or ``"cortex-m4"``.
    samples, steps, compared, values, sent, differing
        As in `neurosim.hardware.integers.Comparison`.
    """

    machine: str

    def _what(self) -> str:
        return f"C ({self.machine})"


def verify_c(
    net: Network,
    x: Data,
    *,
    machine: str = "gcc",
    input_range: tuple[int, int] = (0, 1),
    timeout: float = 300.0,
) -> CVerification:
    """Compile the C program of a network, run it, and compare every output and state with the simulator.

    Parameters
    ----------
    net : Network
        Of integers; it is simulated in double precision.
    x : Tensor [T, B, ...], or mapping of input name to such
    machine : str
        ``"gcc"`` or ``"clang"`` on this machine, or ``"cortex-m4"``: compiled by arm-none-eabi-gcc and emulated by
        qemu-system-arm.
    input_range : (int, int)
        Least and largest value of an input.
    timeout : float
        Seconds for the run.

    Raises
    ------
    ExportError
        When the network cannot be written as integers.
    TargetRunError
        When a program is not installed, with its package, or fails.
    """
    integers = integer_network(net, target="C", input_range=input_range)
    inputs = spikes_of(integers, x)
    ours = simulated(net, integers, x)
    theirs = traces_of(integers, traced(c_program(integers), inputs.transpose(1, 0, 2), machine, timeout))
    return CVerification.of(ours, theirs, machine=machine)
