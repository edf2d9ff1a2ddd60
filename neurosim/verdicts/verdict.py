"""What a judge found of a network on a target: exact, bounded, refused, or worse."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from neurosim.errors import FileError, InputError
from neurosim.files.atomic import json_text
from neurosim.files.notebook import text_html

Outcome = Literal["exact", "bounded", "refused", "missing", "silent", "differs", "failed"]
MEANINGS: Mapping[Outcome, str] = {
    "exact": "everything that was compared is equal",
    "bounded": "the target computes something else, by the stated amount, and its judge agrees on what",
    "refused": "the target cannot hold the network; nothing was written",
    "missing": "the judge is not installed",
    "silent": "nothing could have differed: no population sent a spike",
    "differs": "the judge found another result",
    "failed": "the judge did not finish",
}
_WRONG = ("silent", "differs", "failed")


@dataclasses.dataclass(frozen=True)
class TargetVerdict:
    """The result for one target. Made by `exact`, `bounded` and `refused`.

    Attributes
    ----------
    outcome : str
        A key of `MEANINGS`.
    judge : str
        The program that judged, with its version.
    compared : int
        Number of values that were compared with those of the judge.
    differing : int
        Number of these that differ.
    bound : float or None
        Of the outputs of all populations, the share that differs from the network given; None where it is the same
        network.
    why : str
        Reason for the bound, for the refusal, and what to change.
    """

    outcome: Outcome
    judge: str = ""
    compared: int = 0
    differing: int = 0
    bound: float | None = None
    why: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether the target gave another result than it should, or nothing was shown."""
        return self.outcome in _WRONG

    def result(self) -> str:
        """Return the numbers as text."""
        compared = f"{self.differing:,} of {self.compared:,} differ" if self.compared else ""
        share = "" if self.bound is None else f"{self.bound:.2%} of the outputs are not those of the network given"
        return "; ".join(part for part in (compared, share) if part)


def exact(judge: str, compared: int, differing: int = 0, why: str = "") -> TargetVerdict:
    """Return the verdict on a target that must compute the network as it is.

    Parameters
    ----------
    judge : str
    compared, differing : int
        Values compared with the judge's, and those that differ. One that differs gives ``"differs"``, a comparison of
        nothing ``"silent"``.
    why : str, optional
    """
    if not compared and not differing:
        return TargetVerdict("silent", judge, why="nothing was compared: give an input at which the network spikes")
    return TargetVerdict("differs" if differing else "exact", judge, compared, differing, why=why)


def bounded(judge: str, compared: int, differing: int, bound: float, why: str) -> TargetVerdict:
    """Return the verdict on a target that computes a rounded network, equal to its judge's.

    Parameters
    ----------
    judge, compared, differing
        As in `exact`: the rounded network here and the judge.
    bound : float
        Share of the outputs that differ from the network given.
    why : str
        What was rounded.
    """
    found = exact(judge, compared, differing, why)
    return dataclasses.replace(found, outcome="bounded", bound=bound) if found.outcome == "exact" else found


def refused(error: Exception) -> TargetVerdict:
    """Return the verdict on a target that refused the network with this error."""
    return TargetVerdict("refused", why=str(error))


@dataclasses.dataclass(frozen=True)
class TargetVerdicts:
    """The verdicts on all targets, by the name of the target. Made by `verify_all`."""

    targets: Mapping[str, TargetVerdict]

    @property
    def agrees(self) -> bool:
        """Whether no verdict is wrong; a target that refuses, or whose judge is missing, gave no result."""
        return not any(verdict.is_wrong for verdict in self.targets.values())

    def __getitem__(self, name: str) -> TargetVerdict:
        """Return the verdict on a target."""
        if name not in self.targets:
            raise InputError(f"no target {name!r} was judged; there are {list(self.targets)}.")
        return self.targets[name]

    def rows(self) -> list[dict[str, str]]:
        """Return one row for each target, as text."""
        return [
            {"target": name, "verdict": v.outcome, "compared": v.result(), "judge": v.judge, "why": v.why}
            for name, v in self.targets.items()
        ]

    def table(self) -> str:
        """Return aligned text: a row for each target, and the reasons below."""
        rows = self.rows()
        names = ("target", "verdict", "compared", "judge")
        cells = [names, *(tuple(row[name] for name in names) for row in rows)]
        widths = [max(len(line[k]) for line in cells) for k in range(len(names))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
        lines.insert(1, "-" * max(map(len, lines)))
        reasons = [f"{row['target']}: {row['why']}" for row in rows if row["why"]]
        return "\n".join((*lines, *(["", *reasons] if reasons else [])))

    __str__ = table

    def _repr_html_(self) -> str:
        return text_html(self.table())

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return everything as JSON text, and write it to `path` if given."""
        content = {name: dataclasses.asdict(verdict) for name, verdict in self.targets.items()}
        return json_text({"agrees": self.agrees, "targets": content}, path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> TargetVerdicts:
        """Read what `to_json` wrote.

        Raises
        ------
        FileError
            When the file is missing or holds something else.
        """
        try:
            content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            read = cls({name: TargetVerdict(**fields) for name, fields in content["targets"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{path} holds no verdicts ({error}). Write them with verify --against all.") from error
        unknown = [v.outcome for v in read.targets.values() if v.outcome not in MEANINGS]
        if unknown:
            raise FileError(f"{path} holds the verdict {unknown[0]!r}; there are {', '.join(MEANINGS)}.")
        return read
