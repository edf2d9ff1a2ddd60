"""Exercises of the shoulder with a smartwatch, by ten persons."""

from __future__ import annotations

import io
import os
import pickle
from typing import Any

import numpy as np
import torch

from neurosim.datasets.cards import Card, card
from neurosim.datasets.packaged import packaged
from neurosim.datasets.parts import Parts
from neurosim.datasets.places import located
from neurosim.datasets.series import Series
from neurosim.errors import FileError
from neurosim.files.paths import contents

_LARGEST = 2**26  # bytes
_VALIDATION, _TEST = ("6", "7"), ("8", "9", "10")  # persons
# The file is a pickle of NumPy, which could run anything. Only the bytes whose digest the card states are read, and
# only by these names.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise FileError(f"the recordings name {module}.{name}, which is not loaded. Fetch the file again.")
        return super().find_class(module, name)


def exercises(root: str | os.PathLike[str] | None = None) -> Parts[Series]:
    """Load the smartwatch exercises: acceleration and rotation at 50 Hz, ten persons, seven exercises.

    Parameters
    ----------
    root : path-like, optional
        The data root, with ``watch_dataset.npy`` in ``exercises/`` or itself, or this file. Default: the environment
        variable ``NEUROSIM_DATA``, or the installed package seglearn.

    Returns
    -------
    Parts of Series
        "train" (persons 1 to 5), "validation" (6, 7), "test" (8, 9, 10), 14 recordings of each person: `x` float32
        [T, 6], 947 to 2618 steps; `y` the exercise; `groups` the person. `Series.windows` cuts them.

    Raises
    ------
    FileError
        When the file is missing or is not the one of the card.

    References
    ----------
    Burns, Leung, Hardisty, Whyne, Henry and McLachlin 2018, "Shoulder physiotherapy exercise recognition: machine
    learning the inertial signals from a smartwatch", doi:10.1088/1361-6579/aacfd9.
    """
    return load_exercises(card("exercises"), root)


def load_exercises(card: Card, root: str | os.PathLike[str] | None = None) -> Parts[Series]:
    """Load the recordings that a card describes as a pickled dictionary with the keys X, y and subject."""
    place = root
    if place is None and "NEUROSIM_DATA" not in os.environ:
        place = packaged("seglearn", "data")
    ((file, path),) = located(card, place).items()
    if file.sha256 is None:
        raise FileError(f"card {card.path}: {file.name} is a pickle; state its sha256, so that only this file is read.")
    content = contents(path, limit=_LARGEST)
    try:
        stream = io.BytesIO(content)
        np.lib.format.read_array_header_1_0(_after_magic(stream))
        stored = _Unpickler(stream).load().item()
        recordings = [np.asarray(x, np.float32) for x in stored["X"]]
        labels, persons = (np.asarray(stored[key]).astype(np.int64) for key in ("y", "subject"))
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
    except Exception as error:  # the bytes are known, so that this is another version of NumPy
        raise FileError(f"{path} cannot be read: {type(error).__name__}: {error}.") from error
    x, y = tuple(map(torch.from_numpy, recordings)), tuple(map(torch.tensor, labels.tolist()))
    everything = Series(x, y, card.classes, dt=0.02, groups=tuple(map(str, persons.tolist())))
    people = sorted(set(everything.groups), key=int)
    rest = [person for person in people if person not in (*_VALIDATION, *_TEST)]
    parts = {"train": rest, "validation": _VALIDATION, "test": _TEST}
    return Parts({name: everything.of_groups(*group) for name, group in parts.items()}, card)


def _after_magic(stream: io.BytesIO) -> io.BytesIO:
    np.lib.format.read_magic(stream)
    return stream
