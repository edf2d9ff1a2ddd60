"""Labelled events: samples in memory, and samples that lie in files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.events.container import SensorEvents
from neurosim.datasets.events.pipeline import EventFrames
from neurosim.datasets.labelled_files import LabelledFiles, check_labels, chosen_numbers
from neurosim.errors import InputError


@dataclass(frozen=True, eq=False)
class EventSet:
    """Samples of events with one label each.

    Attributes
    ----------
    events : SensorEvents
        All samples.
    y : Tensor
        int64 [B].
    classes : tuple of str
        Names of the labels.
    groups : tuple of str
        Person or recording of each sample; empty where that is not known.

    Raises
    ------
    ShapeError, InputError
        When these do not fit together.

    Examples
    --------
    >>> import torch
    >>> from neurosim.datasets.events import EventSet, SensorEvents
    >>> events = SensorEvents([0, 900, 5], [0, 1, 2], shape=3, offsets=[0, 2, 3])
    >>> data = EventSet(events, torch.tensor([1, 0]), ("left", "right"))
    >>> x, y = data.frames(dt=1e-3, T=4)[0]
    >>> x.shape, y
    (torch.Size([4, 3]), 1)
    """

    events: SensorEvents
    y: Tensor
    classes: tuple[str, ...]
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_labels("EventSet", self.y, self.events.B, self.classes, self.groups)

    def __len__(self) -> int:
        return len(self.y)

    def subset(self, index: Tensor | Sequence[int]) -> EventSet:
        """Return the samples that `index` (numbers, or a mask of booleans) selects."""
        numbers = chosen_numbers(index, len(self))
        groups = tuple(self.groups[k] for k in numbers) if self.groups else ()
        return replace(self, events=self.events.samples(numbers), y=self.y[numbers], groups=groups)

    def frames(self, **options: Any) -> EventFrames:
        """Return the frames of each sample; `options` are those of `EventFrames`."""
        return EventFrames(self.events, self.y, **options)


@dataclass(frozen=True, eq=False)
class EventFiles(LabelledFiles[SensorEvents]):
    """Samples of events that lie in files, as `LabelledFiles`."""

    def loaded(self, limit: int = 10**9) -> EventSet:
        """Read all samples into memory.

        Parameters
        ----------
        limit : int
            Events that are read at most.

        Raises
        ------
        InputError
            When there are more events than `limit`.
        """
        most = checked_integer("limit", limit)
        parts, number = [], 0
        for place in self.places:
            parts.append(self.read(place))
            number += len(parts[-1])
            if number > most:
                raise InputError(f"loaded: more than {most:,} events. Give a larger limit, or take a subset first.")
        if not parts:
            raise InputError("loaded: there is no sample.")
        return EventSet(SensorEvents.joined(parts), self.y, self.classes, self.groups)


def by_class(folder: Path, classes: Sequence[str], pattern: str) -> tuple[list[Path], list[int]]:
    """Return the files below a folder with a sub-folder for each class, sorted, and their labels."""
    paths, labels = list[Path](), list[int]()
    for label, name in enumerate(classes):
        found = sorted((folder / name).glob(pattern), key=natural)
        paths += found
        labels += [label] * len(found)
    return paths, labels


def natural(path: Path) -> tuple[str, ...]:
    """Return a key that sorts 2 before 10."""
    return tuple(part.zfill(12) if part.isdigit() else part for part in re.split(r"(\d+)", path.name))
