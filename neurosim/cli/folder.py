"""The folder of a run: its settings, its identity and its results, each read within limits and checked."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import math
import platform
import socket
import uuid
from pathlib import Path
from typing import Any

from neurosim.cli.settings import Settings, read_settings
from neurosim.errors import FileError, InputError
from neurosim.files.atomic import json_text, replaced
from neurosim.files.paths import contents
from neurosim.files.tables import read_json

FORMAT = "neurosim run"
SETTINGS, IDENTITY, METRICS, HISTORY, LAST = "run.toml", "run.json", "metrics.json", "history.json", "last.pt"
# All that commands write to the folder of a run. A new run in the folder removes them.
PRODUCTS = (
    *(SETTINGS, IDENTITY, METRICS, HISTORY, LAST, "best.pt"),
    *("report.html", "raster.png", "traces.png", "learning.png", "energy.png", "energy.json", "latency.json"),
    *("quantised.json", "lava_check.json", "nir_check.json", "integer_check.json", "all_check.json"),
    *("xylosim_check.json", "lava.npz", "network.nir", "network.net", "xylo.json", "fpga.json"),
)
_LARGEST_SOURCE = 2**26  # bytes of a user's file that is part of a run


@dataclasses.dataclass(frozen=True)
class RunIdentity:
    """What a run is, apart from its settings: written once, when the run starts.

    Attributes
    ----------
    id : str
        32 hexadecimal digits, different for each run.
    started : str
        Date and time, ISO 8601.
    command : str
        ``"train"`` or ``"demo"``.
    neurosim, torch, python, host : str
        Versions, and the name of the computer.
    sources : dict of str to str
        SHA-256 of each of the user's files that are part of the run: networks, rules, losses, cards.
    """

    id: str
    started: str
    command: str
    neurosim: str
    torch: str
    python: str
    host: str
    sources: dict[str, str]

    @classmethod
    def new(cls, settings: Settings, command: str) -> RunIdentity:
        """Return the identity of a run that starts now."""
        import torch

        from neurosim import __version__

        return cls(
            id=uuid.uuid4().hex,
            started=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            command=command,
            neurosim=__version__,
            torch=torch.__version__,
            python=platform.python_version(),
            host=socket.gethostname(),
            sources=_sources(settings),
        )


def holds_run(folder: Path) -> bool:
    """Return whether a folder holds a run, complete or not."""
    return any((folder / name).exists() for name in (SETTINGS, IDENTITY, METRICS, HISTORY, LAST, "best.pt"))


def clear(folder: Path) -> None:
    """Remove all that commands have written for a run; other files in the folder stay."""
    for name in PRODUCTS:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise FileError(f"cannot remove {folder / name}: {error.strerror or error}. Train in another.") from error


def write_start(folder: Path, settings: Settings, identity: RunIdentity) -> None:
    """Write identity and settings."""
    json_text({"format": FORMAT, **dataclasses.asdict(identity)}, folder / IDENTITY)
    write_settings(folder, settings)


def write_settings(folder: Path, settings: Settings) -> None:
    """Write the settings."""
    with replaced(folder / SETTINGS) as part:
        part.write_text(settings.toml(), encoding="utf-8")


def settings_of(folder: Path) -> Settings:
    """Read the settings of a run.

    Raises
    ------
    FileError
        When the folder holds no run, or the file is damaged.
    """
    return Settings.of(read_settings(_present(folder, SETTINGS)))


def identity_of(folder: Path) -> RunIdentity:
    """Read the identity of a run.

    Raises
    ------
    FileError
        When the file is missing or damaged.
    """
    path = _present(folder, IDENTITY)
    content = read_json(path)
    names = [field.name for field in dataclasses.fields(RunIdentity)]
    if (
        not isinstance(content, dict)
        or content.get("format") != FORMAT
        or {*content} != {"format", *names}
        or not all(isinstance(content[name], str) for name in names if name != "sources")
        or not isinstance(content["sources"], dict)
        or not all(isinstance(digest, str) for digest in content["sources"].values())
    ):
        raise FileError(f"{path} is not the identity of a run; it is left unchanged. Train again.")
    return RunIdentity(**{name: content[name] for name in names})


def metrics_of(folder: Path) -> dict[str, Any]:
    """Read the results of a finished run.

    Raises
    ------
    FileError
        When the run is not finished, the file is damaged, or it belongs to another run.
    """
    path = _present(folder, METRICS)
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(v, str | int | float | None) for v in content.values()):
        raise FileError(f"{path} does not hold the results of a run; it is left unchanged. Train again.")
    run = identity_of(folder).id
    if content.get("run") != run:
        raise FileError(f"{path} belongs to another run than {folder / IDENTITY}, {run}. Train again.")
    return content


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Read the epochs of a finished run.

    Raises
    ------
    FileError
        When the file is missing or damaged.
    """
    path = _present(folder, HISTORY)
    content = read_json(path)
    rows = content.get("rows") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows or not all(map(_is_row, rows)) or len({tuple(row) for row in rows}) != 1:
        raise FileError(f"{path} does not hold the epochs of a run; it is left unchanged. Train again.")
    return [{name: math.nan if value is None else value for name, value in row.items()} for row in rows]


def check_sources(folder: Path, settings: Settings, identity: RunIdentity) -> None:
    """Refuse a run whose networks, rules, losses or cards in the user's files have changed since it started.

    Raises
    ------
    FileError
        For a file that is missing or has changed.
    """
    for path, digest in _sources(settings).items():
        if identity.sources.get(path) != digest:
            raise FileError(f"{path} has changed since the run in {folder} started, {identity.started}. Restore it.")


def check_continued(folder: Path, settings: Settings) -> None:
    """Refuse settings other than those of the run in a folder; the number of epochs alone may change.

    Raises
    ------
    InputError
        When another setting differs; the message lists them.
    """
    own = settings_of(folder)
    found = own.differences(dataclasses.replace(settings, epochs=own.epochs))
    if found:
        raise InputError(
            f"a resumed run keeps its settings, except epochs; in {folder} {'; '.join(found)}. Leave them out or "
            "train in another folder."
        )


def _present(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.exists():
        raise FileError(
            f"no {name} in {folder}; give a folder in which `neurosim train` or `neurosim demo` has finished."
        )
    return path


def _is_row(row: object) -> bool:
    return (
        isinstance(row, dict)
        and {"epoch", "loss", "accuracy"} <= {*row}
        and all(value is None or isinstance(value, int | float) for value in row.values())
    )


def _sources(settings: Settings) -> dict[str, str]:
    """Return the digest of each of the user's files that settings name."""
    named = [
        str(value).rpartition(":")[0]
        for value in (settings.network, settings.rule, settings.loss, settings.dataset)
        if value is not None and ".py:" in value
    ]
    if settings.dataset.endswith(".toml"):
        named.append(settings.dataset)
    digest = {name: hashlib.sha256(contents(name, limit=_LARGEST_SOURCE)).hexdigest() for name in named}
    return dict(sorted(digest.items()))
