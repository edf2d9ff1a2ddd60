"""The result of placing a network on a chip: where everything is, what binds, and what does not fit."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.errors import InputError
from neurosim.files.atomic import json_text
from neurosim.hardware.placement.cores import LIMITS
from neurosim.hardware.targets import Target

MEMORY = {"synapse_memory_per_core", "memory_per_core"}


@dataclass(frozen=True, eq=False)
class Part:
    """The neurons of one population on one core.

    Attributes
    ----------
    core : int
        Number of the core, from 0 on; beyond the first chip it goes on counting.
    neurons : numpy.ndarray of int64
        Their indices in the flattened population.
    use : mapping of str to int
        What they take, by limit; memory in bits.
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
    whole : mapping of str to float
        What all of it would take of one core, as a share of each limit: 1.72 of synapse memory takes two cores at
        least.
    """

    name: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    whole: Mapping[str, float]

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def binds(self) -> str:
        """The limit that asks for most cores."""
        return max(self.whole, key=self.whole.__getitem__)


@dataclass(frozen=True)
class Misfit:
    """Something that does not fit.

    Attributes
    ----------
    where : str
        Population, edge or ``"network"``.
    limit : str
        Key of the limit in the target's file.
    needed, allowed : float
    what : str
        A sentence that says it.
    remedies : tuple of str
        What would make it fit, each enough by itself.
    """

    where: str
    limit: str
    needed: float
    allowed: float
    what: str
    remedies: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Placement:
    """A network on the cores of a chip. Made by `place`.

    Attributes
    ----------
    target : Target
    weight_bits : int
    chips : int
        Chips that were allowed.
    populations : tuple of Placed
    limits : mapping of str to int
        What a core offers; memory in bits.
    misfits : tuple of Misfit
        Empty where everything fits.
    notes : tuple of str
        What to know of the numbers.
    hops : mapping of str to (float, float, float)
        For each population, a spike's mean way: tiles east or west, tiles north or south, and other chips it goes to,
        summed over the cores it is sent to. Empty where the mesh of the chip is not known.
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
        """Find a population by its name."""
        for one in self.populations:
            if one.name == name:
                return one
        raise InputError(f"no population {name!r} was placed; there are {[one.name for one in self.populations]}.")

    def parts(self) -> list[tuple[Placed, Part]]:
        """Return all parts in order of their cores."""
        return [(one, part) for one in self.populations for part in one.parts]

    def share(self, part: Part, limit: str) -> float:
        """Return how much of a limit of its core a part takes, from 0 to 1."""
        return part.use[limit] / self.limits[limit]

    def heading(self) -> str:
        """Say in one sentence how it comes out."""
        used = f"{self.cores} of {self.cores_per_chip * self.chips} cores of {self.target.title}"
        if self.fits:
            return f"It fits: {used} at {self.weight_bits}-bit weights."
        placed = "as far as it could be placed " if any(not one.parts for one in self.populations) else ""
        return f"It does not fit: {placed}it takes {used} at {self.weight_bits}-bit weights."

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each population: what it takes, and how full its fullest core is."""
        rows = []
        for one in self.populations:
            row: dict[str, Any] = {"population": one.name, "size": one.neurons, "cores": len(one.parts) or None}
            row["first core"] = one.parts[0].core if one.parts else None
            row["binds"] = LIMITS[one.binds]
            row["as one core"] = f"{one.whole[one.binds]:.2f}"
            for key in self.limits:
                fullest = max((self.share(part, key) for part in one.parts), default=None)
                row[LIMITS[key]] = None if fullest is None else f"{fullest:.0%}"
            kinds = sorted({f"{name} {kind}" for part in one.parts for name, kind in part.storage.items()})
            row["storage"] = ", ".join(kinds) or None
            rows.append(row)
        return rows

    def table(self) -> str:
        """Write it as aligned text: a row for each population, what does not fit, what to know."""
        rows = self.rows()
        names = [name for name in rows[0] if name != "first core"]
        cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
        widths = [max(len(row[k]) for row in cells) for k in range(len(names))]
        lines = [
            "  ".join(
                c.ljust(w) if names[k] in ("population", "binds", "storage") else c.rjust(w)
                for k, (c, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join((self.heading(), *lines, "", *self.findings(), *self.notes))

    __str__ = table

    def findings(self) -> list[str]:
        """Say what does not fit and what would make it fit, a line each."""
        lines = []
        for misfit in self.misfits:
            lines.append(f"{misfit.where}: {misfit.what}")
            lines += [f"  would fit: {remedy}" for remedy in misfit.remedies]
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values."""
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
                    "share_of_one_core": dict(one.whole),
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
            "misfits": [
                {
                    "where": m.where,
                    "limit": m.limit,
                    "needed": m.needed,
                    "allowed": m.allowed,
                    "what": m.what,
                    "remedies": list(m.remedies),
                }
                for m in self.misfits
            ],
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
            Also write it there, whole or not at all.

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


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)
