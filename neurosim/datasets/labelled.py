"""Labelled samples, and batches of them that depend on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.cards import Card
from neurosim.datasets.checks import checked_integer
from neurosim.datasets.encoders import Encoder
from neurosim.errors import InputError, ShapeError


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples with one label each.

    Attributes
    ----------
    x : torch.Tensor
        [n, ...], or [n, T, ...] where `timed`.
    y : torch.Tensor
        int64 [n], each in 0 ... len(classes) - 1.
    classes : tuple of str
        Names of the labels.
    timed : bool
        Whether the samples themselves run over time.

    Raises
    ------
    ShapeError, InputError
        When `x`, `y` and `classes` do not fit together.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    timed: bool = False

    def __post_init__(self) -> None:
        if self.y.ndim != 1 or self.y.dtype != torch.int64:
            raise ShapeError(f"y is {self.y.dtype} of shape {tuple(self.y.shape)}; labels are int64 of shape [n].")
        least = 2 if self.timed else 1
        if self.x.ndim < least or len(self.x) != len(self.y):
            raise ShapeError(
                f"x has shape {tuple(self.x.shape)} for {len(self.y)} labels; "
                f"it must be [n, {'T, ' if self.timed else ''}...] with n = {len(self.y)}."
            )
        if len(self.y) and not 0 <= int(self.y.min()) <= int(self.y.max()) < len(self.classes):
            raise InputError(
                f"y runs from {int(self.y.min())} to {int(self.y.max())}, but there are {len(self.classes)} classes: "
                f"labels must lie in 0 to {len(self.classes) - 1}."
            )

    def __len__(self) -> int:
        return len(self.y)

    def flat(self) -> Labelled:
        """Return the same samples as vectors: `x` [n, N], or [n, T, N] where `timed`. Nothing is copied."""
        return replace(self, x=self.x.flatten(2 if self.timed else 1) if self.x.ndim > 1 else self.x[:, None])

    def subset(self, index: Tensor | slice) -> Labelled:
        """Return the samples that `index` (numbers, a mask or a slice) selects."""
        return replace(self, x=self.x[index], y=self.y[index])

    def to(self, device: torch.device | str) -> Labelled:
        """Return the samples on another device."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    def batches(
        self, batch_size: int, *, seed: int = 0, encoder: Encoder | None = None, epoch: int = 0, shuffle: bool = True
    ) -> Batches:
        """Return the samples in batches; see `Batches`."""
        return Batches(self, batch_size, seed=seed, encoder=encoder, epoch=epoch, shuffle=shuffle)


@dataclass(frozen=True, eq=False)
class Split:
    """A dataset in its two parts.

    Attributes
    ----------
    train, test : Labelled
        The parts.
    card : Card
        Description of the data.
    """

    train: Labelled
    test: Labelled
    card: Card

    def flat(self) -> Split:
        """Return both parts with samples as vectors."""
        return replace(self, train=self.train.flat(), test=self.test.flat())


class Batches:
    """Batches (x, y) that can be iterated any number of times.

    Order and random spikes depend on `seed`, the epoch and the number of the batch, and on nothing else: a training
    run that resumes at epoch 7 gets the batches of the uninterrupted run, bit for bit. The last batch may be short.

    Parameters
    ----------
    data : Labelled
        The samples.
    batch_size : int
        Samples in a batch, at least 1.
    seed : int
        Not negative.
    encoder : Encoder, optional
        Converts a batch to spikes or currents [T, B, ...]. Without one, `x` is [B, ...] as stored, or [T, B, ...] where
        the data is timed.
    epoch : int
        Not negative; see `set_epoch`.
    shuffle : bool
        False keeps the order of `data`, for evaluation.

    Raises
    ------
    InputError
        For sizes or seeds out of range, or an encoder that does not fit the data.

    Examples
    --------
    >>> from neurosim.datasets import digits, rate
    >>> batches = digits().train.flat().batches(100, seed=1, encoder=rate(25, max_rate=200.0, dt=1e-3))
    >>> batches.set_epoch(3)
    >>> x, y = next(iter(batches))
    >>> len(batches), tuple(x.shape), tuple(y.shape)
    (15, (25, 100, 64), (100,))
    """

    def __init__(
        self,
        data: Labelled,
        batch_size: int,
        *,
        seed: int = 0,
        encoder: Encoder | None = None,
        epoch: int = 0,
        shuffle: bool = True,
    ) -> None:
        if encoder is not None and encoder.timed_input != data.timed:
            takes, given = ("", "not ") if encoder.timed_input else ("not ", "")
            raise InputError(
                f"{encoder!r} does {takes}take samples that run over time, but the data is {given}timed. "
                f"Choose another encoder, or set `timed` on the data."
            )
        self.data = data
        self.batch_size = checked_integer("batch_size", batch_size)
        self.seed = checked_integer("seed", seed, least=0)
        self.encoder = encoder
        self.epoch = checked_integer("epoch", epoch, least=0)
        self.shuffle = shuffle

    def set_epoch(self, epoch: int) -> None:
        """Choose which epoch's order and random numbers the next pass uses."""
        self.epoch = checked_integer("epoch", epoch, least=0)

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self.epoch  # a pass keeps the epoch with which it began
        order = torch.arange(len(self.data))
        if self.shuffle:
            order = torch.randperm(len(self.data), generator=_generator(self.seed, epoch))
        for number, index in enumerate(order.split(self.batch_size)):
            if len(index) == 0:  # torch splits nothing into one empty piece
                return
            index = index.to(self.data.x.device)
            x, y = self.data.x[index], self.data.y[index.to(self.data.y.device)]
            if self.data.timed:
                x = x.movedim(1, 0).contiguous()
            if self.encoder is not None:
                x = self.encoder(x, _generator(self.seed, epoch, number))
            yield x, y


def _generator(seed: int, *key: int) -> torch.Generator:
    # SeedSequence keeps neighbouring seeds and epochs apart and is the same in every version of numpy.
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
