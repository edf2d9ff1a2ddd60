"""A data set, the network that is trained on it, and how: what a run of the arena consists of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from neurosim.datasets import Labelled, Series
from neurosim.datasets.events import EpochSampler
from neurosim.learning import pad
from neurosim.learning.losses import Loss
from neurosim.learning.training.batches import Batches
from neurosim.network.network import Network

Part = Labelled | Series


class Data(NamedTuple):
    """The three parts of a data set, ready for a network.

    Attributes
    ----------
    train, validation, test : Labelled or Series
        Samples that no two parts share.
    """

    train: Part
    validation: Part
    test: Part


@dataclass(frozen=True)
class Recipe:
    """How one network is trained on one data set.

    Attributes
    ----------
    data : callable
        Given the data root (or None), a folder for what is computed once, and whether few samples do, returns the
        parts.
    build : callable
        Returns the network, drawn from torch's generator.
    loss : Loss
    epochs, batch_size : int
    learning_rate : float
        Of Adam at its highest: it rises over a tenth of the steps and falls to 0 (`OneCycleLR`).
    weight_decay : float
        Of AdamW.
    smoothing : float
        Decay of the moving average of the parameters.
    augment : callable, optional
        Changes a batch of training inputs [T, B, ...], with torch's generator.
    refit : bool
        Whether the network that is tested is trained anew on the training and the validation part together, for all
        epochs. Otherwise it is the one of the best epoch on the validation part.
    """

    data: Callable[[str | os.PathLike[str] | None, Path, bool], Data]
    build: Callable[[], Network]
    loss: Loss
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    smoothing: float | None = None
    augment: Callable[[Tensor], Tensor] | None = None
    refit: bool = False


class Augmented:
    """Batches whose inputs are changed at random."""

    def __init__(self, batches: Batches, change: Callable[[Tensor], Tensor]) -> None:
        self._batches, self._change = batches, change

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next pass uses."""
        set_epoch = getattr(self._batches, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]

    def __iter__(self):  # type: ignore[no-untyped-def]
        for x, *rest in self._batches:
            yield self._change(x), *rest


def joined(a: Part, b: Part) -> Part:
    """Return the samples of both parts as one."""
    if isinstance(a, Labelled) and isinstance(b, Labelled):
        return replace(a, x=torch.cat([a.x, b.x]), y=torch.cat([a.y, b.y]))
    assert isinstance(a, Series)
    assert isinstance(b, Series)
    return Series.joined(a, b)


def batches_of(part: Part, size: int, *, seed: int = 0, shuffle: bool = False) -> Batches:
    """Return a part in batches; sequences of different lengths are padded and come with their lengths."""
    if isinstance(part, Labelled):
        return part.batches(size, seed=seed, shuffle=shuffle)
    sampler = EpochSampler(part, seed=seed, shuffle=shuffle)
    return DataLoader(part, size, sampler=sampler, collate_fn=pad)
