"""Load a dataset by its card, whatever its format."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from neurosim.datasets.cameras import load_dvs_gesture, load_event_folders
from neurosim.datasets.cards import Card, card
from neurosim.datasets.circles import load_yin_yang, yin_yang
from neurosim.datasets.delay_equation import mackey_glass
from neurosim.datasets.heartbeats import load_qtdb
from neurosim.datasets.images import load_idx
from neurosim.datasets.labelled import Split
from neurosim.datasets.nmnist_files import load_nmnist, load_nmnist_small
from neurosim.datasets.parts import Parts
from neurosim.datasets.scikit import digits
from neurosim.datasets.sequences import delayed_match_parts, load_oxford, load_pixels, load_text, parity_parts
from neurosim.datasets.smartwatch import load_exercises
from neurosim.datasets.speech_words import load_speech_commands
from neurosim.datasets.spoken import load_spoken_digits
from neurosim.datasets.spoken_events import load_spoken_events, shd_adding
from neurosim.datasets.tidigits import load_ntidigits
from neurosim.datasets.touch import load_braille
from neurosim.datasets.vowels import load_ts
from neurosim.datasets.wearables import load_wisdm
from neurosim.errors import FileError
from neurosim.files.bundled import data_files

_Reader = Callable[[Card, "str | os.PathLike[str] | None"], "Split | Parts[Any]"]


def _digits(about: Card, root: str | os.PathLike[str] | None) -> Split:
    if about.name != "digits":
        raise FileError(
            f"card {about.path}: format scikit-learn is that of the digits alone; got name = {about.name!r}. "
            "Write the data as idx files and set format = 'idx', or make a Labelled in Python."
        )
    return digits()


# Data sets that are computed; their cards state what the parameters of the published ones are.
_GENERATED: Mapping[str, Callable[[str | os.PathLike[str] | None], Parts[Any]]] = MappingProxyType(
    {
        "delayed_match": lambda _: delayed_match_parts(),
        "mackey_glass": lambda _: mackey_glass(),
        "parity": lambda _: parity_parts(),
        "shd_adding": shd_adding,
    }
)


def _generated(about: Card, root: str | os.PathLike[str] | None) -> Parts[Any]:
    if about.name not in _GENERATED:
        raise FileError(f"card {about.path}: generated is for {', '.join(_GENERATED)}; got name = {about.name!r}.")
    return _GENERATED[about.name](root)


def _yin_yang(about: Card, root: str | os.PathLike[str] | None) -> Parts[Any]:
    return yin_yang() if root is None else load_yin_yang(about, root)


# One reader for each format that a card may state.
_READERS: Mapping[str, _Reader] = MappingProxyType(
    {
        "braille": load_braille,
        "dvs-gesture": load_dvs_gesture,
        "event-folders": load_event_folders,
        "mat-events": load_event_folders,
        "npy-events": load_event_folders,
        "ntidigits": load_ntidigits,
        "oxford": load_oxford,
        "pixels": load_pixels,
        "speech-commands": load_speech_commands,
        "spoken-events": load_spoken_events,
        "text": load_text,
        "wisdm": load_wisdm,
        "exercises": load_exercises,
        "generated": _generated,
        "idx": load_idx,
        "nmnist": load_nmnist,
        "nmnist-small": load_nmnist_small,
        "qtdb": load_qtdb,
        "scikit-learn": _digits,
        "spoken-digits": load_spoken_digits,
        "ts": load_ts,
        "yin-yang": _yin_yang,
    }
)


def load(name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Split | Parts[Any]:
    """Load the dataset that a card describes.

    Parameters
    ----------
    name : str or path-like
        The name of a bundled card (see `dataset_names`), or the path of a TOML file.
    root : path-like, optional
        Folder of the data files, where the dataset has any. Default: the environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Split or Parts
        Images: a `Split`, with `x` float32 [n, *shape] in [0, 1], `y` int64 [n]. All others: `Parts`, of the type of
        data that the function of the dataset returns (`braille`, `qtdb` and so on).

    Raises
    ------
    FileError
        For an unknown name, a wrong card, or data files that are missing or damaged.
    InputError
        When the card does not list the files that its format needs.

    Examples
    --------
    >>> from neurosim.datasets import load
    >>> len(load("digits").train)
    1437
    """
    about = card(name)
    return _READERS[about.format](about, root)


def dataset_names() -> tuple[str, ...]:
    """Return the names of the bundled cards, sorted.

    Examples
    --------
    >>> from neurosim.datasets import dataset_names
    >>> dataset_names()  # doctest: +ELLIPSIS
    ('asl_dvs', 'braille', 'cifar10_dvs', 'delayed_match', 'digits', ...
    """
    return tuple(path.stem for path in data_files("datasets"))
