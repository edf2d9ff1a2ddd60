"""Comparison of the C program of a network with the simulator: every output and every state of every step."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import numpy as np

from neurosim.files.notebook import text_html
from neurosim.hardware.c.compiling import traced
from neurosim.hardware.c.source import c_program
from neurosim.hardware.integers import IntegerNetwork, Traces, integer_network, simulated, spikes_of
from neurosim.hardware.integers.traces import Data
from neurosim.network.network import Network


@dataclasses.dataclass(frozen=True)
class CVerification:
    """Result of `verify_c`.

    Attributes
    ----------
    machine : str
        Where the program ran: ``"gcc"``, ``"clang"`` or ``"cortex-m4"``.
    samples, steps : int
    compared : int
        Neuron-steps: in each the output and all states are compared.
    values : int
        Outputs and states that were compared.
    sent : int
        Outputs that are not 0.
    differing : mapping of str to mapping of str to int
        By population, how many outputs and how many of each state differ.
    """

    machine: str
    samples: int
    steps: int
    compared: int
    values: int
    sent: int
    differing: Mapping[str, Mapping[str, int]]

    @property
    def total(self) -> int:
        """How many values differ."""
        return sum(sum(each.values()) for each in self.differing.values())

    @property
    def agrees(self) -> bool:
        """Whether none does."""
        return self.total == 0

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def _repr_html_(self) -> str:
        return text_html(self.summary())

    def summary(self) -> str:
        """Return the result in a few lines."""
        lines = [
            f"C ({self.machine}) and simulator: {self.total} values differ in {self.compared} neuron-steps, "
            f"{self.sent} outputs not 0 ({self.samples} samples of {self.steps} steps)"
        ]
        for name, counts in self.differing.items():
            lines.append(f"  {name}: " + ", ".join(f"{count} of {what}" for what, count in counts.items()) + " differ")
        if not self.sent:
            lines.append("  no output was sent, so that this shows little: give other data")
        return "\n".join(lines)


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
    theirs = split(integers, traced(c_program(integers), inputs.transpose(1, 0, 2), machine, timeout))
    steps, samples = inputs.shape[:2]
    return CVerification(machine, samples, steps, ours.compared, ours.values, ours.sent, ours.differing(theirs))


def split(integers: IntegerNetwork, values: np.ndarray) -> Traces:
    """Return the outputs and states of a trace [B, T, values], neuron by neuron in order of computation."""
    traces, first = Traces({}, {}), 0
    for name, population in integers.populations.items():
        states = list(population.step.states)
        last = first + population.neurons * (1 + len(states))
        part = values[:, :, first:last].reshape(*values.shape[:2], population.neurons, 1 + len(states))
        part, first = part.transpose(1, 0, 2, 3), last
        traces.outputs[name] = part[..., 0]
        traces.states[name] = {state: part[..., 1 + k] for k, state in enumerate(states)}
    return traces
