"""Load a dataset by its card, whatever its format."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType

from neurosim.datasets.cards import Card, card
from neurosim.datasets.images import load_idx
from neurosim.datasets.labelled import Split
from neurosim.datasets.scikit import digits
from neurosim.errors import FileError
from neurosim.files.bundled import data_files

_Reader = Callable[[Card, "str | os.PathLike[str] | None"], Split]


def _digits(about: Card, root: str | os.PathLike[str] | None) -> Split:
    if about.name != "digits":
        raise FileError(
            f"card {about.path}: format scikit-learn is that of the digits alone; got name = {about.name!r}. "
            "Write the data as idx files and set format = 'idx', or make a Labelled in Python."
        )
    return digits()


# One reader for each format that a card may state.
_READERS: Mapping[str, _Reader] = MappingProxyType({"idx": load_idx, "scikit-learn": _digits})


def load(name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Split:
    """Load the dataset that a card describes.

    Parameters
    ----------
    name : str or path-like
        The name of a bundled card (see `dataset_names`), or the path of a TOML file.
    root : path-like, optional
        Folder of the data files, where the dataset has any. Default: the environment variable ``NEUROSIM_DATA``.

    Returns
    -------
    Split
        ``train`` and ``test``: `x` float32 [n, *shape] in [0, 1], `y` int64 [n].

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
    >>> dataset_names()
    ('digits', 'fashion_mnist', 'mnist')
    """
    return tuple(path.stem for path in data_files("datasets"))
