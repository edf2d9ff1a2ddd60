"""WISDM: eighteen activities with a smartwatch, 51 persons."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import torch

from neurosim.datasets.cards import Card, card
from neurosim.datasets.nmnist_files import data_folder
from neurosim.datasets.parts import Parts
from neurosim.datasets.series import Series
from neurosim.errors import FileError
from neurosim.files.paths import contents

LETTERS = "ABCDEFGHIJKLMOPQRS"  # there is no N
_NAME = re.compile(r"data_(\d+)_accel_watch\.txt")
_LARGEST = 2**27  # bytes
_DT, _GAP = 0.05, 1.0  # s between samples, and s that part two sequences
_TEST = _VALIDATION = 10  # persons


def wisdm(root: str | os.PathLike[str] | None = None) -> Parts[Series]:
    """Load the smartwatch of WISDM: acceleration and rotation at 20 Hz, 18 activities of about three minutes.

    The two sensors have times of their own: the rotation is interpolated linearly at the times of the acceleration. A
    gap of a second or more in either ends a sequence.

    Parameters
    ----------
    root : path-like, optional
        The data root: ``wisdm/`` there (or ``wisdm-dataset/``, or the root itself) holds
        ``raw/watch/accel/data_1600_accel_watch.txt`` ... and ``raw/watch/gyro/``. Default: the environment variable
        ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of Series
        "train", "validation" and "test" by person, a split of ours: the last ten persons are the test part, the ten
        before them the validation part. `x` float32 [T, 6], `y` the activity, `groups` the person.

    Raises
    ------
    FileError
        When there are no recordings, or a file is damaged.

    References
    ----------
    Weiss, Yoneda and Hayajneh 2019, "Smartphone and smartwatch-based biometrics using activities of daily living",
    doi:10.1109/ACCESS.2019.2940729.
    """
    return load_wisdm(card("wisdm"), root)


def load_wisdm(card: Card, root: str | os.PathLike[str] | None = None) -> Parts[Series]:
    """Load the recordings of a card by person."""
    base = data_folder(card, root, "raw/watch/accel") / "raw" / "watch"
    people = sorted(known[1] for path in (base / "accel").iterdir() if (known := _NAME.fullmatch(path.name)))
    if len(people) <= _TEST + _VALIDATION:
        raise FileError(
            f"{base} holds recordings of {len(people)} persons; more than {_TEST + _VALIDATION} are needed."
        )
    x, y, groups = list[torch.Tensor](), list[torch.Tensor](), list[str]()
    for person in people:
        fast, turn = (_read(base / name / f"data_{person}_{name}_watch.txt") for name in ("accel", "gyro"))
        for label, letter in enumerate(LETTERS):
            for sequence in _joined(fast.get(letter), turn.get(letter)):
                x.append(torch.from_numpy(sequence))
                y.append(torch.tensor(label))
                groups.append(person)
    everything = Series(tuple(x), tuple(y), card.classes, dt=_DT, groups=tuple(groups))
    cut = len(people) - _TEST, len(people) - _TEST - _VALIDATION
    chosen = {"train": people[: cut[1]], "validation": people[cut[1] : cut[0]], "test": people[cut[0] :]}
    inside = {name: [each for each in group if each in set(groups)] for name, group in chosen.items()}
    return Parts({name: everything.of_groups(*group) for name, group in inside.items()}, card)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read time, s, and three values of each sample, by activity."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    for number, line in enumerate(contents(path, limit=_LARGEST).decode("ascii", "replace").split("\n"), 1):
        row = line.strip().rstrip(";")
        if not row:
            continue
        fields = row.split(",")
        try:
            time, *values = int(fields[2]), *map(float, fields[3:])
        except (ValueError, IndexError) as error:
            raise FileError(
                f"{path}: line {number} is {line[:60]!r}; person,letter,time,x,y,z; is expected."
            ) from error
        if len(values) != 3 or fields[1] not in LETTERS or not all(map(np.isfinite, values)):
            raise FileError(f"{path}: line {number} is {line[:60]!r}; person,letter,time,x,y,z; is expected.")
        rows.setdefault(fields[1], []).append((time * 1e-9, *values))
    found = {}
    for letter, each in rows.items():
        table = np.array(each)
        table = table[np.argsort(table[:, 0], kind="stable")]
        found[letter] = table[np.diff(table[:, 0], prepend=-np.inf) > 0]  # the first of two samples of one time
    return found


def _joined(fast: np.ndarray | None, turn: np.ndarray | None) -> list[np.ndarray]:
    """Return sequences of both sensors [T, 6]."""
    if fast is None or turn is None:
        return []
    place = np.searchsorted(turn[:, 0], fast[:, 0])
    inside = (fast[:, 0] >= turn[0, 0]) & (fast[:, 0] <= turn[-1, 0])
    after, before = place.clip(1, len(turn) - 1), place.clip(1, len(turn) - 1) - 1
    if len(turn) < 2:
        return []
    inside &= (turn[after, 0] - turn[before, 0] < _GAP) | (turn[after, 0] == fast[:, 0])
    rotation = np.stack([np.interp(fast[:, 0], turn[:, 0], column) for column in turn[:, 1:].T], axis=1)
    both = np.concatenate([fast[:, 1:], rotation], axis=1).astype(np.float32)
    breaks = np.flatnonzero((np.diff(fast[:, 0]) >= _GAP) | (np.diff(inside.astype(int)) != 0)) + 1
    pieces = zip(np.split(both, breaks), np.split(inside, breaks), strict=True)
    return [piece for piece, taken in pieces if len(piece) and taken[0]]
