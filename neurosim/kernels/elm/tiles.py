"""Sizes of the machine code of ELM neurons, and how a product is divided into tiles."""

from __future__ import annotations

import dataclasses

from neurosim.compiler.llvm.ir import LINE
from neurosim.compiler.llvm.jit import has_wide_vectors

_VECTORS = (24, 4)  # sums of a tile, in vectors of a cache line, with and without registers of that size
_SAMPLES = (8, 2)  # of a unit at most: so many use a tile of a few vectors best


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the machine code is compiled for.

    Parameters
    ----------
    real : {"float", "double"}
    memory, hidden : int
        Memory units and hidden units of a neuron, padded: each a multiple of `lanes`.
    units : tuple of int
        Both without padding.
    outputs : int
        Outputs of a neuron, not padded.
    rows : int
        Samples of a unit.
    smooth : bool
        Whether the hidden units are SiLU (else ReLU).
    """

    real: str
    memory: int
    hidden: int
    units: tuple[int, int]
    outputs: int
    rows: int
    smooth: bool

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return lanes(self.real)


def lanes(real: str) -> int:
    """Return how many numbers a cache line holds."""
    return LINE // (4 if real == "float" else 8)


def padded(count: int, lanes: int) -> int:
    """Return `count` rounded up to full vectors."""
    return -(-count // lanes) * lanes


def tile(sizes: Sizes, outer: int) -> tuple[int, int]:
    """Return the columns of a tile of a product with `outer` of them, and how many are in full tiles."""
    vectors = outer // sizes.lanes
    budget = max((_VECTORS[0] if has_wide_vectors() else _VECTORS[1]) // sizes.rows, 1)
    size = -(-vectors // -(-vectors // budget))
    return size * sizes.lanes, vectors // size * size * sizes.lanes


def most_rows() -> int:
    """Return how many samples a unit has at most."""
    return _SAMPLES[0] if has_wide_vectors() else _SAMPLES[1]
