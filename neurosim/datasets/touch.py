"""Braille letters read by touch: twelve channels of a fingertip, coded as events."""

from __future__ import annotations

import math
import os

import numpy as np
import torch

from neurosim.datasets.arrays import read_npz
from neurosim.datasets.cards import Card, card
from neurosim.datasets.labelled import Labelled
from neurosim.datasets.parts import Parts, split_off
from neurosim.datasets.places import located
from neurosim.errors import FileError

_TEST, _VALIDATION = 0.2, 0.125  # of all, and of the rest
_CELLS = 2**28


def braille(root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[Labelled]:
    """Load the seven Braille letters: 1158 readings, 256 steps of 5 ms, 12 channels of 0/1.

    Parameters
    ----------
    root : path-like, optional
        The data root, with ``braille7_sigma_delta_unique1158.npz`` in ``braille7/`` or itself, or this file. Default:
        the environment variable ``NEUROSIM_DATA``.
    verify : bool
        Compare the digest with the card.

    Returns
    -------
    Parts of Labelled
        "train", "validation" and "test", a split of ours (see the card): `x` float32 [n, 256, 12], timed.

    Raises
    ------
    FileError
        When the file is missing, damaged or not the one of the card.

    References
    ----------
    Müller-Cleve et al. 2022, "Braille letter reading: a benchmark for spatio-temporal pattern recognition on
    neuromorphic hardware", doi:10.3389/fnins.2022.951164.
    """
    return load_braille(card("braille"), root, verify=verify)


def load_braille(card: Card, root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[Labelled]:
    """Load the readings that a card describes as packed bits with their shape and labels in an ``.npz`` file."""
    ((_, path),) = located(card, root, verify=verify).items()
    stored = read_npz(path, ("x_packed", "shape", "label"))
    shape, bits, label = stored["shape"].tolist(), stored["x_packed"], stored["label"]
    if len(shape) != 3 or any(not isinstance(side, int) or side < 1 for side in shape) or math.prod(shape) > _CELLS:
        raise FileError(f"{path}: shape is {shape}; three sizes of at most {_CELLS:,} cells are expected.")
    n, T, channels = shape
    if bits.dtype != np.uint8 or bits.shape != (-(-math.prod(shape) // 8),):
        raise FileError(f"{path}: x_packed is {bits.dtype} of {list(bits.shape)}, too short or long for {shape}.")
    if (
        label.shape != (n,)
        or label.dtype.kind not in "iu"
        or not (label >= 0).all()
        or label.max() >= len(card.classes)
    ):
        raise FileError(f"{path}: label is {label.dtype} of {list(label.shape)}; labels 0 to {len(card.classes) - 1}.")
    x = np.unpackbits(bits)[: math.prod(shape)].reshape(n, T, channels).astype(np.float32)
    everything = Labelled(torch.from_numpy(x), torch.from_numpy(label.astype(np.int64)), card.classes, timed=True)
    rest, test = split_off(everything, _TEST)
    train, validation = split_off(rest, _VALIDATION)
    return Parts({"train": train, "validation": validation, "test": test}, card)
