"""Comparison of the Verilog design of a network with the simulator, cycle by cycle in an RTL simulator."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path

import numpy as np

from neurosim.errors import InputError, TargetRunError
from neurosim.hardware.integers import (
    Comparison,
    IntegerNetwork,
    Traces,
    integer_network,
    simulated,
    spikes_of,
    traces_of,
)
from neurosim.hardware.integers.traces import Data
from neurosim.hardware.verilog import tools
from neurosim.hardware.verilog.design import Design, design_of
from neurosim.network.network import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerilogVerification(Comparison):
    """Result of `verify_verilog`.

    Attributes
    ----------
    simulator : str
        ``"iverilog"`` or ``"verilator"``.
    samples, steps, compared, values, sent, differing
        As in `neurosim.hardware.integers.Comparison`.
    bench : str
        What the self-checking bench printed about the bytes that came back.
    cycles : float
        Clock cycles of a step, the bytes of its spikes included.
    """

    simulator: str
    bench: str
    cycles: float

    @property
    def agrees(self) -> bool:
        """Whether no value differs, and none of the bytes that came back."""
        return super().agrees and self.bench.startswith("PASSED")

    def _what(self) -> str:
        return f"Verilog ({self.simulator})"

    def _more(self) -> list[str]:
        return [f"  bench: {self.bench}"]


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
    cycles = int(found.group(1)) / (steps * samples) if found else float("nan")
    theirs = _split(integers, trace, steps, samples)
    return VerilogVerification.of(ours, theirs, simulator=simulator, bench=bench, cycles=cycles)


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


def _split(integers: IntegerNetwork, trace: np.ndarray, steps: int, samples: int) -> Traces:
    """Return the outputs and states of a trace: sample by sample, step by step, neuron by neuron."""
    width = sum(p.neurons * (1 + len(p.step.states)) for p in integers.populations.values())
    padded = np.full(steps * samples * width, np.iinfo(np.int64).min)
    padded[: min(len(trace), len(padded))] = trace[: len(padded)]  # what a stopped design left out differs
    return traces_of(integers, padded.reshape(samples, steps, width))
