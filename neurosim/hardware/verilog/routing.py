"""A Verilog design on an FPGA: synthesised, placed and routed with open tools."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from neurosim.errors import ExportError, FileError, InputError, TargetRunError
from neurosim.files.notebook import text_html
from neurosim.files.problems import Problems
from neurosim.hardware.integers import integer_network, simulated, spikes_of
from neurosim.hardware.integers.traces import Data
from neurosim.hardware.targets import Target, load_target
from neurosim.hardware.verilog import tools
from neurosim.hardware.verilog.cycles import cycles_per_step
from neurosim.hardware.verilog.design import Design, design_of
from neurosim.network.network import Network


@dataclasses.dataclass(frozen=True)
class Family:
    """The tools of a family of FPGAs.

    Attributes
    ----------
    synthesis : str
        Command of yosys.
    router : str
        Program that places and routes.
    cells : mapping of str to str
        What a report calls the cells of each limit of the target's file.
    bits : mapping of str to int
        Bits of a cell of the limits that are memories.
    fills : bool
        Whether the configuration fills all memories.
    """

    synthesis: str
    router: str
    cells: Mapping[str, str]
    bits: Mapping[str, int]
    fills: bool


FAMILIES = {
    "ice40": Family(
        "synth_ice40 -spram",
        "nextpnr-ice40",
        {
            "logic_cells": "ICESTORM_LC",
            "block_memory": "ICESTORM_RAM",
            "large_memory": "ICESTORM_SPRAM",
            "multipliers": "ICESTORM_DSP",
        },
        {"block_memory": 4096, "large_memory": 262144},
        False,
    ),
    "ecp5": Family(
        "synth_ecp5",
        "nextpnr-ecp5",
        {"logic_cells": "TRELLIS_COMB", "block_memory": "DP16KD", "multipliers": "MULT18X18D"},
        {"block_memory": 18432},
        True,
    ),
}
REMEDIES = {
    "logic_cells": "fewer bits, or fewer populations, since each has an update of its own",
    "block_memory": "fewer neurons, fewer synapses, shorter delays, or weights of fewer bits",
    "large_memory": "fewer synapses, or weights of fewer bits",
    "multipliers": "fewer populations, or fewer bits",
}
SHARE_OF_WEIGHTS = 0.5  # of the memories that the configuration fills, for weights that need not be loaded


@dataclasses.dataclass(frozen=True)
class FpgaPlacement:
    """A design that was placed and routed.

    Attributes
    ----------
    target : str
        Title of the FPGA.
    used, available : mapping of str to int
        Cells by the limits of the target's file: logic, memories, multipliers.
    clock : float
        Highest clock that the router reached, Hz.
    cycles : float
        Clock cycles of a step on the data.
    steps : int
        Steps of a sample.
    loaded : bool
        Whether the weights are loaded through the port before the first step.
    """

    target: str
    used: Mapping[str, int]
    available: Mapping[str, int]
    clock: float
    cycles: float
    steps: int
    loaded: bool

    @property
    def fits(self) -> bool:
        """Whether it fits; `place_fpga` refuses a design that does not."""
        return all(count <= self.available[name] for name, count in self.used.items())

    @property
    def step_time(self) -> float:
        """Time of a step at the highest clock, s."""
        return self.cycles / self.clock

    @property
    def sample_time(self) -> float:
        """Time of all steps of a sample, s."""
        return self.step_time * self.steps

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain values."""
        times = {"fits": self.fits, "step_time": self.step_time, "sample_time": self.sample_time}
        return {**dataclasses.asdict(self), **times}

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> FpgaPlacement:
        """Read what ``neurosim place`` wrote to a run.

        Raises
        ------
        FileError
            When the file is missing or holds something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(**{field.name: content[field.name] for field in dataclasses.fields(cls)})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{path} holds no placed design ({error}). Write it with neurosim place.") from error

    def rows(self) -> list[dict[str, str]]:
        """Return one row for each kind of cell, the clock and the times, as text."""
        rows = [
            {
                "quantity": name.replace("_", " "),
                "used": f"{self.used[name]:,}",
                "available": f"{self.available[name]:,}",
            }
            for name in self.used
        ]
        rows.append({"quantity": "clock", "used": f"{self.clock / 1e6:.1f} MHz", "available": ""})
        rows.append(
            {"quantity": "step", "used": f"{self.cycles:,.0f} cycles, {self.step_time * 1e6:,.1f} us", "available": ""}
        )
        rows.append(
            {"quantity": "sample", "used": f"{self.steps} steps, {self.sample_time * 1e3:,.2f} ms", "available": ""}
        )
        return rows

    def table(self) -> str:
        """Return the rows as text."""
        head = f"{'It fits' if self.fits else 'It does not fit'}: {self.target}"
        lines = [f"{row['quantity']:16} {row['used']:>24}  {row['available']:>9}".rstrip() for row in self.rows()]
        note = "Weights are loaded through the port before the first step." if self.loaded else ""
        return "\n".join([head, *lines, *([note] if note else [])])

    __str__ = table

    def _repr_html_(self) -> str:
        return text_html(self.table())


def fpga_of(target: str | os.PathLike[str] | Target) -> tuple[Target, Family]:
    """Return the target and the tools of its family.

    Raises
    ------
    InputError
        When the target is no FPGA, or of a family without open tools here.
    """
    chip = target if isinstance(target, Target) else load_target(target)
    if chip.kind != "fpga":
        raise InputError(
            f"target {chip.name!r} is no FPGA; use one such as 'ice40up5k', or neurosim.hardware.placement.place."
        )
    if chip.fpga["family"] not in FAMILIES:
        raise InputError(f"{chip.path}: family must be one of {', '.join(FAMILIES)}; got {chip.fpga['family']!r}.")
    return chip, FAMILIES[chip.fpga["family"]]


def is_loaded(design: Design, chip: Target, family: Family) -> bool:
    """Whether the weights of a design need memories that the configuration does not fill."""
    bits = design.core.memories["weights"].size * design.core.weight_width
    return not family.fills and bits > SHARE_OF_WEIGHTS * chip.limits["block_memory"].number


def place_fpga(
    net: Network,
    target: str | os.PathLike[str] | Target,
    x: Data,
    *,
    input_range: tuple[int, int] = (0, 1),
    clock: float = 12e6,
    seed: int = 1,
    timeout: float = 600.0,
) -> FpgaPlacement:
    """Synthesise, place and route a network on an FPGA.

    Parameters
    ----------
    net : Network
        Of integers: what `quantise` returns.
    target : str, path-like or Target
        An FPGA of `hardware_targets`, such as ``"ice40up5k"``, or a TOML file of your own.
    x : Tensor [T, B, ...], or mapping of input name to such
        Data that the cycles of a step are counted on.
    input_range : (int, int)
        Least and largest value of an input.
    clock : float
        Clock that the router aims at, Hz; the highest that it reached is returned.
    seed : int
        Of the placer.
    timeout : float
        Seconds for each tool.

    Raises
    ------
    ExportError
        When the network cannot be written as integers, or does not fit: cells needed and there, and what helps.
    InputError
        For a target that is no FPGA, a wrong clock or seed, or data that do not fit the network.
    TargetRunError
        When a tool is not installed, with its package, or fails.
    """
    chip, family = fpga_of(target)
    if not 0 < clock < math.inf:
        raise InputError(f"clock must be a positive number of Hz; got {clock!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise InputError(f"seed must be an integer from 0 to {2**31 - 1}; got {seed!r}.")
    integers = integer_network(net, target="Verilog", input_range=input_range)
    inputs = spikes_of(integers, x)
    design = design_of(integers)
    loaded = is_loaded(design, chip, family)
    design = design_of(integers, loaded=loaded)
    _check_memory(design, chip, family)
    tools.check(("yosys", family.router))
    with tempfile.TemporaryDirectory(prefix="neurosim-fpga-") as place:
        report = routed(design, chip, family, Path(place), clock=clock, seed=seed, timeout=timeout)
    cells = {name: cell for name, cell in family.cells.items() if name in chip.limits}
    if unknown := cells.values() - report["utilization"].keys():
        raise TargetRunError(
            f"the report of {family.router} counts no {', '.join(sorted(unknown))}; it has "
            f"{', '.join(report['utilization'])}. Use another version of {family.router}."
        )
    used = {name: int(report["utilization"][cell]["used"]) for name, cell in cells.items()}
    available = {name: int(chip.limits[name].number) // family.bits.get(name, 1) for name in used}
    reached = min(each["achieved"] for each in report["fmax"].values()) * 1e6
    cycles = cycles_per_step(integers, design.core, inputs, simulated(net, integers, x))
    return FpgaPlacement(chip.title, used, available, reached, cycles, inputs.shape[0], loaded)


def routed(
    design: Design, chip: Target, family: Family, folder: Path, *, clock: float, seed: int, timeout: float
) -> dict[str, dict[str, dict[str, float]]]:
    """Run the tools in a folder; return the router's report."""
    name = design.name
    for file, text in {**design.images(), f"{name}.v": design.source}.items():
        (folder / file).write_text(text)
    script = f"read_verilog {name}.v; {family.synthesis} -top {name} -json {name}.json"
    tools.run(["yosys", "-q", "-p", script], folder, timeout)
    part = ["--package", chip.fpga["package"], f"--{chip.fpga['device']}", "--json", f"{name}.json"]
    options = ["--freq", f"{clock / 1e6:g}", "--seed", str(seed), "--report", "report.json", "-q"]
    out = ["--asc", f"{name}.asc", "--pcf-allow-unconstrained"]
    if chip.fpga["family"] == "ecp5":
        out = ["--textcfg", f"{name}.config", "--lpf-allow-unconstrained"]
    log = folder / "router.log"
    try:
        tools.run([family.router, *part, *options, *out, "--log", log.name], folder, timeout)
    except TargetRunError:
        _check_counts(log.read_text() if log.exists() else "", chip, family)
        raise
    found: dict[str, dict[str, dict[str, float]]] = json.loads((folder / "report.json").read_text())
    return found


def _check_memory(design: Design, chip: Target, family: Family) -> None:
    """Refuse a design whose constants alone need more memory than there is."""
    needed = sum(values.size * design.core.widths[name] for name, values in design.core.memories.items())
    allowed = int(sum(chip.limits[name].number for name in family.bits if name in chip.limits))
    if needed > allowed:
        weights = design.core.memories["weights"].size
        raise ExportError(
            f"{chip.title} cannot hold this network: its {weights:,} weights of {design.core.weight_width} bits and "
            f"other constants need {needed:,} bits of memory; there are {allowed:,}. Use {REMEDIES['large_memory']}; "
            "or another FPGA."
        )


def _check_counts(log: str, chip: Target, family: Family) -> None:
    """Refuse a design of which the router counted more cells than there are."""
    names = {cell: name for name, cell in family.cells.items()}
    misfits = [
        f"needs {int(needed):,} {names[cell].replace('_', ' ')} ({cell}); there are {int(allowed):,}: use "
        f"{REMEDIES[names[cell]]}; or another FPGA"
        for cell, needed, allowed in re.findall(r"(\w+):\s*(\d+)/\s*(\d+)", log)
        if cell in names and int(needed) > int(allowed)
    ]
    if misfits:
        problems = Problems(f"{chip.title} cannot hold this network")
        for each in dict.fromkeys(misfits):
            problems.add("design", each)
        problems.raise_if_any()
