"""The result of a placement: which neurons are on which core, what is limiting, and what does not fit."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.errors import InputError
from neurosim.files.atomic import json_text
from neurosim.files.notebook import text_html
from neurosim.hardware.placement.keys import LIMITS
from neurosim.hardware.targets import Target

MEMORY = {"synapse_memory_per_core", "memory_per_core"}


@dataclass(frozen=True, eq=False)
class Part:
    """The neurons of one population on one core.

    Attributes
    ----------
    core : int
        Number of the core, from 0, continued over all chips.
    neurons : numpy.ndarray of int64
        Indices in the flattened population.
    use : mapping of str to int
        Resources used, by limit; memory in bits.
    storage : mapping of str to str
        How each edge is stored: ``"dense"``, ``"sparse"`` or ``"shared"``.
    """

    core: int
    neurons: np.ndarray
    use: Mapping[str, int]
    storage: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Placed:
    """One population.

    Attributes
    ----------
    name : str
    shape : tuple of int
    parts : tuple of Part
        Empty where a single neuron is too large for a core.
    as_one_core : mapping of str to float
        Resources of the full population as a share of each limit of one core: 1.72 of synapse memory needs at least
        two cores.
    """

    name: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    as_one_core: Mapping[str, float]

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def binds(self) -> str:
        """The limit that requires the most cores."""
        return max(self.as_one_core, key=self.as_one_core.__getitem__)


@dataclass(frozen=True)
class Misfit:
    """A limit that a placement exceeds.

    Attributes
    ----------
    where : str
        Population, edge or ``"network"``.
    limit : str
        Key of the limit in the target's file.
    needed, allowed : float
    what : str
        A sentence about it.
    remedies : tuple of str
        Changes that would make it fit, each sufficient by itself.
    """

    where: str
    limit: str
    needed: float
    allowed: float
    what: str
    remedies: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {**vars(self), "remedies": list(self.remedies)}


@dataclass(frozen=True, eq=False)
class Placement:
    """A network on the cores of a chip. Made by `place`.

    Attributes
    ----------
    target : Target
    weight_bits : int
    chips : int
        Number of chips allowed.
    populations : tuple of Placed
    limits : mapping of str to int
        Limits of a core; memory in bits.
    misfits : tuple of Misfit
        Empty where everything fits.
    notes : tuple of str
        Remarks on the numbers.
    hops : mapping of str to (float, float, float)
        For each population, the mean distance of a spike: tiles east or west, tiles north or south, and deliveries to
        other chips, summed over the cores it is sent to. Empty where the mesh of the chip is not known.
    """

    target: Target
    weight_bits: int
    chips: int
    populations: tuple[Placed, ...]
    limits: Mapping[str, int]
    misfits: tuple[Misfit, ...]
    notes: tuple[str, ...]
    hops: Mapping[str, tuple[float, float, float]]

    @property
    def fits(self) -> bool:
        """Whether everything fits."""
        return not self.misfits

    @property
    def sizes(self) -> dict[str, int]:
        """Number of neurons of each population."""
        return {one.name: one.neurons for one in self.populations}

    @property
    def cores(self) -> int:
        """Number of cores used."""
        return sum(len(one.parts) for one in self.populations)

    @property
    def cores_per_chip(self) -> int:
        """Cores of one chip."""
        return int(self.target.limits["cores"].number)

    @property
    def chips_used(self) -> int:
        """Number of chips that the used cores fill."""
        return -(-self.cores // self.cores_per_chip)

    def __getitem__(self, name: str) -> Placed:
        """Return the population with this name."""
        for one in self.populations:
            if one.name == name:
                return one
        raise InputError(f"no population {name!r} was placed; there are {[one.name for one in self.populations]}.")

    def parts(self) -> list[tuple[Placed, Part]]:
        """Return all parts in order of their cores."""
        return [(one, part) for one in self.populations for part in one.parts]

    def share(self, part: Part, limit: str) -> float:
        """Return the share of a limit of its core that a part uses, from 0 to 1."""
        return part.use[limit] / self.limits[limit]

    def heading(self) -> str:
        """Return the result in one sentence."""
        used = f"{self.cores} of {self.cores_per_chip * self.chips} cores of {self.target.title}"
        if self.fits:
            return f"It fits: {used} at {self.weight_bits}-bit weights."
        placed = "the part that could be placed, " if any(not one.parts for one in self.populations) else ""
        return f"It does not fit: {placed}it takes {used} at {self.weight_bits}-bit weights."

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each population: its cores, and the shares of its fullest core."""
        rows = []
        for one in self.populations:
            row: dict[str, Any] = {"population": one.name, "size": one.neurons, "cores": len(one.parts) or None}
            row["first core"] = one.parts[0].core if one.parts else None
            row["binds"] = LIMITS[one.binds]
            row["as one core"] = f"{one.as_one_core[one.binds]:.2f}"
            for key in self.limits:
                fullest = max((self.share(part, key) for part in one.parts), default=None)
                row[LIMITS[key]] = None if fullest is None else f"{fullest:.0%}"
            kinds = sorted({f"{name} {kind}" for part in one.parts for name, kind in part.storage.items()})
            row["storage"] = ", ".join(kinds) or None
            rows.append(row)
        return rows

    def _repr_html_(self) -> str:
        return text_html(self.table())

    def table(self) -> str:
        """Return aligned text: a row for each population, what does not fit, and the notes."""
        rows = [{name: value for name, value in row.items() if name != "first core"} for row in self.rows()]
        lines = aligned(rows, ("population", "binds", "storage"))
        return "\n".join((self.heading(), *lines, "", *self.findings(), *self.notes))

    __str__ = table

    def findings(self) -> list[str]:
        """Return what does not fit and what would make it fit, one line each."""
        return lines_of(self.misfits)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "target": self.target.name,
            "title": self.target.title,
            "weight_bits": self.weight_bits,
            "fits": self.fits,
            "cores": self.cores,
            "cores_per_chip": self.cores_per_chip,
            "chips_allowed": self.chips,
            "chips_used": self.chips_used,
            "limits_per_core": dict(self.limits),
            "populations": [
                {
                    "name": one.name,
                    "shape": list(one.shape),
                    "neurons": one.neurons,
                    "binds": one.binds,
                    "share_of_one_core": dict(one.as_one_core),
                    "parts": [
                        {
                            "core": part.core,
                            "neurons": len(part.neurons),
                            "use": dict(part.use),
                            "storage": dict(part.storage),
                        }
                        for part in one.parts
                    ],
                }
                for one in self.populations
            ],
            "misfits": [misfit.to_dict() for misfit in self.misfits],
            "notes": list(self.notes),
            "hops_per_spike": {
                name: {"east_west": x, "north_south": y, "other_chips": c} for name, (x, y, c) in self.hops.items()
            },
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write `to_dict` as JSON.

        Parameters
        ----------
        path : path-like, optional
            Also write the text there, atomically.

        Returns
        -------
        str
            The JSON text.

        Raises
        ------
        FileError
            When the file cannot be written.
        """
        return json_text(self.to_dict(), path)


def aligned(rows: Sequence[Mapping[str, Any]], left: Sequence[str]) -> list[str]:
    """Return the lines of a table: names, a rule, and the rows; columns named in `left` are aligned to the left."""
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(names))]
    lines = [
        "  ".join(
            c.ljust(w) if names[k] in left else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return lines


def lines_of(misfits: Sequence[Misfit]) -> list[str]:
    """Return what does not fit and what would make it fit, one line each."""
    lines = []
    for misfit in misfits:
        lines.append(f"{misfit.where}: {misfit.what}")
        lines += [f"  would fit: {remedy}" for remedy in misfit.remedies]
    return lines


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)
