"""Results of a study that takes long: kept in a file one by one, so that a run that was stopped goes on from there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neurosim.errors import FileError
from neurosim.files.atomic import replaced


class Results:
    """Results of a study in a file of JSON: its settings, and one row for each part that is done.

    The file is whole at any time. It is read again by a run with the same settings, which then does only what is
    missing; a run with other settings starts anew in its place.

    Parameters
    ----------
    path : path-like
        Where the file lies or shall lie.
    settings : mapping of str to any
        All that the results depend on but what `once` is told, of values that JSON knows.

    Attributes
    ----------
    rows : list of dict
        What is there, in the order it was done.

    Raises
    ------
    FileError
        When the file cannot be read or written, or does not hold results.

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
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
        except (OSError, ValueError) as error:
            raise FileError(
                f"cannot read {self.path} as results: {error}. Move it away or name another file."
            ) from error
        if isinstance(kept, dict) and kept.get("settings") == self.settings:
            self.rows = kept["results"]

    def once(self, part: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return the row of `part`, from the file if it is there, or made and then kept.

        Parameters
        ----------
        part : mapping of str to any
            What names the part: a seed, a method. The row begins with it.
        make : callable
            Does the work and returns the rest of the row.
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
