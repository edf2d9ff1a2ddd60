"""What ``neurosim data`` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neurosim.cli.results import Result, table
from neurosim.datasets import Split, Unverified, card, dataset_names, load
from neurosim.datasets.cards import Card
from neurosim.datasets.events import SensorEvents, read_events, read_nirdata, write_events, write_nirdata
from neurosim.datasets.fetching import fetch
from neurosim.datasets.pictures import sample_of, write_picture
from neurosim.errors import FileError, InputError


def listed() -> Result:
    """List the data sets."""
    found = {each: card(each).title for each in dataset_names()}
    return Result(table("Data sets:", found), found)


def described(name: str) -> Result:
    """Describe a data set by its card."""
    about = card(name)
    content: dict[str, Any] = {
        key: str(value) if isinstance(value, Path) else value for key, value in dataclasses.asdict(about).items()
    }
    shown = {
        "samples": ", ".join(f"{part} {number:,}" for part, number in about.counts.items()),
        "shape": " x ".join(map(str, about.shape)),
        "sampling": about.sampling,
        "classes": f"{len(about.classes)}: {', '.join(about.classes)}" if about.classes else "none",
        "split": about.split,
        "validation": about.validation,
        "source": about.source,
        "download": about.download,
        "access": _access(about),
        "licence": about.licence,
        "citation": about.citation,
        "files": ", ".join(_file(file.name, file.sha256, file.md5) for file in about.files) or "none",
        "note": about.note,
    }
    return Result(table(f"{about.name}: {about.title}", {key: text for key, text in shown.items() if text}), content)


def _access(about: Card) -> str:
    return {
        "direct": f"neurosim data fetch {about.name}",
        "browser": f"fetch the files with a browser, then neurosim data fetch {about.name} --file PATH",
        "package": "a package has the data; see download",
        "generated": "computed",
    }[about.access]


def _file(name: str, sha256: str | None, md5: str | None) -> str:
    digest = f"sha256 {sha256[:12]}..." if sha256 else "md5 alone" if md5 else "no digest known"
    return f"{name} ({digest})"


def fetched(
    name: str, root: Path | None, files: Sequence[Path], confirm: Callable[[Unverified], bool], *, progress: bool
) -> Result:
    """Fetch the files of a data set."""
    bar = _Bar() if progress else None
    try:
        folder = fetch(name, root, files=files, confirm=confirm, progress=bar)
    finally:
        if bar is not None:
            bar.close()
    return Result(f"{card(name).name} is in {folder}.", {"name": card(name).name, "folder": str(folder)})


class _Bar:
    """A progress bar for each file in turn."""

    def __init__(self) -> None:
        self._name = ""
        self._bar: Any = None

    def __call__(self, name: str, done: int, total: int | None) -> None:
        from tqdm import tqdm

        if name != self._name or self._bar is None:
            self.close()
            self._name = name
            self._bar = tqdm(total=total, unit="B", unit_scale=True, desc=name, initial=0, leave=False)
        self._bar.n = done
        self._bar.refresh() if done == total else self._bar.update(0)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def converted(
    source: Path, target: Path, shape: str | None, kind: str | None, to: str | None, repair: Sequence[str]
) -> Result:
    """Convert a file of events, and compare what is read back with what was read."""
    events = _read(source, shape, kind, repair)
    is_nir = to == "nirdata" or (to is None and target.suffix.lower() == ".nir")
    if is_nir:
        write_nirdata(target, events)
        again = read_nirdata(target, shape=events.shape)
    else:
        write_events(target, events, kind=to)
        again = read_events(target, shape=events.shape, kind={"evt2": "raw", "evt3": "raw"}.get(to or "", to))
    if again != events:
        raise FileError(f"{target} was written, but what is read back differs from {source}. Report this.")
    text = f"Wrote {target}: {len(events):,} events of shape {list(events.shape)}, {events.first} to {events.last} us."
    return Result(text, {"written": str(target), "events": len(events), "shape": list(events.shape)})


def shown(
    source: str,
    out: Path,
    root: Path | None,
    part: str,
    sample: int,
    frames: int,
    shape: str | None,
    kind: str | None,
) -> Result:
    """Draw a sample of a data set, or a file of events."""
    path = Path(source)
    if path.is_file() and path.suffix != ".toml":
        drawn, label, where = _read(path, shape, kind, ()), "", source
    else:
        loaded = load(source, root)
        data = {"train": loaded.train, "test": loaded.test} if isinstance(loaded, Split) else loaded
        if part not in data:
            raise InputError(f"part = {part!r}, but {source} has {', '.join(data)}.")
        drawn, label = sample_of(data[part], sample)
        where = f"{source}, sample {sample} of {part}"
    write_picture(out, drawn, frames=frames)
    named = f", {label}" if label else ""
    return Result(f"Wrote {out}: {where}{named}.", {"written": str(out), "source": source, "label": label})


def _read(path: Path, shape: str | None, kind: str | None, repair: Sequence[str]) -> SensorEvents:
    sensor = None if shape is None else _shape(shape)
    if path.suffix.lower() == ".nir" or kind == "nirdata":
        return read_nirdata(path, shape=sensor)
    return read_events(path, shape=sensor, kind=kind, repair=repair)


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(side) for side in text.replace("x", ",").split(","))
    except ValueError as error:
        raise InputError(f"--shape {text!r}: give integers with commas, such as 2,34,34.") from error
