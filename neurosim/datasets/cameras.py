"""Sets of event cameras: gestures, moved pictures, letters of a sign language, playing cards."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

import numpy as np
import torch

from neurosim.datasets.arrays import read_npy
from neurosim.datasets.cards import Card, card
from neurosim.datasets.events.container import MICROSECOND, SensorEvents
from neurosim.datasets.events.files.reading import read_events
from neurosim.datasets.events.sets import EventFiles, by_class
from neurosim.datasets.heartbeats import read_mat
from neurosim.datasets.nmnist_files import data_folder, last_tenth
from neurosim.datasets.parts import Parts
from neurosim.errors import FileError
from neurosim.files.paths import contents

_USERS = re.compile(r"user(\d+)_\w+\.aedat")
_VALIDATION_USERS = 4  # the last of the training part
_LIST = 2**20  # bytes
Gesture = tuple[Path, int, int]


def dvs_gesture(root: str | os.PathLike[str] | None = None) -> Parts[EventFiles]:
    """Load DVS128 Gesture: eleven gestures of 29 persons under three lights, 128 x 128 pixels.

    Parameters
    ----------
    root : path-like, optional
        The data root: ``dvs_gesture/`` there (or ``DvsGesture/``, or the root itself) holds ``trials_to_train.txt``,
        ``trials_to_test.txt``, and for each trial ``user01_led.aedat`` and ``user01_led_labels.csv``. Default: the
        environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of EventFiles
        "train" (users 1 to 23), "test" (24 to 29): events of shape (2, 128, 128), counted from the beginning of the
        gesture; the user as group. `held_out` takes the last four users of "train".

    Raises
    ------
    FileError
        When a file is missing or damaged.

    References
    ----------
    Amir et al. 2017, "A low power, fully event-based gesture recognition system", doi:10.1109/CVPR.2017.781.
    """
    return load_dvs_gesture(card("dvs_gesture"), root)


def load_dvs_gesture(card: Card, root: str | os.PathLike[str] | None = None) -> Parts[EventFiles]:
    """Load the gestures that the lists of a card name."""
    folder = data_folder(card, root, "trials_to_train.txt")
    parts = {}
    for name in ("train", "test"):
        places, labels, users = list[Gesture](), list[int](), list[str]()
        listing = folder / f"trials_to_{name}.txt"
        for trial in contents(listing, limit=_LIST).decode("utf-8", "replace").split():
            known = _USERS.fullmatch(trial)
            if known is None:
                raise FileError(f"{listing} names {trial[:60]!r}; names such as user01_led.aedat are expected.")
            for label, start, stop in _gestures(
                folder / f"{trial.removesuffix('.aedat')}_labels.csv", len(card.classes)
            ):
                places.append((folder / trial, start, stop))
                labels.append(label)
                users.append(str(int(known[1])))
        parts[name] = EventFiles(tuple(places), torch.tensor(labels).long(), card.classes, _gesture, tuple(users))
    people = sorted(set(parts["train"].groups), key=int)[-_VALIDATION_USERS:]
    return Parts(parts, card, torch.tensor([user in people for user in parts["train"].groups], dtype=torch.bool))


def _gestures(path: Path, classes: int) -> list[tuple[int, int, int]]:
    """Read label, from 0, and beginning and end of each gesture, microseconds."""
    rows = []
    for line, row in enumerate(contents(path, limit=_LIST).decode("ascii", "replace").splitlines()[1:], 2):
        if not row.strip():
            continue
        try:
            label, start, stop = map(int, row.split(","))
        except ValueError as error:
            raise FileError(f"{path}: line {line} is {row[:60]!r}; class, start and end in us are expected.") from error
        if not (1 <= label <= classes and 0 <= start < stop):
            raise FileError(
                f"{path}: line {line}: class 1 to {classes} and 0 <= start < end are expected; got {row!r}."
            )
        rows.append((label - 1, start, stop))
    return rows


@functools.lru_cache(maxsize=1)  # the gestures of a trial lie in one file and are used one after the other
def _trial(path: Path) -> SensorEvents:
    return read_events(path, shape=(2, 128, 128), kind="aedat3.1")


def _gesture(place: Gesture) -> SensorEvents:
    path, start, stop = place
    return _trial(path).between(start * MICROSECOND, stop * MICROSECOND)


def cifar10_dvs(root: str | os.PathLike[str] | None = None) -> Parts[EventFiles]:
    """Load CIFAR10-DVS: 10,000 pictures moved before an event camera of 128 x 128 pixels.

    Parameters
    ----------
    root : path-like, optional
        The data root: ``cifar10_dvs/`` there, or the root itself, holds a folder of AEDAT files for each class, such as
        ``airplane/cifar10_airplane_0.aedat``. Default: the environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of EventFiles
        "all": there is no published split. `split_off` makes one.

    References
    ----------
    Li, Liu, Ji, Li and Shi 2017, "CIFAR10-DVS: an event-stream dataset for object classification",
    doi:10.3389/fnins.2017.00309.
    """
    return load_event_folders(card("cifar10_dvs"), root)


def ncaltech101(root: str | os.PathLike[str] | None = None) -> Parts[EventFiles]:
    """Load N-Caltech101: 8709 pictures of 101 classes moved before an event camera, up to 240 x 180 pixels.

    Parameters
    ----------
    root : path-like, optional
        The data root: ``ncaltech101/``, ``Caltech101/`` or the root itself holds a folder for each class with
        ``image_0001.bin`` ... The classes are the folders, sorted. Default: the environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of EventFiles
        "all": there is no published split. `split_off` makes one.

    References
    ----------
    Orchard, Jayawant, Cohen and Thakor 2015, doi:10.3389/fnins.2015.00437.
    """
    return load_event_folders(card("ncaltech101"), root)


def asl_dvs(root: str | os.PathLike[str] | None = None) -> Parts[EventFiles]:
    """Load ASL-DVS: 24 letters of the American sign language, 4200 recordings of each, 240 x 180 pixels.

    Rows are as stored, counted from below as jAER does.

    Parameters
    ----------
    root : path-like, optional
        The data root: ``asl_dvs/`` there, or the root itself, holds a folder of ``.mat`` files for each letter.
        Default: the environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of EventFiles
        "all": there is no published split. `split_off` makes one.

    References
    ----------
    Bi, Chadha, Abbas, Bourtsoulatze and Andreopoulos 2019, "Graph-based object classification for neuromorphic vision
    sensing", doi:10.1109/ICCV.2019.00058.
    """
    return load_event_folders(card("asl_dvs"), root)


def poker_dvs(root: str | os.PathLike[str] | None = None) -> Parts[EventFiles]:
    """Load POKER-DVS: the four suits of playing cards, browsed at speed, 35 x 35 pixels; 48 + 20 recordings.

    Parameters
    ----------
    root : path-like, optional
        The data root: ``poker_dvs/`` there, or the root itself, holds ``pips_train`` and ``pips_test`` with a folder of
        ``.npy`` files (time, column, row, polarity) for each suit. Default: the environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of EventFiles
        "train", "test".

    References
    ----------
    Serrano-Gotarredona and Linares-Barranco 2015, "Poker-DVS and MNIST-DVS", doi:10.3389/fnins.2015.00481.
    """
    return load_event_folders(card("poker_dvs"), root)


_FOLDERS = {"train": "pips_train", "test": "pips_test"}


def load_event_folders(card: Card, root: str | os.PathLike[str] | None = None) -> Parts[EventFiles]:
    """Load the files that a card describes as a folder for each class, and for each part where it has several."""
    shape, ending = card.shape, {"mat-events": "mat", "npy-events": "npy"}.get(card.format, "*")
    read = {"mat": _mat_events, "npy": _npy_events, "*": _file_events}[ending]
    halves = set(card.counts) == {"train", "test"}
    first = _FOLDERS["train"] if halves else next(iter(card.classes), "accordion")
    base = data_folder(card, root, first)
    parts = {}
    for name in card.counts:
        folder = base / _FOLDERS[name] if halves else base
        classes = card.classes or tuple(sorted(each.name for each in folder.iterdir() if each.is_dir()))
        paths, labels = by_class(folder, classes, f"*.{ending}")
        if not paths:
            raise FileError(
                f"{folder} holds no recordings in the folders {', '.join(classes[:3])} ...; unpack them there."
            )
        read_one = functools.partial(read, shape=shape)
        parts[name] = EventFiles(tuple(paths), torch.tensor(labels), classes, read_one)
    held = None
    if halves:
        held = last_tenth(parts["train"].y)
    return Parts(parts, card, held)


def _file_events(path: Path, shape: tuple[int, ...]) -> SensorEvents:
    return read_events(path, shape=shape, kind="bin" if path.suffix == ".bin" else None)


def _mat_events(path: Path, shape: tuple[int, ...]) -> SensorEvents:
    return _of_columns(path, read_mat(path, ("ts", "x", "y", "pol")), shape)


def _npy_events(path: Path, shape: tuple[int, ...]) -> SensorEvents:
    rows = read_npy(path)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise FileError(f"{path} holds {list(rows.shape)}; [n, 4], time, column, row and polarity, is expected.")
    return _of_columns(path, list(rows.T), shape)


def _of_columns(path: Path, columns: list[np.ndarray], shape: tuple[int, ...]) -> SensorEvents:
    whole = []
    for name, column in zip(("t", "x", "y", "p"), columns, strict=True):
        flat = np.asarray(column).reshape(-1)
        if flat.dtype.kind == "f" and not (np.isfinite(flat).all() and (flat == np.rint(flat)).all()):
            raise FileError(f"{path}: {name} holds a value that is no integer.")
        whole.append(flat.astype(np.int64))
    try:
        return SensorEvents(*whole, shape=shape)
    except ValueError as error:
        raise FileError(f"{path}: {error}") from error
