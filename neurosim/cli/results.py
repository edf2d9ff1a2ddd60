"""Test a run, and describe what neurosim reads: runs, checkpoints, networks, recordings, chips."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from neurosim.cli import deploy, runs
from neurosim.cli import folder as run_folder
from neurosim.cli.runs import Finished
from neurosim.errors import FileError, InputError
from neurosim.hardware import load_target, target_names
from neurosim.learning import evaluate, load_checkpoint
from neurosim.network import Network
from neurosim.recording.recording import Recording

_CONFUSIONS = 5  # pairs of classes that are printed


@dataclasses.dataclass(frozen=True)
class Result:
    """Text for people and the same in plain values."""

    text: str
    content: Any


def evaluated(run: Finished, part: str, samples: int | None, device: torch.device) -> Result:
    """Test a run on a part of its dataset."""
    data = run.split.test if part == "test" else run.split.train
    if samples is not None:
        if samples > len(data):
            raise InputError(f"samples must be between 1 and {len(data)}; got {samples}.")
        data = data.subset(slice(samples))
    measure = runs.loss(run.settings)
    confusion = torch.zeros(len(data.classes), len(data.classes), dtype=torch.int64)

    def confusions(output: torch.Tensor, target: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        confusion.index_put_(
            (target.cpu(), predicted.cpu()), torch.ones(len(target), dtype=torch.int64), accumulate=True
        )
        return (predicted == target).float().mean()

    batches = runs.test_batches(run.settings, data)
    scores = evaluate(run.net, batches, loss=measure, metrics=(confusions,), device=device)
    accuracy = scores["confusions"]
    content = {
        "run": run.identity.id,
        "part": part,
        "samples": len(data),
        "loss": scores["loss"],
        "accuracy": accuracy,
        "classes": list(data.classes),
        "confusion": confusion.tolist(),
    }
    lines = [f"Accuracy {accuracy:.2%}, loss {scores['loss']:.4g} on {len(data)} samples ({part})."]
    wrong = confusion.clone().fill_diagonal_(0)
    for place in wrong.flatten().argsort(descending=True, stable=True)[:_CONFUSIONS].tolist():
        true, taken = divmod(place, len(data.classes))
        if count := int(wrong[true, taken]):
            lines.append(
                f"  {count} of {int(confusion[true].sum())} {data.classes[true]} taken for {data.classes[taken]}"
            )
    return Result("\n".join(lines), content)


def described(source: Path, dt: float | None, time_unit: float | None = None, picture: Path | None = None) -> Result:
    """Describe a run, a checkpoint, a network or a recording; draw the graph of a NIR file."""
    kind = source.suffix.lower()
    if picture is not None and kind != ".nir":
        raise InputError(f"--picture draws the graph of a .nir file; got {source}. Export a run with --to nir first.")
    if source.is_dir():
        return _run(source)
    if kind == ".pt":
        saved = load_checkpoint(source)
        tensors = {name: list(value.shape) for name, value in saved.network.items()}
        epoch = None if saved.training is None else saved.training.get("epoch")
        head = f"Checkpoint of {len(tensors)} tensors" + (
            "." if epoch is None else f", after {epoch} epochs of training."
        )
        return Result(table(head, tensors), {"tensors": tensors, "epoch": epoch})
    if kind in (".nir", ".net"):
        net = deploy.network_of(source, dt, time_unit=time_unit)
        populations, engine = _populations(net), net.explain().circuit.summary
        text = f"{table(f'Network of {source.name}:', populations)}\n  {engine}"
        if picture is not None:
            from neurosim.exchange.nir import draw_nir

            text += f"\nWrote {draw_nir(source, picture)}."
        return Result(text, {"populations": populations, "engine": engine})
    if kind in (".h5", ".hdf5"):
        with Recording.load(source) as recording:
            rates = {name: f"{hertz:.4g} Hz" for name, hertz in recording.rates().items()}
            traces = {name: list(trace.shape) for name, trace in recording.traces.items()}
            content = {"steps": recording.T, "dt": recording.dt, "rates": recording.rates(), "traces": traces}
            head = f"Recording of {recording.T} steps of {recording.dt:g} s."
        return Result(table(head, {**rates, **traces}), content)
    raise FileError(f"{source} is neither the folder of a run nor a .pt, .nir, .net or .h5 file. Check the path.")


def targets(name: str | None) -> Result:
    """List the chips and energy models, or describe one."""
    if name is None:
        found = {each: load_target(each).title for each in target_names()}
        return Result(table("Chips and energy models:", found), found)
    target = load_target(name)
    sections = {
        section: {
            key: {"value": q.value, "unit": q.unit, "source": q.source} for key, q in getattr(target, section).items()
        }
        for section in ("limits", "storage", "mesh", "precision", "parameters", "energy", "time")
    }
    lines = [f"{target.name}: {target.title}", target.summary]
    if target.energy_not_public:
        lines.append(f"No energies: {target.energy_not_public}")
    if target.time_not_public:
        lines.append(f"No times: {target.time_not_public}")
    for section, quantities in sections.items():
        lines += [f"{section}:"] if quantities else []
        for key, q in quantities.items():
            value = ", ".join(f"{v:g}" for v in q["value"]) if isinstance(q["value"], tuple) else f"{q['value']:g}"
            lines.append(f"  {key:28} {value} {q['unit']}")
    about = {"name": target.name, "title": target.title, "summary": target.summary, "path": str(target.path)}
    return Result("\n".join(lines), {**about, **sections})


def _run(folder: Path) -> Result:
    settings, identity = run_folder.settings_of(folder), run_folder.identity_of(folder)
    finished = (folder / run_folder.METRICS).exists()
    metrics = run_folder.metrics_of(folder) if finished else {}
    net = runs.open_run(folder).net if finished else None
    populations = {} if net is None else _populations(net)
    engine = "" if net is None else net.explain().circuit.summary
    shown = {
        "run": identity.id,
        "started": f"{identity.started} on {identity.host}, neurosim {identity.neurosim}, torch {identity.torch}",
        **{name: value for name, value in settings.table().items() if value not in (None, ())},
    }
    lines = [table(f"Run in {folder}{'' if finished else ', not finished'}:", shown)]
    if finished:
        lines.append(table("Results:", {key: value for key, value in metrics.items() if key != "run"}))
        lines += [table("Populations:", populations), f"  {engine}"]
    content = {
        "identity": dataclasses.asdict(identity),
        "settings": settings.table(),
        "finished": finished,
        "metrics": metrics,
        "populations": populations,
        "engine": engine,
    }
    return Result("\n".join(lines), content)


def _populations(net: Network) -> dict[str, str]:
    return {
        name: f"{math.prod(net.shape(name)):,} {neuron.core.name} neurons {list(net.shape(name))}"
        for name, neuron in net.neurons().items()
    }


def table(head: str, rows: dict[str, Any]) -> str:
    """Return a heading and a line for each row, names in one column."""
    width = max(map(len, rows), default=0)
    return "\n".join([head, *(f"  {name:{width}}  {_shown(value)}" for name, value in rows.items())])


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
