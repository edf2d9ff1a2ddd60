"""The weights that a Loihi synapse can hold: 8 bits and a sign, fewer bits without the low ones, even where signs mix.

The rules are those of the fixed-point models of lava-nc 0.10.0 (lava/utils/weightutils.py, BSD-3).
"""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

from neurosim.errors import InputError

BITS = 8


class SignMode(Enum):
    """Signs of the weights of a connection; where they mix, one bit is the sign."""

    MIXED = "mixed"
    EXCITATORY = "excitatory"
    INHIBITORY = "inhibitory"


def sign_mode(weight: Tensor) -> SignMode:
    """Return the sign mode that Lava derives from these weights."""
    if not weight.numel() or weight.min() >= 0:
        return SignMode.EXCITATORY
    return SignMode.INHIBITORY if weight.max() <= 0 else SignMode.MIXED


def weight_step(bits: int, mode: SignMode) -> int:
    """Return the distance between two neighbouring weights: 1 at 8 bits of one sign, 2 where signs mix."""
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= BITS:
        raise InputError(f"bits must be an integer from 1 to {BITS}; got {bits!r}.")
    return 1 << (BITS - bits + (mode is SignMode.MIXED))


def weight_range(bits: int, mode: SignMode) -> tuple[int, int]:
    """Return the lowest and the highest weight: -256 and 254 for 8 bits where signs mix."""
    step = weight_step(bits, mode)
    if mode is SignMode.MIXED:
        return -256, 256 - step
    return (0, 256 - step) if mode is SignMode.EXCITATORY else (step - 256, 0)


def chip_weight(weight: Tensor, bits: int = BITS, mode: SignMode | None = None) -> Tensor:
    """Return the weights that the chip stores for these: truncated to integers, clipped, low bits dropped.

    Parameters
    ----------
    weight : Tensor
        Any numbers.
    bits : int
        1 ... 8.
    mode : SignMode, optional
        That of the weights if left out.

    Examples
    --------
    >>> import torch
    >>> chip_weight(torch.tensor([1.9, -1.0, 300.0, -300.0])).tolist()
    [0.0, -2.0, 254.0, -256.0]
    """
    cut = weight.trunc()
    mode = sign_mode(cut) if mode is None else mode
    step, inhibitory = weight_step(bits, mode), mode is SignMode.INHIBITORY
    size = -cut if inhibitory else cut
    size = size.clamp(-256 if mode is SignMode.MIXED else 0, 255)
    size = torch.floor(size / step) * step
    return -size if inhibitory else size


def storage(weight: Tensor) -> tuple[SignMode, int]:
    """Return the sign mode and the fewest bits that hold these weights exactly; 0 bits where none do.

    The mode is that of the weights, or mixed where only mixed holds them: an inhibitory synapse has no weight of -256.
    """
    for mode in (sign_mode(weight), SignMode.MIXED):
        for bits in range(1, BITS + 1):
            if torch.equal(chip_weight(weight, bits, mode), weight):
                return mode, bits
    return mode, 0
