"""Heartbeats of the QT database: which wave of the electrocardiogram each step belongs to."""

from __future__ import annotations

import math
import os
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch

from neurosim.datasets.cards import Card, card
from neurosim.datasets.parts import Parts
from neurosim.datasets.places import located
from neurosim.datasets.series import Series
from neurosim.errors import FileError
from neurosim.files.paths import regular_file

_LARGEST, _CELLS = 2**26, 2**27
_VALIDATION = 62  # the last records of the training part


def qtdb(root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[Series]:
    """Load QTDB, coded by level crossings: 618 and 141 records of 1301 steps, 4 channels, a label for each step.

    The last step of channel 0 holds one -1 in each record, which is no crossing; it is set to 0. Steps that the files
    do not mark (8 % of the training part, 10 % of the test part) count as class 0, as in the published results.

    Parameters
    ----------
    root : path-like, optional
        The data root, with ``QTDB_train.mat`` and ``QTDB_test.mat`` in ``qtdb/`` or itself. Default: the environment
        variable ``NEUROSIM_DATA``.
    verify : bool
        Compare digests with the card.

    Returns
    -------
    Parts of Series
        "train", "test": `x` float32 [1301, 4], `y` int64 [1301]. `held_out` takes the last tenth of the training
        records.

    Raises
    ------
    FileError
        When a file is missing, damaged or not the one of the card.

    References
    ----------
    Laguna, Mark, Goldberger and Moody 1997, "A database for evaluation of algorithms for measurement of QT and other
    waveform intervals in the ECG", doi:10.1109/CIC.1997.648140. Yin, Corradi and Bohté 2021,
    doi:10.1038/s42256-021-00397-w.
    """
    return load_qtdb(card("qtdb"), root, verify=verify)


def load_qtdb(card: Card, root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Parts[Series]:
    """Load the records that a card describes as MATLAB files with x [n, T, channels] and y [n, T, classes]."""
    parts = {}
    for file, path in located(card, root, verify=verify).items():
        x, y = read_mat(path, ("x", "y"))
        if x.ndim != 3 or y.shape != (*x.shape[:2], len(card.classes)) or x.shape[2:] != card.shape:
            raise FileError(
                f"{path} holds x {list(x.shape)} and y {list(y.shape)}; [n, T, ...] of the card are needed."
            )
        if not (np.isin(y, (0, 1)).all() and (y.sum(-1) <= 1).all()):
            raise FileError(f"{path}: y marks more than one class in a step.")
        signal = torch.from_numpy(x.astype(np.float32))
        signal[:, -1, 0] = 0
        labels = torch.from_numpy(y.argmax(-1).astype(np.int64))
        parts[file.part] = Series(tuple(signal), tuple(labels), card.classes)
    number = len(parts["train"])
    return Parts(parts, card, torch.arange(number) >= number - max(number * _VALIDATION // card.counts["train"], 1))


def read_mat(path: str | os.PathLike[str], names: tuple[str, ...]) -> list[np.ndarray]:
    """Read arrays of numbers by name from a MATLAB file of version 5."""
    from scipy.io import loadmat, whosmat

    with regular_file(path, limit=_LARGEST), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            declared = {name: shape for name, shape, _ in whosmat(Path(path))}
            for name in names:
                if name not in declared:
                    raise FileError(f"{path} lacks the array {name!r}; it has {', '.join(declared) or 'none'}.")
                if math.prod(declared[name]) > _CELLS:
                    raise FileError(f"{path}: {name} declares {list(declared[name])}; {_CELLS:,} values are allowed.")
            found = loadmat(Path(path), variable_names=list(names))
            arrays = [np.asarray(found[name]) for name in names]
        except FileError:
            raise
        except (
            ValueError,
            TypeError,
            KeyError,
            OSError,
            EOFError,
            zlib.error,
            MemoryError,
            NotImplementedError,
        ) as error:
            raise FileError(f"{path} is no complete MATLAB file: {error}. Fetch it again.") from error
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind not in "biuf":
            raise FileError(f"{path}: {name} is {array.dtype}, where numbers are expected.")
    return arrays
