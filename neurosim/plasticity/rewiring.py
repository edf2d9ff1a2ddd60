"""Structural plasticity: weak synapses are lost and new ones grow, as many as are lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from neurosim.errors import InputError
from neurosim.kernels.common.philox import philox
from neurosim.plasticity.checks import check_numbers


class Pairing(NamedTuple):
    """Neurons that each synapse of an edge joins.

    Attributes
    ----------
    post, pre : ndarray [n] of int64
    """

    post: np.ndarray
    pre: np.ndarray


@dataclass(frozen=True)
class Rewiring:
    r"""Every so often the weak synapses of an edge are lost, and each grows again with another partner.

    A synapse is lost if :math:`|w|` is at most `below`, or among the weakest `fraction` of all (of equal ones those
    listed first). It keeps one neuron, as `keep` says, its delay and its place in the list, so that the number of
    synapses and the in-degrees (or out-degrees) stay. Its new partner is drawn from those neurons that have no synapse
    with the kept neuron after the losses, each with equal probability; where there are too few, the last of the lost
    synapses stay as they are. Traces belong to the neurons and stay.

    A draw depends on `seed`, the name of the edge, the number of the rewiring and that of the synapse alone: it is the
    same in every trial, for any number of threads and any chunk.

    Parameters
    ----------
    every : float
        Time from one rewiring to the next, s, an integer number of steps; the first is at the end of the first
        interval.
    weight : float
        Of a new synapse.
    below : float
        From 0; 0 loses weights of exactly 0.
    fraction : float
        In [0, 1).
    keep : {"in", "out"}
        ``"in"``: the postsynaptic neuron and so the in-degrees; ``"out"``: the presynaptic one.
    multapses, autapses : bool
        Whether a new synapse may join a pair that has one, or a neuron with itself.
    seed : int
        In ``0 ... 2^63 - 1``.

    Raises
    ------
    InputError
        For a number out of range.

    References
    ----------
    Butz, van Ooyen, "A simple rule for dendritic spine and axonal bouton formation can account for cortical
    reorganization after focal retinal lesions", PLoS Computational Biology 9, 2013, doi:10.1371/journal.pcbi.1003259.
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
    network science", Nature Communications 9, 2018, doi:10.1038/s41467-018-04316-3: a fraction of the weakest is
    replaced at random.
    """

    every: float
    weight: float
    below: float = 0.0
    fraction: float = 0.0
    keep: Literal["in", "out"] = "in"
    multapses: bool = False
    autapses: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_numbers(self)
        if self.every <= 0:
            raise InputError(f"Rewiring: every must be a time in s above 0; got {self.every!r}.")
        if self.below < 0:
            raise InputError(f"Rewiring: below must be a number from 0; got {self.below!r}.")
        if not 0 <= self.fraction < 1:
            raise InputError(f"Rewiring: fraction must be in [0, 1); got {self.fraction!r}.")
        if self.keep not in ("in", "out"):
            raise InputError(f'Rewiring: keep must be "in" or "out"; got {self.keep!r}.')
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise InputError(f"Rewiring: seed must be an integer in 0 ... 2^63 - 1; got {self.seed!r}.")

    def lost(self, weight: np.ndarray) -> np.ndarray:
        """Return the numbers of the synapses that are lost, ascending, given the weights [n]."""
        strength = np.abs(weight)
        mask = strength <= self.below
        number = math.floor(self.fraction * len(weight) * (1 + 2.0**-50))  # 29 of 100 for 0.29
        mask[np.argsort(strength, kind="stable")[:number]] = True
        return np.flatnonzero(mask)

    def grown(
        self, pairing: Pairing, lost: np.ndarray, sizes: tuple[int, int], number: int, stream: int, *, is_loop: bool
    ) -> tuple[Pairing, np.ndarray]:
        """Return the neurons that synapses join after those of `lost` have grown again, and which of them have.

        Parameters
        ----------
        pairing : Pairing
        lost : ndarray of int64
            Ascending.
        sizes : tuple of int
            Number of presynaptic and of postsynaptic neurons.
        number : int
            Of the rewiring, from 1.
        stream : int
            CRC-32 of the name of the edge.
        is_loop : bool
            Whether both populations are one.
        """
        post, pre = pairing.post.copy(), pairing.pre.copy()
        kept, free, neurons = (post, pre, sizes[0]) if self.keep == "in" else (pre, post, sizes[1])
        words = _words(lost, number, stream, self.seed)
        survives = np.ones(len(post), bool)
        survives[lost] = False
        order = np.argsort(kept, kind="stable")
        order = order[survives[order]]
        ends = kept[order]
        taken: dict[int, np.ndarray] = {}
        staying: set[int] = set()
        wanted = np.bincount(kept[lost], minlength=max(sizes))
        has_grown = np.zeros(len(lost), bool)
        for k, synapse in enumerate(lost.tolist()):
            end = int(kept[synapse])
            if end not in taken:
                partners = free[order[slice(*np.searchsorted(ends, (end, end + 1)))]]
                own = np.unique(partners) if not self.multapses else partners[:0]
                gone = np.union1d(own, [end]) if is_loop and not self.autapses else own
                if not self.multapses and neurons - len(gone) < wanted[end]:
                    gone, stay = _reserved(gone, lost[kept[lost] == end], free, neurons)
                    staying |= stay
                taken[end] = gone
            gone = taken[end]
            choices = neurons - len(gone)
            if synapse in staying or choices < 1:
                continue
            # The neuron of this rank among those that are not taken.
            rank = int(words[k]) * choices >> 32
            chosen = rank + int(np.searchsorted(gone - np.arange(len(gone)), rank, side="right"))
            free[synapse], has_grown[k] = chosen, True
            if not self.multapses:
                taken[end] = np.insert(gone, np.searchsorted(gone, chosen), chosen)
        return Pairing(post, pre), lost[has_grown]


def _reserved(gone: np.ndarray, lost: np.ndarray, free: np.ndarray, neurons: int) -> tuple[np.ndarray, set[int]]:
    """Return the partners that are taken where not all lost synapses of a neuron find one, and those that stay.

    The last ones stay, and keep the partners they have from the others.
    """
    stay: list[int] = []
    while neurons - len(gone) < len(lost) - len(stay):
        stay.append(int(lost[len(lost) - 1 - len(stay)]))
        gone = np.union1d(gone, [free[stay[-1]]])
    return gone, set(stay)


def _words(synapses: np.ndarray, number: int, stream: int, seed: int) -> np.ndarray:
    """Return a random word of 32 bits for each synapse, as int64."""
    counter = (synapses.astype(np.int64), np.int64(number), np.int64(0), np.int64(stream))
    with np.errstate(over="ignore"):
        return np.asarray(philox(counter, (np.int64(seed & 0xFFFFFFFF), np.int64(seed >> 32)))[0])
