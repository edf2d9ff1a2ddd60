"""Positions of the cores of a chip, and distances that spikes travel between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurosim.hardware.placement.partition import Cut, targets
from neurosim.hardware.placement.workload import Workload
from neurosim.hardware.targets import Target


@dataclass(frozen=True)
class Mesh:
    """Tiles of cores in a rectangle.

    Attributes
    ----------
    columns, rows : int
        Tiles from west to east and from north to south.
    cores_per_tile : int
    known : bool
        Whether the target states it; otherwise it is a near-square for drawing, and no distance is computed.
    """

    columns: int
    rows: int
    cores_per_tile: int
    known: bool

    @classmethod
    def of(cls, target: Target) -> Mesh:
        """Return the mesh of a target."""
        cores = int(target.limits["cores"].number)
        given = {key: int(target.mesh[key].number) for key in ("columns", "cores_per_tile") if key in target.mesh}
        if "columns" in given:
            each = given.get("cores_per_tile", 1)
            return cls(given["columns"], -(-cores // (each * given["columns"])), each, True)
        columns = math.ceil(math.sqrt(cores * 2)) if cores > 4 else cores
        return cls(columns, -(-cores // columns), 1, False)

    def tile(self, core: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return column and row of the tiles of cores of one chip, row by row, every second row reversed."""
        row, column = np.divmod(core // self.cores_per_tile, self.columns)
        return np.where(row % 2, self.columns - 1 - column, column), row


def hops(
    workload: Workload, cuts: dict[str, Cut], first: dict[str, int], target: Target
) -> dict[str, tuple[float, ...]]:
    """Return the mean distance of a spike for each population, with equal rates of its neurons.

    A spike is sent once to every core with a synapse for it, along the row first and then along the column.

    Parameters
    ----------
    workload : Workload
    cuts : dict of str to Cut
    first : dict of str to int
        First core of each population.
    target : Target

    Returns
    -------
    dict of str to (float, float, float)
        Tiles east or west, tiles north or south, and deliveries to other chips, which have no distance.
    """
    mesh, chip = Mesh.of(target), int(target.limits["cores"].number)
    if not mesh.known:
        return {}
    result = {}
    for name, cut in cuts.items():
        home = np.zeros(cut.load.group.neurons, np.int64)
        for k, (start, stop) in enumerate(cut.ranges):
            home[cut.load.order[start:stop]] = first[name] + k
        distance = np.zeros(3)
        for link in workload.out_of(name):
            if link.target not in cuts:
                continue
            other = cuts[link.target]
            for k, (start, stop) in enumerate(other.ranges):
                sent = link.reach.onto(other.load.order[start:stop]) > 0
                core = first[link.target] + k
                same = sent & (home // chip == core // chip)
                x, y = mesh.tile(home % chip)
                to_x, to_y = mesh.tile(np.array(core % chip))
                distance += (np.abs(x - to_x)[same].sum(), np.abs(y - to_y)[same].sum(), (sent & ~same).sum())
        result[name] = tuple(float(part) for part in distance / cut.load.group.neurons)
    return result


def most_targets(workload: Workload, cuts: dict[str, Cut], name: str, neurons: int) -> int:
    """Return the largest number of cores that a neuron of a population sends to."""
    return int(targets(workload, cuts, name, neurons).max(initial=0))
