"""Google Speech Commands, version 2: 35 words of a second in wav files."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from neurosim.datasets.cards import Card, card
from neurosim.datasets.labelled_files import LabelledFiles
from neurosim.datasets.nmnist_files import data_folder
from neurosim.datasets.parts import Parts
from neurosim.errors import FileError
from neurosim.files.paths import contents
from neurosim.files.wav import read_wav

RATE = 16_000.0  # Hz
_LARGEST = 2**22  # bytes of a recording and of a list


def speech_commands(root: str | os.PathLike[str] | None = None) -> Parts[LabelledFiles[Tensor]]:
    """Load Google Speech Commands v2 by its own split: 84,843, 9981 and 11,005 recordings of 35 words.

    Parameters
    ----------
    root : path-like, optional
        The data root: ``speech_commands/`` there (or ``speech_commands_v0.02/``, or the root itself) holds
        ``validation_list.txt``, ``testing_list.txt`` and a folder for each word. Default: the environment variable
        ``NEUROSIM_DATA``.

    Returns
    -------
    Parts of LabelledFiles
        "train", "validation", "test": sounds float32 [T] in [-1, 1) of 16 kHz, at most a second; the speaker as group.
        Speakers are in one part each.

    Raises
    ------
    FileError
        When a list is missing or names a file that is not there, and on use for damaged recordings.

    References
    ----------
    Warden 2018, "Speech Commands: a dataset for limited-vocabulary speech recognition", arXiv:1804.03209.
    """
    return load_speech_commands(card("speech_commands"), root)


def load_speech_commands(card: Card, root: str | os.PathLike[str] | None = None) -> Parts[LabelledFiles[Tensor]]:
    """Load the recordings of the words of a card."""
    folder = data_folder(card, root, "validation_list.txt")
    listed = {
        part: contents(folder / f"{name}_list.txt", limit=_LARGEST).decode("utf-8", "replace").split()
        for part, name in (("validation", "validation"), ("test", "testing"))
    }
    known = {f"{word}/{path.name}" for word in card.classes for path in (folder / word).glob("*.wav")}
    for part, names in listed.items():
        missing = sorted(set(names) - known)
        if missing:
            raise FileError(
                f"{folder} lacks {len(missing)} recordings of {part}, such as {missing[0][:60]!r}. Unpack it again."
            )
    rest = known.difference(*listed.values())
    if not rest:
        raise FileError(f"{folder} holds no recordings for training, such as {card.classes[0]}/*.wav. Unpack it again.")
    label = {word: number for number, word in enumerate(card.classes)}
    parts = {}
    for part, names in (("train", sorted(rest)), *((name, sorted(set(each))) for name, each in listed.items())):
        places = tuple(folder / name for name in names)
        y = torch.tensor([label[path.parent.name] for path in places], dtype=torch.int64)
        speakers = tuple(path.name.partition("_nohash_")[0] for path in places)
        parts[part] = LabelledFiles(places, y, card.classes, _sound, speakers)
    return Parts(parts, card)


def _sound(path: Path) -> Tensor:
    samples, rate = read_wav(str(path), contents(path, limit=_LARGEST))
    if rate != RATE:
        raise FileError(f"{path} has {rate:g} samples a second; {RATE:g} are expected.")
    return torch.from_numpy(samples)
