"""Products of a trained run: plots, the energy report, the HTML page, the check against Lava."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from neurosim.cli.deploy import ALL_CHECK, FPGA, quantised
from neurosim.cli.results import evaluated
from neurosim.cli.runs import Finished, samples
from neurosim.cli.settings import Settings
from neurosim.energy import (
    DEFAULT_TARGETS,
    EnergyReport,
    LatencyReport,
    Traffic,
    chip_latency,
    count_operations,
    count_traffic,
    energy,
)
from neurosim.errors import InputError, NeurosimError
from neurosim.files.atomic import replaced
from neurosim.hardware import load_target
from neurosim.hardware.lava import Verification, verify
from neurosim.hardware.loihi.neurons import THRESHOLD_UNIT
from neurosim.hardware.placement import Placement, place
from neurosim.hardware.verilog import FpgaPlacement
from neurosim.network.network import Network
from neurosim.report import Section, energy_figure, learning_curve, raster, save_figure, traces, write_report
from neurosim.simulation import simulate
from neurosim.verdicts import TargetVerdicts

PLOTTED = 4  # samples in the raster
PLOTTED_COLUMNS = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy")
CLASSES = 20  # most classes of a table of confusions


def write_report_of(
    run: Finished,
    number: int,
    targets: Sequence[str],
    check: Verification | None = None,
    bits: int | None = None,
) -> tuple[EnergyReport, LatencyReport | None]:
    """Write the plots, ``energy.json``, ``latency.json`` and ``report.html``; return energy and time.

    There is no time where none of the targets is a chip. With `bits` they are those of the network quantised to weights
    of so many bits.
    """
    x, labels = samples(run.settings, run.split, number)
    net = run.net if bits is None else quantised(run, bits)
    x = x.to(next((p.dtype for p in net.parameters()), x.dtype))
    hidden = next(iter(net.neurons()))
    recording = simulate(net, x, record=[*net.neurons(), f"{hidden}.v"])
    operations = count_operations(net, x)
    chosen = tuple(targets) or DEFAULT_TARGETS
    placement, chip = placed_on(net, chosen, bits)
    traffic = [] if placement is None else traffic_on(placement, net, x)
    report = energy(operations, chosen, traffic)
    chips = [target for target in map(load_target, chosen) if target.kind == "chip"]
    times = chip_latency(net, x, chips, traffic, weight_bits=bits) if chips else None
    shown = list(range(min(PLOTTED, number)))
    threshold = net.neurons()[hidden].value("v_th")
    if bits is not None:
        threshold = THRESHOLD_UNIT * threshold
    figures = {
        "raster": raster(recording, samples=shown, labels=labels, title=f"Spikes of {len(shown)} test samples"),
        "traces": traces(recording, f"{hidden}.v", threshold=threshold),
        "learning": learning_curve([{k: row[k] for k in PLOTTED_COLUMNS if k in row} for row in run.history]),
        "energy": energy_figure(report),
    }
    for name, figure in figures.items():
        save_figure(figure, run.folder / f"{name}.png")
    report.to_json(run.folder / "energy.json")
    if times is not None:
        times.to_json(run.folder / "latency.json")
    rates = {name: f"{value:.1f} Hz" for name, value in recording.rates().items()}
    quantisation = (
        [] if bits is None else [f"Quantised to weights of {bits} bits; the figures below are of that network."]
    )
    metrics = {name: value for name, value in run.metrics.items() if name != "run"}
    sections = [
        Section("Result", metrics, *confusions(run), *quantisation, "Mean firing rates on the samples below:", rates),
        Section("Learning", figures["learning"]),
        Section("Spikes", figures["raster"], figures["traces"]),
        Section("Energy", report),
        *([] if times is None else [Section("Latency", times)]),
        Section("Settings", origin(run), "All settings, as in run.toml:", settings_values(run.settings)),
    ]
    if chip:
        sections.append(Section("Chip", *chip))
    if check is not None:
        sections.append(Section("Lava", *check.summary().splitlines()))
    if (run.folder / ALL_CHECK).exists():
        verdicts = TargetVerdicts.read(run.folder / ALL_CHECK)
        sections.append(Section("Targets", "As written by verify --against all:", verdicts.rows()))
    if (run.folder / FPGA).exists():
        placed = FpgaPlacement.read(run.folder / FPGA)
        sections.append(Section("FPGA", f"As placed and routed by neurosim place: {placed.target}.", placed.rows()))
    about = run.identity
    note = f"Run {about.id[:8]}, started {about.started} by neurosim {about.command}; seed {run.settings.seed}."
    write_report(run.folder / "report.html", title=f"neurosim: {run.settings.dataset}", sections=sections, note=note)
    return report, times


def confusions(run: Finished) -> list[str | list[dict[str, Any]]]:
    """Return the table of confusions on the test part: a row for each class, and how often it was taken for which."""
    classes = run.split.test.classes
    if len(classes) > CLASSES:
        return []
    counts = evaluated(run, "test", None, torch.device("cpu")).content["confusion"]
    rows = [
        {"class": name, **{f"as {other}": count for other, count in zip(classes, row, strict=True)}}
        for name, row in zip(classes, counts, strict=True)
    ]
    return ["Confusions on the test part (rows: the class; columns: what it was taken for):", rows]


def origin(run: Finished) -> dict[str, Any]:
    """Return where and with what the run was trained."""
    about = dataclasses.asdict(run.identity)
    sources = about.pop("sources")
    return {**about, **({"files": sources} if sources else {})}


def settings_values(settings: Settings) -> dict[str, Any]:
    """Return the settings that are given, by name."""
    shown = {}
    for name, value in settings.table().items():
        if value not in (None, ()):
            shown[name] = ", ".join(map(str, value)) if isinstance(value, tuple) else value
    return shown


def placed_on(
    net: Network, targets: Sequence[str], bits: int | None = None
) -> tuple[Placement | None, list[str | Placement]]:
    """Place the network on the first target that is a chip; return the placement and the content for a report."""
    for target in map(load_target, targets):
        if "cores" in target.limits and "neurons_per_core" in target.limits:
            try:
                placement = place(net, target, weight_bits=bits)
            except NeurosimError as error:
                return None, [f"The network cannot be placed on {target.title}: {error}"]
            return placement, [placement]
    return None, []


def traffic_on(placement: Placement, net: Network, x: torch.Tensor) -> list[Traffic]:
    """Return the traffic of a run; nothing where the network does not fit, or its delays are too short for a chip."""
    try:
        return [count_traffic(net, x, placement)]
    except InputError:
        return []


def check_lava(run: Finished, number: int, timeout: float) -> Verification:
    """Run the network as Lava processes, compare every spike, and write ``lava_check.json``."""
    x, _ = samples(run.settings, run.split, number)
    result = verify(run.net, x, timeout=timeout)
    _write(run.folder / "lava_check.json", result.to_json())
    return result


def plain(check: Verification) -> dict[str, Any]:
    """Return the comparison with Lava as plain values."""
    content: dict[str, Any] = json.loads(check.to_json())
    return content


def _write(path: Path, text: str) -> None:
    with replaced(path) as part:
        part.write_text(text, encoding="utf-8")
