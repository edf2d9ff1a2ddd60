"""A data set in its parts, and the part of the training data that is held out for validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from neurosim.datasets.cards import Card
from neurosim.datasets.checks import checked_integer
from neurosim.datasets.labelled import Labelled, Split
from neurosim.errors import InputError, ShapeError

D = TypeVar("D")


class Parts(Mapping[str, D], Generic[D]):
    """The parts of a data set by name: ``parts["train"]``, ``parts["test"]`` and, where there is one, ``"validation"``.

    Parameters
    ----------
    parts : mapping of str to data
        `Labelled`, `Series`, `EventSet`, `EventFiles`, or tuples of samples.
    card : Card
        Description of the data.
    holdout : Tensor [n] of bool, optional
        Which samples of ``"train"`` `held_out` takes for validation, as the card states.

    Examples
    --------
    >>> from neurosim.datasets import yin_yang
    >>> parts = yin_yang()
    >>> {name: len(part) for name, part in parts.items()}
    {'train': 5000, 'validation': 1000, 'test': 1000}
    """

    def __init__(self, parts: Mapping[str, D], card: Card, holdout: Tensor | None = None) -> None:
        self._parts, self.card, self._holdout = dict(parts), card, holdout

    def __getitem__(self, name: str) -> D:
        if name not in self._parts:
            raise InputError(f"{self.card.name} has no part {name!r}; it has {', '.join(self._parts)}.")
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {_size(part)}" for name, part in self._parts.items())
        return f"<Parts of {self.card.name}, {sizes}>"

    def held_out(self) -> Parts[D]:
        """Return the parts with a part ``"validation"``: the publisher's, or samples of ``"train"`` as the card states.

        Raises
        ------
        InputError
            When the data set has one part, so that a split has to be chosen first; see `split_off`.
        """
        if "validation" in self:
            return self
        if self._holdout is None:
            raise InputError(
                f"{self.card.name} has no validation part and no rule for one: {self.card.validation or 'none stated'}"
                " Choose one with split_off(data, share)."
            )
        train = self["train"]
        parts = {"train": subset_of(train, ~self._holdout), "validation": subset_of(train, self._holdout)}
        return Parts({**parts, **{name: part for name, part in self.items() if name != "train"}}, self.card)

    def split(self) -> Split:
        """Return ``"train"`` and ``"test"`` as a `Split`, for data whose samples have one size.

        Raises
        ------
        InputError
            For other data.
        """
        pair = tuple(self._parts.get(name) for name in ("train", "test"))
        train, test = pair
        if not isinstance(train, Labelled) or not isinstance(test, Labelled):
            kinds = ", ".join(f"{name}: {type(part).__name__}" for name, part in self.items())
            raise InputError(
                f"{self.card.name} is no Split of samples of one size with one label each; it has {kinds}. "
                "Write a function that makes one, for example by binning events to frames."
            )
        return Split(train, test, self.card)


def _size(part: Any) -> int:
    """Return the number of samples of a part, or of characters of a text."""
    return len(getattr(part, "codes", part))


def subset_of(data: D, mask: Tensor) -> D:
    """Return the samples of a part for which a mask holds."""
    if isinstance(data, tuple):
        return tuple(sample for sample, kept in zip(data, mask.tolist(), strict=True) if kept)  # type: ignore[return-value]
    made: D = data.subset(mask)  # type: ignore[attr-defined]
    return made


def split_off(data: D, share: float, *, seed: int = 0, groups: Any = None) -> tuple[D, D]:
    """Divide data in two: the rest, and about `share` of the samples.

    The split depends on the seed and on the labels alone. Without `groups` every class gives the same share. With
    `groups` (persons, speakers, recordings) a group is in one part as a whole, so that the second part is of unseen
    persons.

    Parameters
    ----------
    data : Labelled, Series, EventSet or EventFiles
        With a label for each sample.
    share : float
        Between 0 and 1.
    seed : int
        Not negative.
    groups : sequence [n], optional
        Group of each sample.

    Returns
    -------
    rest, taken
        Both in the order of `data`.

    Raises
    ------
    InputError
        For a share out of range, or one by which a part would be empty.

    Examples
    --------
    >>> from neurosim.datasets import digits, split_off
    >>> rest, taken = split_off(digits().train, 0.1)
    >>> len(rest), len(taken), torch.bincount(taken.y).tolist()
    (1294, 143, [14, 15, 14, 15, 14, 15, 14, 14, 14, 14])
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise InputError(f"split_off: share = {share!r}, but it must lie between 0 and 1.")
    draw = np.random.RandomState(checked_integer("seed", seed, least=0))
    number = len(data)  # type: ignore[arg-type]
    keys = labels_of(data) if groups is None else np.asarray(groups)
    if keys.shape != (number,):
        raise ShapeError(f"split_off: {number} samples have {list(keys.shape)} labels or groups; give one each.")
    if groups is None:
        chosen = [
            draw.permutation(np.flatnonzero(keys == key))[: round(share * int((keys == key).sum()))]
            for key in np.unique(keys)
        ]
        taken = np.isin(np.arange(number), np.concatenate(chosen) if chosen else [])
    else:
        names = draw.permutation(np.unique(keys))
        taken = np.isin(keys, names[: max(round(share * len(names)), 1)])
    if taken.all() or not taken.any():
        raise InputError(f"split_off: share = {share!r} leaves a part of {number} samples empty. Choose another.")
    mask = torch.from_numpy(taken)
    return subset_of(data, ~mask), subset_of(data, mask)


def labels_of(data: Any) -> np.ndarray:
    """Return the label of each sample, or raise where samples have other targets."""
    y = data.y
    if isinstance(y, tuple):
        if any(each.ndim or each.is_floating_point() for each in y):
            raise InputError("split_off: samples have targets over time, not one label each. Give groups=.")
        return np.array([int(each) for each in y])
    return np.asarray(y)
