"""Several runs on one page."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurosim.cli import folder as run_folder
from neurosim.cli.products import settings_values
from neurosim.errors import InputError
from neurosim.report import Section, compare_curves, write_report


def write_comparison(folders: Sequence[Path], out: Path) -> list[dict[str, Any]]:
    """Write a page about runs that `train` wrote: metrics, settings that differ, learning curves; return the metrics.

    Raises
    ------
    InputError
        When a run is given twice.
    FileError
        When a folder holds no run that has finished, or a file in it is damaged.
    """
    places = [folder.resolve() for folder in folders]
    twice = next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"run {str(twice)!r} is given twice.")
    names = _names(places)
    settings = [settings_values(run_folder.settings_of(folder)) for folder in folders]
    metrics = [run_folder.metrics_of(folder) for folder in folders]
    histories = {name: run_folder.rows_of(folder) for name, folder in zip(names, folders, strict=True)}
    rows = [
        {"run": name, **{key: value for key, value in each.items() if key != "run" and _is_plain(value)}}
        for name, each in zip(names, metrics, strict=True)
    ]
    differ = [
        {"setting": key, **{name: _text(each.get(key)) for name, each in zip(names, settings, strict=True)}}
        for key in dict.fromkeys(key for each in settings for key in each)
        if len({_text(each.get(key)) for each in settings}) > 1
    ]
    identities = [run_folder.identity_of(folder) for folder in folders]
    about = [
        {"run": name, "folder": str(folder), "started": one.started, "seed": each.get("seed"), "neurosim": one.neurosim}
        for name, folder, one, each in zip(names, folders, identities, settings, strict=True)
    ]
    sections = [
        Section("Results", rows),
        Section("Settings", differ if differ else "No setting differs."),
        Section("Learning", compare_curves(histories)),
        Section("Runs", about),
    ]
    write_report(out, title=f"neurosim: {len(folders)} runs", sections=sections)
    return rows


def _names(places: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell the runs apart."""
    for depth in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-depth:]) for place in places]
        if len({*names}) == len(names):
            return names
    return [str(place) for place in places]


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, numbers.Real))


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
