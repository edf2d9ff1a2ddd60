"""Where the cores of a chip lie, and how far spikes travel between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurosim.hardware.placement.circuit import Circuit
from neurosim.hardware.placement.partition import Cut, targets
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
        Whether the target states it; else it is a near-square drawn for the eye, and no distance is taken from it.
    """

    columns: int
    rows: int
    cores_per_tile: int
    known: bool

    @classmethod
    def of(cls, target: Target) -> Mesh:
        """Read it from a target."""
        cores = int(target.limits["cores"].number)
        given = {key: int(quantity.number) for key, quantity in target.mesh.items()}
        if "columns" in given:
            each = given.get("cores_per_tile", 1)
            return cls(given["columns"], -(-cores // (each * given["columns"])), each, True)
        columns = math.ceil(math.sqrt(cores * 2)) if cores > 4 else cores
        return cls(columns, -(-cores // columns), 1, False)

    def tile(self, core: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return column and row of the tiles of cores of one chip, row by row and every other row backwards."""
        row, column = np.divmod(core // self.cores_per_tile, self.columns)
        return np.where(row % 2, self.columns - 1 - column, column), row


def hops(circuit: Circuit, cuts: dict[str, Cut], first: dict[str, int], target: Target) -> dict[str, tuple[float, ...]]:
    """Return a spike's mean way for each population, all its neurons firing alike.

    A spike is sent once to every core with a synapse for it, first along the row and then along the column.

    Parameters
    ----------
    circuit : Circuit
    cuts : dict of str to Cut
    first : dict of str to int
        First core of each population.
    target : Target

    Returns
    -------
    dict of str to (float, float, float)
        Tiles east or west, tiles north or south, and deliveries to other chips, which have no distance here.
    """
    mesh, chip = Mesh.of(target), int(target.limits["cores"].number)
    if not mesh.known:
        return {}
    result = {}
    for name, cut in cuts.items():
        home = np.zeros(cut.load.layer.neurons, np.int64)
        for k, (start, stop) in enumerate(cut.stretches):
            home[cut.load.order[start:stop]] = first[name] + k
        way = np.zeros(3)
        for link in circuit.out_of(name):
            if link.target not in cuts:
                continue
            there = cuts[link.target]
            for k, (start, stop) in enumerate(there.stretches):
                sent = link.reach.onto(there.load.order[start:stop]) > 0
                core = first[link.target] + k
                same = sent & (home // chip == core // chip)
                x, y = mesh.tile(home % chip)
                to_x, to_y = mesh.tile(np.array(core % chip))
                way += (np.abs(x - to_x)[same].sum(), np.abs(y - to_y)[same].sum(), (sent & ~same).sum())
        result[name] = tuple(float(part) for part in way / cut.load.layer.neurons)
    return result


def most_targets(circuit: Circuit, cuts: dict[str, Cut], name: str, neurons: int) -> int:
    """Return the number of cores that the neuron of a population with most of them sends to."""
    return int(targets(circuit, cuts, name, neurons).max(initial=0))
