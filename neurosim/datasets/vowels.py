"""Japanese vowels, and other sequences in the text files ``.ts`` of the archives of time series."""

from __future__ import annotations

import os

import numpy as np
import torch

from neurosim.datasets.cards import Card, card
from neurosim.datasets.packaged import packaged
from neurosim.datasets.parts import Parts
from neurosim.datasets.places import located
from neurosim.datasets.series import Series
from neurosim.errors import FileError
from neurosim.files.paths import contents

_LARGEST = 2**28  # bytes
_SPEAKERS, _VALIDATION = 9, 6  # of each speaker's 30 sequences, the last ones


def japanese_vowels(root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[Series]:
    """Load JapaneseVowels: which of nine men says two vowels, 12 coefficients of 7 to 29 frames.

    Parameters
    ----------
    root : path-like, optional
        The data root, with ``JapaneseVowels_TRAIN.ts`` and ``JapaneseVowels_TEST.ts`` in ``japanese_vowels/`` or
        itself. Default: the environment variable ``NEUROSIM_DATA``, or the installed package aeon.
    verify : bool
        Compare digests with the card.

    Returns
    -------
    Parts of Series
        "train" (270), "test" (370): `x` float32 [T, 12], `y` the speaker. `held_out` takes the last 6 of each speaker's
        30 training sequences.

    Raises
    ------
    FileError
        When a file is missing, damaged or not the one of the card.

    References
    ----------
    Kudo, Toyama and Shimbo 1999, "Multidimensional curve classification using passing-through regions",
    doi:10.1016/S0167-8655(99)00077-X.
    """
    return load_ts(card("japanese_vowels"), root, verify=verify)


def load_ts(card: Card, root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[Series]:
    """Load the sequences that a card describes as a ``.ts`` file for each part."""
    place = root
    if place is None and "NEUROSIM_DATA" not in os.environ:
        place = packaged("aeon", "datasets/data/JapaneseVowels")
    paths = located(card, place, verify=verify)
    parts = {file.part: read_ts(path, card.classes) for file, path in paths.items()}
    for name, part in parts.items():
        if verify and len(part) != card.counts[name]:
            raise FileError(f"{card.name}: {name} has {len(part)} sequences, expected {card.counts[name]}.")
    held = None
    if card.name == "japanese_vowels" and verify:
        labels = np.array([int(y) for y in parts["train"].y])
        later = np.concatenate([np.flatnonzero(labels == k)[-_VALIDATION:] for k in range(_SPEAKERS)])
        held = torch.from_numpy(np.isin(np.arange(len(labels)), later))
    return Parts(parts, card, held)


def read_ts(path: str | os.PathLike[str], classes: tuple[str, ...] | None = None) -> Series:
    """Read sequences from a ``.ts`` file: dimensions parted by colons, values by commas, the label last.

    Parameters
    ----------
    path : path-like
        A file without timestamps and without missing values.
    classes : tuple of str, optional
        Names of the labels, in the order of the file's list; that list itself if left out.

    Returns
    -------
    Series
        `x` float32 [T_k, dimensions], `y` int64 [].

    Raises
    ------
    FileError
        When the file is missing, damaged or has no labels.

    References
    ----------
    Ruiz, Flynn, Large, Middlehurst and Bagnall 2021, "The great multivariate time series classification bake off",
    doi:10.1007/s10618-020-00727-3.
    """
    try:
        lines = contents(path, limit=_LARGEST).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is no .ts file: {error}.") from error
    header: dict[str, str] = {}
    first = len(lines)
    for number, line in enumerate(lines):
        if line.startswith("@"):
            key, _, value = line[1:].strip().partition(" ")
            header[key.lower()] = value.strip()
            if key.lower() == "data":
                first = number + 1
                break
        elif line.strip() and not line.startswith("#"):
            raise FileError(f"{path}: line {number + 1} is {line[:40]!r}, before @data. Fetch the file again.")
    has, *names = header.get("classlabel", "false").split() or ["false"]
    if has.lower() != "true" or not names:
        raise FileError(f"{path} has no list of class labels, @classLabel true ...; it is left as it is.")
    if header.get("timestamps", "false").lower() == "true" or header.get("missing", "false").lower() == "true":
        raise FileError(f"{path} has timestamps or missing values, which are not read. Fill them in first.")
    if classes is not None and len(classes) != len(names):
        raise FileError(f"{path} has {len(names)} class labels; {len(classes)} are expected.")
    x, y = list[torch.Tensor](), list[torch.Tensor]()
    for number, line in enumerate(lines[first:], first + 1):
        if not line.strip():
            continue
        *dimensions, label = line.strip().split(":")
        if label not in names:
            raise FileError(f"{path}: line {number} ends with the label {label!r}, which @classLabel does not list.")
        try:
            rows = [np.array(each.split(","), dtype=np.float32) for each in dimensions]
        except ValueError as error:
            raise FileError(f"{path}: line {number}: {error}. Missing values are not read.") from error
        if not rows or len({len(row) for row in rows}) != 1 or (x and len(rows) != x[0].shape[1]):
            raise FileError(f"{path}: line {number} has dimensions {[len(row) for row in rows]}; one length is needed.")
        if not all(np.isfinite(row).all() for row in rows):
            raise FileError(f"{path}: line {number} holds a value that is NaN or infinite.")
        x.append(torch.from_numpy(np.stack(rows, axis=1)))
        y.append(torch.tensor(names.index(label)))
    if not x:
        raise FileError(f"{path} holds no sequences after @data. Fetch the file again.")
    return Series(tuple(x), tuple(y), classes or tuple(names))
