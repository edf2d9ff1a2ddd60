"""What the C program of a network takes: bytes, operations a step, time of a step."""

from __future__ import annotations

import dataclasses
import json

from neurosim.files.notebook import text_html
from neurosim.hardware.c.compiling import MACHINES, Size, nanoseconds, size_of
from neurosim.hardware.c.source import CProgram, c_program
from neurosim.hardware.integers import integer_network, simulated, spikes_of
from neurosim.hardware.integers.operations import Operations, operations
from neurosim.hardware.integers.traces import Data
from neurosim.network.network import Network


@dataclasses.dataclass(frozen=True)
class CReport:
    """What a network takes as C.

    Attributes
    ----------
    constant_bytes, state_bytes : int
        Of the arrays, without code and stack.
    sizes : tuple of Size
        Bytes of the compiled network, for each compiler that is installed.
    operations : Operations
        Of one step, as a mean over the data.
    nanoseconds : float or None
        Time of one step on one core of this machine, at -O2; None where it was not measured.
    """

    constant_bytes: int
    state_bytes: int
    sizes: tuple[Size, ...]
    operations: Operations
    nanoseconds: float | None

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def _repr_html_(self) -> str:
        return text_html(self.summary())

    def summary(self) -> str:
        """Return the numbers in a few lines."""
        counted = self.operations
        lines = [
            f"{self.constant_bytes:,} bytes of constants, {self.state_bytes:,} bytes of variables",
            f"a step: {counted.neurons:,.0f} operations of neurons, {counted.synapses:,.0f} additions of weights for "
            f"{counted.spikes:,.1f} spikes",
        ]
        lines += [f"{each.machine}: {each.flash:,} bytes of flash, {each.ram:,} bytes of RAM" for each in self.sizes]
        if self.nanoseconds is not None:
            lines.append(f"a step takes {self.nanoseconds / 1e3:,.1f} us on one core of this machine")
        return "\n".join(lines)


def report_c(net: Network, x: Data, *, input_range: tuple[int, int] = (0, 1), clocked: bool = False) -> CReport:
    """Return what the C program of a network takes.

    Parameters
    ----------
    net : Network
    x : Tensor [T, B, ...], or mapping of input name to such
        Data that the operations are counted on.
    input_range : (int, int)
        As in `write_c`.
    clocked : bool
        Whether the time of a step is measured with gcc; it takes about a second.
    """
    integers = integer_network(net, target="C", input_range=input_range)
    program: CProgram = c_program(integers)
    inputs = spikes_of(integers, x)
    counted = operations(integers, inputs, simulated(net, integers, x))
    sizes = tuple(size_of(program, name) for name, machine in MACHINES.items() if not machine.missing_compilers)
    time = nanoseconds(program, inputs.transpose(1, 0, 2)) if clocked else None
    return CReport(program.constant_bytes, program.state_bytes, sizes, counted, time)
