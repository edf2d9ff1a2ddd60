"""Read recordings of N-MNIST: five bytes an event."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from neurosim.datasets.cards import Card, card
from neurosim.datasets.events.container import SensorEvents
from neurosim.datasets.events.files.addresses import fields
from neurosim.datasets.events.files.reading import read_events
from neurosim.datasets.events.sets import EventFiles, EventSet, by_class
from neurosim.datasets.parts import Parts
from neurosim.datasets.places import ROOT
from neurosim.errors import FileError
from neurosim.files.archives import tar_members
from neurosim.files.paths import contents

SIDE, POLARITIES = 34, 2
SHAPE = (POLARITIES, SIDE, SIDE)


def nmnist_events(name: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Read the events of one recording of N-MNIST, a ``.bin`` file (``.bs2`` in SLAYER's copy).

    An event is the column, the row, and 24 bits: the polarity and the time in microseconds.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    content : bytes
        The file.

    Returns
    -------
    time : numpy.ndarray
        int64 [n], microseconds, as stored.
    place : numpy.ndarray
        int64 [n], index into the flattened [2, 34, 34]: polarity, row, column.

    Raises
    ------
    FileError
        When the length is no multiple of 5 bytes, or an event lies outside the 34 x 34 pixels.

    References
    ----------
    Orchard, Jayawant, Cohen and Thakor 2015, "Converting static image datasets to spiking neuromorphic datasets using
    saccades", doi:10.3389/fnins.2015.00437.

    Examples
    --------
    >>> from neurosim.datasets import nmnist_events
    >>> time, place = nmnist_events("1.bin", bytes([3, 5, 0x80, 0x01, 0x00]))
    >>> time.tolist(), place.tolist()  # polarity 1, row 5, column 3
    ([256], [1329])
    """
    if len(content) % 5:
        raise FileError(f"{name} is {len(content):,} bytes long; a recording of N-MNIST has 5 bytes for each event.")
    x, y, polarity, time = fields(content)
    outside = np.flatnonzero((x >= SIDE) | (y >= SIDE))
    if len(outside):
        first = outside[0]
        raise FileError(
            f"{name}: event {first} lies at column {x[first]}, row {y[first]}; 0 to {SIDE - 1} are allowed."
        )
    return time, (polarity.astype(np.int64) * SIDE + y) * SIDE + x


def nmnist_small(root: str | os.PathLike[str] | None = None) -> Parts[EventSet]:
    """Load the first 1000 training and 100 test recordings of N-MNIST, as SLAYER ships them.

    Parameters
    ----------
    root : path-like, optional
        The data root: ``nmnist/`` there, or the root itself, holds the lists ``train1K.txt`` and ``test100.txt`` and
        the recordings ``1.bs2`` ..., in a folder or a tar archive. Default: the environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of EventSet
        "train" (1000), "test" (100): events of shape (2, 34, 34). `held_out` takes the last 100 of the training part.

    Raises
    ------
    FileError
        When a list or a recording is missing or damaged.

    References
    ----------
    Orchard, Jayawant, Cohen and Thakor 2015, doi:10.3389/fnins.2015.00437. Shrestha and Orchard 2018, arXiv:1810.08646.
    """
    return load_nmnist_small(card("nmnist_small"), root)


def load_nmnist_small(card: Card, root: str | os.PathLike[str] | None = None) -> Parts[EventSet]:
    """Load the recordings that the lists of a card name."""
    folder = data_folder(card, root, "train1K.txt")
    lists = {name: _list(folder / file) for name, file in (("train", "train1K.txt"), ("test", "test100.txt"))}
    wanted = {f"{number}.bs2" for numbers, _ in lists.values() for number in numbers}
    recordings = _recordings(folder, wanted)
    parts = {name: _event_set(card, recordings, *lists[name]) for name in lists}
    number = len(parts["train"])
    return Parts(parts, card, torch.arange(number) >= number - number // 10)


def nmnist(root: str | os.PathLike[str] | None = None) -> Parts[EventFiles]:
    """Load N-MNIST: 60,000 and 10,000 recordings in files, which are read when they are used.

    Parameters
    ----------
    root : path-like, optional
        The data root: ``nmnist/`` there, or the root itself, holds ``Train/0/00002.bin`` ... and ``Test/``. Default:
        the environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of EventFiles
        "train", "test": events of shape (2, 34, 34). `held_out` takes the last tenth of each digit in "train".

    Raises
    ------
    FileError
        When there are no recordings, and on use for damaged ones.

    References
    ----------
    Orchard, Jayawant, Cohen and Thakor 2015, doi:10.3389/fnins.2015.00437.
    """
    return load_nmnist(card("nmnist"), root)


def load_nmnist(card: Card, root: str | os.PathLike[str] | None = None) -> Parts[EventFiles]:
    """Load recordings that lie in a folder for each part and digit."""
    folder = data_folder(card, root, "Train")
    parts = {}
    for name, place in (("train", "Train"), ("test", "Test")):
        paths, labels = by_class(folder / place, card.classes, "*.bin")
        if not paths:
            raise FileError(f"{folder / place} holds no recordings such as 0/00002.bin. Unpack {place}.zip there.")
        parts[name] = EventFiles(tuple(paths), torch.tensor(labels), card.classes, _read)
    return Parts(parts, card, last_tenth(parts["train"].y))


def last_tenth(y: torch.Tensor) -> torch.Tensor:
    """Return a mask of the last tenth of the samples of each class."""
    held = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique():
        places = (y == label).nonzero()[:, 0]
        held[places[len(places) - len(places) // 10 :]] = True
    return held


def _read(path: Path) -> SensorEvents:
    return read_events(path, shape=SHAPE, kind="bin")


def data_folder(card: Card, root: str | os.PathLike[str] | None, holds: str) -> Path:
    """Return the folder of a card below the data root: the first that holds `holds`."""
    given = root if root is not None else os.environ.get(ROOT)
    if not given:
        raise FileError(
            f"no folder to read {card.name} from: give `root` or set the environment variable {ROOT}. "
            f"Get the files from {card.download} ({card.source})."
        )
    folders = [*(Path(given) / name for name in card.folders), Path(given)]
    found = next((folder for folder in folders if (folder / holds).exists()), None)
    if found is None:
        raise FileError(
            f"{card.name} not found below {given}: looked for {holds} in {', '.join(map(str, folders))}. "
            f"Get the files from {card.download} ({card.source})."
        )
    return found


def _list(path: Path) -> tuple[list[int], list[int]]:
    """Read numbers of recordings and their digits, one pair a line."""
    numbers, labels = list[int](), list[int]()
    text = contents(path, limit=2**20).decode("ascii", "replace")
    for line, row in enumerate(text.splitlines(), 1):
        if not row.strip() or row.startswith("#"):
            continue
        try:
            number, label = map(int, row.split())
        except ValueError as error:
            raise FileError(f"{path}: line {line} is {row[:40]!r}; a number and a digit are expected.") from error
        numbers.append(number)
        labels.append(label)
    return numbers, labels


def _recordings(folder: Path, wanted: set[str]) -> dict[str, bytes]:
    """Read the recordings of some names, below a folder or in a tar archive there."""
    found = {path.name: contents(path, limit=2**24) for path in folder.rglob("*.bs2") if path.name in wanted}
    for archive in sorted(folder.glob("*.tar*")) if len(found) < len(wanted) else ():
        found |= dict(tar_members(archive, lambda name: name in wanted))
    if missing := wanted - set(found):
        raise FileError(
            f"{folder} lacks {len(missing)} recordings, such as {min(missing)}, as files or in a tar archive."
        )
    return found


def _event_set(card: Card, recordings: Mapping[str, bytes], numbers: list[int], labels: list[int]) -> EventSet:
    parts = []
    for number in numbers:
        content = recordings[f"{number}.bs2"]
        if len(content) % 5:
            raise FileError(f"{number}.bs2 is {len(content):,} bytes long; there are 5 bytes for each event.")
        parts.append(fields(content))
    x, y, p, t = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    offsets = np.cumsum([0, *(len(part[0]) for part in parts)])
    try:
        events = SensorEvents(t, x, y, p, shape=SHAPE, offsets=offsets)
    except ValueError as error:
        raise FileError(f"recordings of {card.name}: {error}") from error
    return EventSet(events, torch.tensor(labels), card.classes)
