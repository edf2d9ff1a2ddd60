"""Comparison of the Verilog design of a network with the simulator, cycle by cycle in an RTL simulator."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neurosim.errors import InputError, TargetRunError
from neurosim.files.notebook import text_html
from neurosim.hardware.integers import IntegerNetwork, Traces, integer_network, simulated, spikes_of
from neurosim.hardware.integers.traces import Data
from neurosim.hardware.verilog import tools
from neurosim.hardware.verilog.design import Design, design_of
from neurosim.network.network import Network


@dataclasses.dataclass(frozen=True)
class VerilogVerification:
    """Result of `verify_verilog`.

    Attributes
    ----------
    simulator : str
        ``"iverilog"`` or ``"verilator"``.
    samples, steps : int
    compared : int
        Neuron-steps: in each the output and all states are compared.
    values : int
        Outputs and states that were compared.
    sent : int
        Outputs that are not 0.
    differing : mapping of str to mapping of str to int
        By population, how many outputs and how many of each state differ.
    bench : str
        What the self-checking bench printed about the bytes that came back.
    cycles : float
        Clock cycles of a step, the bytes of its spikes included.
    """

    simulator: str
    samples: int
    steps: int
    compared: int
    values: int
    sent: int
    differing: Mapping[str, Mapping[str, int]]
    bench: str
    cycles: float

    @property
    def total(self) -> int:
        """How many values differ."""
        return sum(sum(each.values()) for each in self.differing.values())

    @property
    def agrees(self) -> bool:
        """Whether none does, in the states and in the bytes that came back."""
        return self.total == 0 and self.bench.startswith("PASSED")

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def _repr_html_(self) -> str:
        return text_html(self.summary())

    def summary(self) -> str:
        """Return the result in a few lines."""
        lines = [
            f"Verilog ({self.simulator}) and simulator: {self.total} values differ in {self.compared} neuron-steps, "
            f"{self.sent} outputs not 0 ({self.samples} samples of {self.steps} steps)",
            f"  bench: {self.bench}",
        ]
        for name, counts in self.differing.items():
            lines.append(f"  {name}: " + ", ".join(f"{count} of {what}" for what, count in counts.items()) + " differ")
        return "\n".join(lines)


def verify_verilog(
    net: Network,
    x: Data,
    *,
    simulator: str = "iverilog",
    input_range: tuple[int, int] = (0, 1),
    loaded: bool = False,
    timeout: float = 600.0,
) -> VerilogVerification:
    """Simulate the Verilog design of a network, and compare every output and state with the simulator.

    The bench of the design sends the samples as bytes and compares the bytes that come back.

    Parameters
    ----------
    net : Network
        Of integers; it is simulated in double precision.
    x : Tensor [T, B, ...], or mapping of input name to such
    simulator : str
        ``"iverilog"``, or ``"verilator"``, which compiles first and is faster for long runs.
    input_range : (int, int)
        Least and largest value of an input.
    loaded : bool
        Whether the weights are loaded through the port.
    timeout : float
        Seconds for the run.

    Raises
    ------
    ExportError
        When the network cannot be written as integers.
    TargetRunError
        When a program is not installed, with its package, or fails.
    """
    if simulator not in tools.SIMULATORS:
        raise InputError(f"simulator must be one of {', '.join(tools.SIMULATORS)}; got {simulator!r}.")
    integers = integer_network(net, target="Verilog", input_range=input_range)
    inputs = spikes_of(integers, x)
    ours = simulated(net, integers, x)
    design = design_of(integers, loaded=loaded)
    bench, trace = simulate(design, inputs, ours.outputs[integers.output], simulator, timeout)
    steps, samples = inputs.shape[:2]
    found = re.search(r"(\d+) cycles", bench)
    return VerilogVerification(
        simulator,
        samples,
        steps,
        ours.compared,
        ours.values,
        ours.sent,
        ours.differing(split(integers, trace, steps, samples)),
        bench,
        int(found.group(1)) / (steps * samples) if found else float("nan"),
    )


def simulate(
    design: Design, inputs: np.ndarray, outputs: np.ndarray, simulator: str = "iverilog", timeout: float = 600.0
) -> tuple[str, np.ndarray]:
    """Run the bench of a design; return its last line, and all values of the trace in order."""
    tools.check(tools.SIMULATORS[simulator])
    name = design.name
    with tempfile.TemporaryDirectory(prefix="neurosim-verilog-") as place:
        folder = Path(place)
        for file, text in {**design.images(), **design.bench(inputs, outputs), f"{name}.v": design.source}.items():
            (folder / file).write_text(text)
        files = [f"{name}.v", f"{name}_bench.v"]
        if simulator == "iverilog":
            tools.run(["iverilog", "-g2005", "-DNEUROSIM_TRACE", "-o", "bench", *files], folder, timeout)
            printed = tools.run(["vvp", "-n", "bench"], folder, timeout)
        else:
            options = ("--binary", "--timing", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style", "-DNEUROSIM_TRACE")
            tools.run(["verilator", *options, "--top-module", f"{name}_bench", *files], folder, timeout)
            printed = tools.run([f"obj_dir/V{name}_bench"], folder, timeout)
        lines = [line for line in printed.splitlines() if line.startswith(("PASSED", "FAILED"))]
        if not lines:
            raise TargetRunError(f"{simulator} ended without a result:\n{printed.strip()[-2000:]}")
        return lines[-1], np.array((folder / "trace.txt").read_text().split(), dtype=np.int64)


def split(integers: IntegerNetwork, trace: np.ndarray, steps: int, samples: int) -> Traces:
    """Return the outputs and states of a trace: sample by sample, step by step, neuron by neuron."""
    width = sum(p.neurons * (1 + len(p.step.states)) for p in integers.populations.values())
    rows = steps * samples
    padded = np.full(rows * width, np.iinfo(np.int64).min)  # a design that stopped early differs in all that is missing
    padded[: min(len(trace), len(padded))] = trace[: len(padded)]
    values, traces, first = padded.reshape(samples, steps, width), Traces({}, {}), 0
    for name, population in integers.populations.items():
        states = list(population.step.states)
        last = first + population.neurons * (1 + len(states))
        part = values[:, :, first:last].reshape(samples, steps, population.neurons, 1 + len(states))
        part, first = part.transpose(1, 0, 2, 3), last
        traces.outputs[name] = part[..., 0]
        traces.states[name] = {state: part[..., 1 + k] for k, state in enumerate(states)}
    return traces
