"""The Yin-Yang data set: three classes of points in a circle, the same points as the published ones."""

from __future__ import annotations

import os

import numpy as np
import torch

from neurosim.datasets.arrays import read_npy
from neurosim.datasets.cards import Card, card
from neurosim.datasets.checks import checked_integer
from neurosim.datasets.labelled import Labelled
from neurosim.datasets.parts import Parts
from neurosim.datasets.places import located
from neurosim.errors import FileError

CLASSES = ("yin", "yang", "dot")
SEEDS = {"train": 42, "validation": 41, "test": 40}
_RADIUS, _DOT = 0.5, 0.1


def yin_yang(root: str | os.PathLike[str] | None = None) -> Parts[Labelled]:
    """Return the Yin-Yang data set: points (x, y, 1 - x, 1 - y) in [0, 1].

    Parameters
    ----------
    root : path-like, optional
        The data root with the published files in ``yin_yang/`` or itself, which are read and checked by their digests.
        If left out the same points are computed: they equal the files bit for bit.

    Returns
    -------
    Parts of Labelled
        "train" (5000), "validation" (1000), "test" (1000): `x` float32 [n, 4].

    References
    ----------
    Kriener, Göltz and Petrovici 2022, "The Yin-Yang dataset", doi:10.1145/3517343.3517380.
    """
    about = card("yin_yang")
    if root is not None:
        return load_yin_yang(about, root)
    return Parts({name: yin_yang_points(about.counts[name], seed=seed) for name, seed in SEEDS.items()}, about)


def load_yin_yang(card: Card, root: str | os.PathLike[str] | None) -> Parts[Labelled]:
    """Load the published points."""
    found = {(file.part, file.holds): path for file, path in located(card, root).items()}
    parts = {}
    for name in SEEDS:
        x, y = (read_npy(found[name, what]) for what in ("samples", "labels"))
        if x.shape != (len(y), 4) or y.ndim != 1 or y.dtype.kind not in "iu":
            raise FileError(
                f"{found[name, 'samples']} holds {list(x.shape)} for {list(y.shape)} labels; [n, 4] is needed."
            )
        parts[name] = Labelled(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.int64)), CLASSES)
    return Parts(parts, card)


def yin_yang_points(number: int, *, seed: int) -> Labelled:
    """Draw points of the Yin-Yang data set; seeds 42, 41 and 40 give the published ones.

    A class is drawn first, then points until one is of it, all by ``numpy.random.RandomState``, which NumPy keeps
    frozen.

    Parameters
    ----------
    number : int
        Points.
    seed : int
        Not negative.

    Examples
    --------
    >>> from neurosim.datasets.circles import yin_yang_points
    >>> yin_yang_points(2, seed=42).y.tolist()
    [2, 1]
    """
    draw = np.random.RandomState(checked_integer("seed", seed, least=0))
    x = np.empty((checked_integer("number", number), 4))
    y = np.empty(number, np.int64)
    for row in range(number):
        y[row] = draw.randint(len(CLASSES))
        while True:
            a, b = draw.rand(2) * 2.0 * _RADIUS
            if np.sqrt((a - _RADIUS) ** 2 + (b - _RADIUS) ** 2) <= _RADIUS and _class_of(a, b) == y[row]:
                break
        x[row] = a, b, 1.0 - a, 1.0 - b
    return Labelled(torch.from_numpy(x).float(), torch.from_numpy(y), CLASSES)


def _class_of(a: float, b: float) -> int:
    right, left = (np.sqrt((a - share * _RADIUS) ** 2 + (b - _RADIUS) ** 2) for share in (1.5, 0.5))
    if right < _DOT or left < _DOT:
        return 2
    upper = b > _RADIUS and right > 0.5 * _RADIUS
    return int(right <= _DOT or _DOT < left <= 0.5 * _RADIUS or upper)
