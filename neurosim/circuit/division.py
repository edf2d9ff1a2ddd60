"""Parts of the neurons of a network, each for one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from neurosim.kernels.circuit.tasks import PAD


class Division(NamedTuple):
    """Which neurons of each population belong to which part.

    The populations lie in a row, which is cut into parts of about the same number of neurons.

    Attributes
    ----------
    bounds : dict of str to tuple of int
        First neuron of each part, and the number of neurons, by population.
    """

    bounds: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, sizes: Mapping[str, int], ports: Mapping[str, int], parts: int) -> Division:
        """Divide populations.

        Parameters
        ----------
        sizes : mapping of str to int
            Neurons of each population.
        ports : mapping of str to int
            Input ports of each: a population of several is not divided, because its accumulators do not lie in a row.
        parts : int
        """
        total = sum(sizes.values())
        cuts = [total * part // parts for part in range(parts + 1)]
        bounds, start = {}, 0
        for name, size in sizes.items():
            bounds[name] = (*(_cut(cut - start, size, ports[name]) for cut in cuts[:-1]), size)
            start += size
        return cls(bounds)

    @property
    def parts(self) -> int:
        """Number of parts."""
        return len(next(iter(self.bounds.values()))) - 1


def _cut(place: int, size: int, ports: int) -> int:
    """Return where to cut a population, at a multiple of `PAD` or not inside it."""
    place = min(max(place, 0), size)
    if ports > 1:
        return size if 2 * place > size else 0
    return size if place == size else place // PAD * PAD
