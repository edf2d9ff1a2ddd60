"""Bits of a core's synaptic memory that a list of synapses uses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurosim.hardware.targets import Quantity, Target


@dataclass(frozen=True)
class Storage:
    """Storage of the synapses of one input axon: in blocks with a header, rounded up to words of memory.

    Attributes
    ----------
    block : int
        Largest number of synapses of a block; 0 where there are no blocks.
    header, word : int
        Bits of the header of a block, and of a word of memory.
    index_bits : (int, int)
        Fewest and most bits of the index of a neuron in a sparse synapse.
    synapse : int
        Bits of a synapse where they do not depend on the precision of the weight; else 0.
    shared : bool
        Whether input axons whose synapses differ only in place can share one copy.
    neuron : int
        Bits of one neuron in the same memory; 0 where neurons have memory of their own.
    """

    block: int
    header: int
    word: int
    index_bits: tuple[int, int]
    synapse: int
    shared: bool
    neuron: int

    @classmethod
    def of(cls, target: Target) -> Storage:
        """Return the storage of a target; what its file does not state costs nothing."""
        given = target.storage
        low, high = given["index_bits"].value if "index_bits" in given else (0, 32)  # type: ignore[misc]
        return cls(
            block=_integer(given, "block_synapses", 0),
            header=_bits(given, "block_header"),
            word=max(_bits(given, "memory_word"), 1),
            index_bits=(int(low), int(high)),
            synapse=_bits(given, "synapse"),
            shared=bool(_integer(given, "shared_kernels", 0)),
            neuron=_bits(given, "neuron"),
        )

    def bits(self, synapses: np.ndarray, each: int) -> int:
        """Return the bits of lists of synapses.

        Parameters
        ----------
        synapses : numpy.ndarray [lists] of int64
            Number of synapses of each list; an empty list takes no bits.
        each : int
            Bits of one synapse.

        Returns
        -------
        int
            For Loihi ``ceil64(k each + 10)`` for each block of k <= 64 synapses.
        """
        blocks, rest = np.divmod(synapses, self.block) if self.block else (np.zeros_like(synapses), synapses)
        full = self._rounded(self.block * each + self.header)
        part = -(-(rest * each + self.header) // self.word) * self.word
        return int((blocks * full + np.where(rest > 0, part, 0)).sum())

    def index(self, neurons: int) -> int:
        """Return the bits of the index of one of this number of neurons of a core."""
        low, high = self.index_bits
        return min(max(low, math.ceil(math.log2(max(neurons, 2)))), high)

    def _rounded(self, bits: int) -> int:
        return -(-bits // self.word) * self.word


def _integer(given: Mapping[str, Quantity], key: str, default: int) -> int:
    return int(given[key].number) if key in given else default


def _bits(given: Mapping[str, Quantity], key: str) -> int:
    return in_bits(given[key]) if key in given else 0


def in_bits(quantity: Quantity) -> int:
    """Return an amount of memory in bits."""
    return int(quantity.number) * (8 if quantity.unit == "byte" else 1)
