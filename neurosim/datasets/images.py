"""MNIST, Fashion-MNIST and other data that a card describes as idx files of images and labels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from neurosim.datasets.cards import Card, card
from neurosim.datasets.idx import read_idx
from neurosim.datasets.labelled import Labelled, Split
from neurosim.datasets.places import located
from neurosim.errors import FileError, InputError


def mnist(root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Split:
    """Load MNIST: 60,000 and 10,000 handwritten digits, 28 x 28.

    Parameters
    ----------
    root : path-like, optional
        The data root: the four files lie in ``root/mnist``, ``root/MNIST/raw`` or ``root`` itself, with or without
        ``.gz``. Default: the environment variable ``NEUROSIM_DATA``.
    verify : bool
        Compare digests and numbers of samples with the card. False for a modified copy.

    Returns
    -------
    Split
        ``train`` and ``test``: `x` float32 [n, 1, 28, 28] in [0, 1], `y` int64 [n]. Use ``.flat()`` for [n, 784].

    Raises
    ------
    FileError
        When a file is missing, damaged or not the one of the card.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), Proc. IEEE 86(11), doi:10.1109/5.726791.
    """
    return load_idx(card("mnist"), root, verify=verify)


def fashion_mnist(root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Split:
    """Load Fashion-MNIST: 60,000 and 10,000 pictures of clothes, 28 x 28.

    Parameters
    ----------
    root : path-like, optional
        The data root: the four files lie in ``root/fashion_mnist``, ``root/fashion``, ``root/FashionMNIST/raw`` or
        ``root`` itself, with or without ``.gz``. Default: the environment variable ``NEUROSIM_DATA``.
    verify : bool
        Compare digests and numbers of samples with the card. False for a modified copy.

    Returns
    -------
    Split
        As `mnist`.

    Raises
    ------
    FileError
        When a file is missing, damaged or not the one of the card.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf (2017), arXiv:1708.07747.
    """
    return load_idx(card("fashion_mnist"), root, verify=verify)


def load_idx(card: Card, root: str | os.PathLike[str] | None = None, *, verify: bool = True) -> Split:
    """Load the images and labels that a card describes as idx files.

    Parameters
    ----------
    card : Card
        With ``format = "idx"`` and one file of images and one of labels for each of ``train`` and ``test``.
    root : path-like, optional
        The data root. Default: the environment variable ``NEUROSIM_DATA``.
    verify : bool
        Compare digests (where the card states them) and numbers of samples with the card.

    Returns
    -------
    Split
        `x` float32 [n, *card.shape] in [0, 1] (stored values divided by ``card.scale``), `y` int64 [n].

    Raises
    ------
    InputError
        When the card does not describe such files.
    FileError
        When a file is missing, damaged or not the one of the card.
    """
    roles = sorted((file.part, file.holds) for file in card.files)
    if card.format != "idx" or roles != [(part, what) for part in ("test", "train") for what in ("images", "labels")]:
        raise InputError(
            f"card {card.name!r} has format {card.format!r} and the files {roles}; load_idx needs idx and "
            f"one file of images and one of labels for each of train and test."
        )
    paths = located(card, root, verify=verify)
    found = {(file.part, file.holds): path for file, path in paths.items()}
    train, test = (
        _labelled(card, part, found[part, "images"], found[part, "labels"], verify) for part in ("train", "test")
    )
    return Split(train, test, card)


def _labelled(card: Card, part: str, images: Path, labels: Path, verify: bool) -> Labelled:
    x, y = read_idx(images), read_idx(labels)
    shapes = {card.shape, card.shape[1:]} if card.shape[0] == 1 else {card.shape}
    if x.shape[1:] not in shapes:
        raise FileError(f"{images} holds samples of shape {x.shape[1:]}, expected {card.shape} of the card.")
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise FileError(f"{labels} holds {y.dtype} of shape {y.shape}, expected integers [n].")
    if len(x) != len(y):
        raise FileError(f"{images} holds {len(x)} samples, but {labels} holds {len(y)} labels. Fetch both again.")
    if verify and len(x) != card.counts[part]:
        raise FileError(
            f"{images} holds {len(x)} samples, expected {card.counts[part]}. "
            f"Fetch it again, or pass verify=False if it is a modified copy."
        )
    if len(y) and not 0 <= y.min() <= y.max() < len(card.classes):
        raise FileError(f"{labels} holds labels from {y.min()} to {y.max()}, expected 0 to {len(card.classes) - 1}.")
    if x.size and not 0 <= x.min() <= x.max() <= card.scale:
        raise FileError(f"{images} holds values from {x.min()} to {x.max()}, expected 0 to {card.scale:g}.")
    values = torch.from_numpy(x).to(torch.float32).div_(card.scale).reshape(len(x), *card.shape)
    return Labelled(values, torch.from_numpy(y.astype(np.int64)), card.classes)
