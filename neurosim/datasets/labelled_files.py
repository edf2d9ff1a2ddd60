"""Samples that lie in files, with one label each: nothing is read before it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from neurosim.errors import InputError, ShapeError

T = TypeVar("T")
_Self = TypeVar("_Self", bound="LabelledFiles[Any]")


def check_labels(name: str, y: Tensor, number: int, classes: tuple[str, ...], groups: tuple[str, ...]) -> None:
    """Refuse labels that do not fit to the samples or the classes."""
    if y.dtype != torch.int64 or y.shape != (number,) or (groups and len(groups) != number):
        raise ShapeError(
            f"{name}: {number} samples have labels {y.dtype} {list(y.shape)} and {len(groups)} groups; int64 [n] and "
            "as many groups, or none, are expected."
        )
    if number and not 0 <= int(y.min()) <= int(y.max()) < len(classes):
        raise InputError(f"{name}: y runs from {int(y.min())} to {int(y.max())}; there are {len(classes)} classes.")


def chosen_numbers(index: Tensor | Sequence[int], number: int) -> list[int]:
    """Return numbers of samples from numbers or a mask of booleans."""
    which = index if isinstance(index, Tensor) else torch.tensor(list(index)).long()
    chosen: list[int] = torch.arange(number)[which].reshape(-1).tolist()
    return chosen


@dataclass(frozen=True, eq=False)
class LabelledFiles(Dataset[tuple[T, int]], Generic[T]):
    """Samples in files, for `torch.utils.data.DataLoader`: sample k is what `read` returns, and its label.

    Attributes
    ----------
    places : tuple
        File of each sample, and what else `read` needs to find it.
    y : Tensor
        int64 [n].
    classes : tuple of str
        Names of the labels.
    read : callable
        Returns the sample of a place.
    groups : tuple of str
        Person or recording of each sample; empty where that is not known.

    Raises
    ------
    ShapeError, InputError
        When these do not fit together.
    """

    places: tuple[Any, ...]
    y: Tensor
    classes: tuple[str, ...]
    read: Callable[[Any], T]
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_labels(type(self).__name__, self.y, len(self.places), self.classes, self.groups)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[T, int]:
        # An `EpochSampler` gives (epoch, sample); nothing here changes from epoch to epoch.
        sample = index[1] if isinstance(index, tuple) else index
        return self.read(self.places[sample]), int(self.y[sample])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} n={len(self)}, {len(self.classes)} classes>"

    def subset(self: _Self, index: Tensor | Sequence[int]) -> _Self:
        """Return the samples that `index` (numbers, or a mask of booleans) selects; nothing is read."""
        numbers = chosen_numbers(index, len(self))
        groups = tuple(self.groups[k] for k in numbers) if self.groups else ()
        return replace(self, places=tuple(self.places[k] for k in numbers), y=self.y[numbers], groups=groups)
