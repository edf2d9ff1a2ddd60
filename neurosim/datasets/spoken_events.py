"""The Spiking Heidelberg Digits and Speech Commands as events, and the task of adding two digits."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from neurosim.datasets.adding import Adding
from neurosim.datasets.cards import Card, card
from neurosim.datasets.events.files.seconds import read_spoken_events
from neurosim.datasets.events.sets import EventSet
from neurosim.datasets.parts import Parts
from neurosim.datasets.places import located
from neurosim.datasets.shd_grids import read_shd
from neurosim.errors import FileError
from neurosim.files.untrusted_hdf5 import opened

_HELD_OUT = 2  # speakers of the training part


def shd(root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[EventSet]:
    """Load the Spiking Heidelberg Digits: ten digits in two languages through a cochlea of 700 channels.

    Parameters
    ----------
    root : path-like, optional
        The data root, with ``shd_train.h5`` and ``shd_test.h5`` (or ``.h5.gz`` unpacked) in ``shd/`` or itself.
        Default: the environment variable ``NEUROSIM_DATA``.
    verify : bool
        Compare digests, where the card states them.

    Returns
    -------
    Parts of EventSet
        "train" (8156), "test" (2264): events of shape (700,), the speaker as group. `held_out` takes the two speakers
        of "train" with the largest numbers: half the test part is of speakers who are not in "train".

    Raises
    ------
    FileError
        When a file is missing or damaged.

    References
    ----------
    Cramer, Stradmann, Schemmel and Zenke 2022, doi:10.1109/TNNLS.2020.3044364.
    """
    return load_spoken_events(card("shd"), root, verify=verify)


def ssc(root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[EventSet]:
    """Load the Spiking Speech Commands: 35 words through a cochlea of 700 channels, with a validation part.

    Parameters and results are those of `shd`: "train" (75,466), "validation" (9981), "test" (20,382).
    """
    return load_spoken_events(card("ssc"), root, verify=verify)


def load_spoken_events(
    card: Card, root: str | os.PathLike[str] | None = None, *, verify: bool = True
) -> Parts[EventSet]:
    """Load the events that a card describes as files with ``spikes/times``, ``spikes/units`` and ``labels``."""
    parts = {}
    for file, path in located(card, root, verify=verify).items():
        channels = card.shape[0]
        events, y = read_spoken_events(path, channels=channels)
        if len(y) and int(y.max()) >= len(card.classes):
            raise FileError(f"{path}: labels reach {int(y.max())}; {card.name} has {len(card.classes)} classes.")
        parts[file.part] = EventSet(events, y, card.classes, _speakers(path, len(y)))
    held = None
    if "validation" not in parts and parts["train"].groups:
        speakers = parts["train"].groups
        last = sorted(set(speakers), key=int)[-_HELD_OUT:]
        held = torch.tensor([speaker in last for speaker in speakers])
    return Parts(parts, card, held)


def _speakers(path: Path, number: int) -> tuple[str, ...]:
    """Return the speaker of each sample; none where the file does not state them."""
    with opened(path, what="Spiking Heidelberg Digits or Speech Commands", lists=True) as file:
        if "extra" not in file or "speaker" not in file.group("extra"):
            return ()
        return tuple(map(str, file.group("extra").integers("speaker", shape=(number,)).tolist()))


def shd_adding(
    root: str | os.PathLike[str] | None = None,
    *,
    batch_size: int = 128,
    dt: float = 10e-3,
    duration: float = 1.0,
    batches: int = 100,
    seed: int = 0,
) -> Parts[Adding]:
    """Load SHD-Adding: two of the Spiking Heidelberg Digits one after the other, whose digits are added.

    Parameters
    ----------
    root
        As for `shd`.
    batch_size, batches, seed
        As for `Adding`.
    dt, duration
        As for `read_shd`.

    Returns
    -------
    Parts of Adding
        "train", whose pairs change with the epoch, and "test", whose pairs are fixed.

    References
    ----------
    Spieler et al. 2023, arXiv:2306.16922.
    """
    about = card("shd_adding")
    parts = {}
    for file, path in located(card("shd"), root).items():
        words = read_shd(path, dt=dt, duration=duration)
        test = file.part == "test"
        parts[file.part] = Adding(words, batch_size, batches=batches, seed=seed, fixed=test)
    return Parts(parts, about)
