"""Results of a long study in a JSON file, written one by one, so that an interrupted run continues."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neurosim.errors import FileError
from neurosim.files.atomic import replaced
from neurosim.files.tables import read_json


class Results:
    """Results of a study in a JSON file: its settings, and one row per finished part.

    The file is complete at any time. A run with the same settings reads it and computes only the missing parts; a run
    with other settings is refused, and the file is left as it is.

    Parameters
    ----------
    path : path-like
        The file; created if missing.
    settings : mapping of str to any
        Everything that the results depend on except the argument of `once`, as JSON values.

    Attributes
    ----------
    rows : list of dict
        The finished rows, in order.

    Raises
    ------
    FileError
        When the file cannot be read or written, does not contain results, or contains those of other settings.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from results import Results
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "result.json"
    >>> for run in range(2):
    ...     results = Results(file, {"epochs": 3})
    ...     for seed in (0, 1):
    ...         row = results.once({"seed": seed}, lambda: print("working") or {"accuracy": 0.9})
    working
    working
    seed 0: from ...result.json
    seed 1: from ...result.json
    >>> row
    {'seed': 1, 'accuracy': 0.9}
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))
        self.rows: list[dict[str, Any]] = []
        if self.path.exists():
            self.rows = self._kept(read_json(self.path))

    def _kept(self, content: Any) -> list[dict[str, Any]]:
        """Return the rows of a file of the same settings."""
        rows = content.get("results") if isinstance(content, dict) else None
        settings = content.get("settings") if isinstance(content, dict) else None
        if not isinstance(settings, dict) or not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
            raise FileError(f"cannot read {self.path} as results. Move it or give another file.")
        names = [name for name in {**settings, **self.settings} if settings.get(name) != self.settings.get(name)]
        if names:
            found = ", ".join(f"{name} {settings.get(name)!r}, now {self.settings.get(name)!r}" for name in names)
            raise FileError(f"{self.path} holds results of other settings: {found}. Give another file, or remove it.")
        return rows

    def once(self, part: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return the row of `part`, read from the file or computed and written.

        Parameters
        ----------
        part : mapping of str to any
            Identifies the part, such as a seed or a method. The row begins with it.
        make : callable
            Computes the rest of the row.
        """
        named: dict[str, Any] = json.loads(json.dumps(dict(part)))
        for row in self.rows:
            if all(key in row and row[key] == value for key, value in named.items()):
                print(f"{', '.join(f'{key} {value}' for key, value in named.items())}: from {self.path}", flush=True)
                return row
        made: dict[str, Any] = json.loads(json.dumps(named | dict(make())))
        self.rows.append(made)
        with replaced(self.path) as file:
            file.write_text(json.dumps({"settings": self.settings, "results": self.rows}, indent=2) + "\n")
        return made
