"""Numbers of a training run: one row per epoch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from neurosim.errors import InputError
from neurosim.files.atomic import replaced
from neurosim.files.notebook import table_html


@dataclass
class History:
    """The rows of a run, one dict per finished epoch.

    Keys: `epoch` (from 1), `loss`, one per metric, the same with `validation_` before them where there is a
    validation set, `learning_rate` (of the first parameter group, during the epoch), `seconds`.

    Examples
    --------
    >>> history = History([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}])
    >>> history["loss"], history.last["loss"]
    ([2.0, 1.5], 1.5)
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    stopped_early: bool = False

    def __getitem__(self, name: str) -> list[Any]:
        """Return one column, a value per epoch."""
        if not self.rows or name not in self.rows[0]:
            known = ", ".join(self.rows[0]) if self.rows else "none, no epoch was finished"
            raise InputError(f"the history has no column {name!r}. Columns: {known}.")
        return [row[name] for row in self.rows]

    def __len__(self) -> int:
        """Return the number of finished epochs."""
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the rows."""
        return iter(self.rows)

    @property
    def last(self) -> dict[str, Any]:
        """The row of the last finished epoch."""
        if not self.rows:
            raise InputError("the history is empty: no epoch was finished.")
        return self.rows[-1]

    def _repr_html_(self) -> str:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        rows = [[row.get(name, "") for name in columns] for row in self.rows]
        ended = ", stopped early" if self.stopped_early else ""
        return table_html(f"{len(self)} epochs{ended}", columns, rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write rows and `stopped_early` as JSON, completely or not at all; null replaces NaN and infinity."""
        rows = [{name: value if math.isfinite(value) else None for name, value in row.items()} for row in self.rows]
        text = json.dumps({"rows": rows, "stopped_early": self.stopped_early}, indent=2, allow_nan=False)
        with replaced(path) as part:
            part.write_text(text + "\n")
