"""The adding task on spoken digits: two words one after the other, and the class is the sum of their digits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.labelled import Labelled
from neurosim.errors import InputError

DIGITS = 10


class Adding:
    """Batches (x, y) of pairs of words, drawn at random: SHD-Adding over any set of spoken digits.

    For a batch of B, 2 B samples are drawn with replacement; sample i and sample i + B follow one another in time. The
    class is the sum of their digits, 0 to 18, a digit being the label modulo 10: of the 20 labels of the Spiking
    Heidelberg Digits the language is ignored.

    A training set is unlimited: every epoch (see `set_epoch`) draws other pairs, which depend on the seed, the epoch
    and the number of the batch alone. With `fixed` every pass draws the same pairs, for validation and test.

    Parameters
    ----------
    data : Labelled
        Words over time, `x` [n, T, ...].
    batch_size : int
        B.
    batches : int
        Batches in an epoch.
    seed : int
        Not negative.
    fixed : bool
        Whether every epoch is the same.

    Attributes
    ----------
    classes : int
        Number of classes, 19.

    Raises
    ------
    InputError
        For data that does not run over time or is empty, and sizes or seeds out of range.

    References
    ----------
    Spieler et al. 2023, arXiv:2306.16922 (SHD-Adding).

    Examples
    --------
    >>> import torch
    >>> from neurosim.datasets import Labelled
    >>> from neurosim.datasets.adding import Adding
    >>> words = Labelled(torch.rand(20, 5, 3), torch.arange(20), tuple(map(str, range(20))), timed=True)
    >>> x, y = next(iter(Adding(words, 4, batches=1)))
    >>> tuple(x.shape), tuple(y.shape)
    ((10, 4, 3), (4,))
    """

    classes = 2 * DIGITS - 1

    def __init__(
        self, data: Labelled, batch_size: int, *, batches: int = 100, seed: int = 0, fixed: bool = False
    ) -> None:
        if not data.timed:
            raise InputError("Adding: the data must run over time, x [n, T, ...]; set timed=True on it if it does.")
        if not len(data):
            raise InputError("Adding: the data holds no words; there is nothing to draw from.")
        self.data = data
        self.batch_size = checked_integer("batch_size", batch_size)
        self.batches = checked_integer("batches", batches)
        self.seed = checked_integer("seed", seed, least=0)
        self.fixed = fixed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose which epoch's pairs the next pass draws; without effect if they are fixed."""
        self.epoch = checked_integer("epoch", epoch, least=0)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = 0 if self.fixed else self.epoch
        for number in range(self.batches):
            yield self._batch(*self.pairs(epoch, number))

    def pairs(self, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """Return which words come first and which second in batch `number` of an epoch, int64 [B] each."""
        # As in `Batches`: neighbouring seeds, epochs and batches are kept apart.
        state = np.random.SeedSequence(self.seed, spawn_key=(epoch, number)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        first, second = torch.randint(len(self.data), (2, self.batch_size), generator=generator)
        return first, second

    def _batch(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.data.x, self.data.y
        words = torch.cat((x[first.to(x.device)], x[second.to(x.device)]), dim=1)
        total = y[first.to(y.device)] % DIGITS + y[second.to(y.device)] % DIGITS
        return words.movedim(1, 0).contiguous(), total
