"""The runs of an arena as a table, as plain values and as a page."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurosim.arena.catalogue import CONTESTS
from neurosim.files.atomic import json_text
from neurosim.quantities import quantity, significant
from neurosim.report.html import Section, write_report

_ABOUT = (
    "docs/arena.md says how the settings were chosen. The tested epoch is the best one of the validation part; for "
    "JapaneseVowels, the watch, Braille and N-MNIST the network is trained anew on both parts for all epochs. The test "
    "part is read once, at the end of a run. Scores are means and standard deviations over the seeds. A synaptic "
    "operation is a pair of a nonzero input and a nonzero weight; operations and energies are per inference, counted "
    "on 16 test samples. Energies are estimates by published figures per operation, not measured power."
)


@dataclass(frozen=True)
class Results:
    """What `run_arena` returns.

    Attributes
    ----------
    runs : tuple of dict
        One for each set and seed; see `neurosim.arena.measuring.run`.
    missing : mapping of str to str
        Why a set has no result, by its name.
    seconds : float
        Of all runs together, loading and testing included; the processes run side by side.
    quick : bool
        Whether this was a short pass that measures nothing.
    machine : mapping of str to str
        Processor, threads and versions.
    """

    runs: tuple[Mapping[str, Any], ...]
    missing: Mapping[str, str]
    seconds: float
    quick: bool = False
    machine: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each set: means over the seeds, and whether the bar was reached."""
        rows: list[dict[str, Any]] = []
        for name, contest in CONTESTS.items():
            runs = [run for run in self.runs if run["name"] == name]
            if not runs:
                if name in self.missing:
                    rows.append({"name": name, "title": contest.title, "missing": self.missing[name]})
                continue
            scores = [run["score"] for run in runs]
            mean: dict[str, float] = {
                key: statistics.fmean(run[key] for run in runs)
                for key in ("validation", "train_seconds", "parameters", "synaptic_operations", "dense_operations")
            }
            models = runs[0]["energy_J"]
            rows.append(
                {
                    "name": name,
                    "title": contest.title,
                    "measure": contest.measure,
                    "seeds": [run["seed"] for run in runs],
                    "score": statistics.fmean(scores),
                    "deviation": statistics.stdev(scores) if len(scores) > 1 else 0.0,
                    "scores": scores,
                    "bar": contest.bar,
                    "reached": None if self.quick else contest.reached(statistics.fmean(scores)),
                    **mean,
                    "peak_bytes": max(run["peak_bytes"] for run in runs),
                    "energy_J": {model: statistics.fmean(run["energy_J"][model] for run in runs) for model in models},
                }
            )
        return rows

    def _shown(self) -> list[dict[str, str]]:
        """Return the rows as texts, by the heading of their column."""
        shown = []
        for row in self.rows():
            if "missing" in row:
                shown.append({"set": row["title"], "test": "missing"})
                continue
            percent = 1.0 if row["measure"] == "smape" else 100.0
            unit = "" if row["measure"] == "smape" else " %"
            verdict = {None: "", True: "reached", False: "missed"}[row["reached"]]
            shown.append(
                {
                    "set": row["title"],
                    "test": f"{percent * row['score']:.2f} ± {percent * row['deviation']:.2f}{unit}",
                    "bar": f"{'<' if row['measure'] == 'smape' else '≥'} {percent * row['bar']:g} {verdict}".strip(),
                    "validation": f"{percent * row['validation']:.2f}",
                    "training": f"{row['train_seconds']:.1f} s",
                    "parameters": f"{row['parameters']:,.0f}",
                    "synaptic op.": f"{row['synaptic_operations']:,.0f}",
                    "if dense": f"{row['dense_operations']:,.0f}",
                    **{model: quantity(joules, "J") for model, joules in row["energy_J"].items()},
                    "peak memory": f"{row['peak_bytes'] / 2**20:.0f} MiB",
                }
            )
        return shown

    def _notes(self) -> list[str]:
        notes = [f"{CONTESTS[name].title} is missing: {reason}" for name, reason in self.missing.items()]
        if self.quick:
            notes.insert(0, "A quick pass over a few samples: it shows that everything runs, and measures nothing.")
        workers = self.machine.get("processes at a time", "1")
        return [*notes, f"{significant(self.seconds)} s of processes in all, {workers} at a time."]

    def table(self) -> str:
        """Return aligned text."""
        shown = self._shown()
        heads = list(dict.fromkeys(key for row in shown for key in row))
        cells = [heads, *([row.get(head, "") for head in heads] for row in shown)]
        widths = [max(len(line[k]) for line in cells) for k in range(len(heads))]
        lines = [
            "  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True)))
            for line in cells
        ]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], *self._notes()])

    __str__ = table

    def to_dict(self) -> dict[str, Any]:
        """Return all as plain values."""
        return {
            "quick": self.quick,
            "seconds": self.seconds,
            "machine": dict(self.machine),
            "rows": self.rows(),
            "missing": dict(self.missing),
            "runs": [dict(run) for run in self.runs],
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write `to_dict` as JSON to a file, where one is given, and return the text."""
        return json_text(self.to_dict(), path)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one HTML file that needs no other."""
        shown = self._shown()
        heads = list(dict.fromkeys(key for row in shown for key in row))
        full = [{head: row.get(head, "") for head in heads} for row in shown]
        present = [contest for name, contest in CONTESTS.items() if any(run["name"] == name for run in self.runs)]
        sources: Sequence[Mapping[str, str]] = [
            {
                "set": contest.title,
                "tested on": contest.about,
                "split": contest.described.split,
                "validation": contest.described.validation,
                "licence": contest.described.licence,
                "citation": contest.described.citation,
            }
            for contest in present
        ]
        sections = [
            Section("Results", *([full] if full else []), *self._notes()),
            Section("How it was measured", _ABOUT),
        ]
        if self.runs:
            seeds = [
                {
                    "set": CONTESTS[run["name"]].title,
                    "seed": run["seed"],
                    "test": run["score"],
                    "validation": run["validation"],
                    "training, s": run["train_seconds"],
                }
                for run in self.runs
            ]
            nb = [{"set": CONTESTS[run["name"]].title, "seed": run["seed"], **run["neurobench"]} for run in self.runs]
            sections += [
                Section("Seeds", seeds),
                Section("By the definitions of NeuroBench", nb),
                Section("Data", sources),
            ]
        if self.machine:
            sections.append(Section("Machine", self.machine))
        return write_report(path, title="Arena", sections=sections, note="neurosim arena")
