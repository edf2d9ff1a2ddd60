"""Sequences over time of any lengths, with a label or a target for each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.labelled import Labelled
from neurosim.errors import InputError, ShapeError


@dataclass(frozen=True, eq=False)
class Series(Dataset[tuple[Tensor, Tensor]]):
    """Sequences over time, for `torch.utils.data.DataLoader` with ``collate_fn=neurosim.learning.pad``.

    Attributes
    ----------
    x : tuple of Tensor [T_k, ...]
        The sequences.
    y : tuple of Tensor
        A label [], a label for each step [T_k], or values for each step [T_k, ...] of each sequence.
    classes : tuple of str
        Names of the labels; empty for values.
    dt : float
        Time between two steps, s; 1 where the steps have no unit.
    groups : tuple of str
        Person, speaker or recording that each sequence comes from; empty where that is not known.

    Raises
    ------
    ShapeError, InputError
        When these do not fit together.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from neurosim.learning import pad
    >>> data = Series((torch.zeros(3, 2), torch.ones(5, 2)), (torch.tensor(0), torch.tensor(1)), ("a", "b"))
    >>> x, y, lengths = next(iter(DataLoader(data, 2, collate_fn=pad)))
    >>> x.shape, y.tolist(), lengths.tolist()
    (torch.Size([5, 2, 2]), [0, 1], [3, 5])
    """

    x: tuple[Tensor, ...]
    y: tuple[Tensor, ...]
    classes: tuple[str, ...]
    dt: float = 1.0
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or (self.groups and len(self.groups) != len(self.x)):
            raise ShapeError(
                f"Series: {len(self.x)} sequences have {len(self.y)} targets, {len(self.groups)} groups; give as many."
            )
        for number, (x, y) in enumerate(zip(self.x, self.y, strict=True)):
            if not x.ndim or not len(x) or (y.ndim and len(y) != len(x)):
                raise ShapeError(
                    f"Series: sequence {number} is {list(x.shape)} with a target of {list(y.shape)}; [T, ...] with [] "
                    "or [T, ...] is expected, T from 1."
                )
            if x.shape[1:] != self.x[0].shape[1:]:
                raise ShapeError(
                    f"Series: sequence {number} has steps of {list(x.shape[1:])}, not {list(self.x[0].shape[1:])}."
                )
            if self.classes and (y.dtype != torch.int64 or not 0 <= int(y.min()) <= int(y.max()) < len(self.classes)):
                raise InputError(f"Series: target {number} is no label from 0 to {len(self.classes) - 1} of int64.")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[Tensor, Tensor]:
        # An `EpochSampler` gives (epoch, sample); nothing here changes from epoch to epoch.
        sample = index[1] if isinstance(index, tuple) else index
        return self.x[sample], self.y[sample]

    def __repr__(self) -> str:
        lengths = [len(x) for x in self.x]
        steps = f"{min(lengths)} to {max(lengths)} steps of {list(self.x[0].shape[1:])}" if lengths else "empty"
        return f"<Series n={len(self)}, {steps}, {len(self.classes)} classes>"

    def subset(self, index: Tensor | Sequence[int]) -> Series:
        """Return the sequences that `index` (numbers, or a mask of booleans) selects."""
        chosen = torch.arange(len(self))[index if isinstance(index, Tensor) else torch.tensor(list(index)).long()]
        numbers = chosen.tolist()
        groups = tuple(self.groups[k] for k in numbers) if self.groups else ()
        return replace(self, x=tuple(self.x[k] for k in numbers), y=tuple(self.y[k] for k in numbers), groups=groups)

    def of_groups(self, *names: str) -> Series:
        """Return the sequences of some persons, speakers or recordings."""
        unknown = set(names) - set(self.groups)
        if unknown:
            raise InputError(f"of_groups: there is no {sorted(unknown)[0]!r}; there are {sorted(set(self.groups))}.")
        return self.subset(torch.tensor([group in names for group in self.groups], dtype=torch.bool))

    def windows(self, steps: int, every: int | None = None) -> tuple[Labelled, tuple[str, ...]]:
        """Cut the sequences into windows of one length; what does not fill one is left out.

        Parameters
        ----------
        steps : int
            T of a window.
        every : int, optional
            Steps from the beginning of a window to that of the next; `steps` if left out.

        Returns
        -------
        Labelled
            `x` [n, T, ...], `y` the label of the sequence; timed.
        groups : tuple of str
            Group of each window, for `split_off`.
        """
        T = checked_integer("steps", steps)
        stride = T if every is None else checked_integer("every", every)
        if any(y.ndim for y in self.y) or not self.classes:
            raise InputError("windows: the sequences have targets for each step; one label each is needed.")
        starts = [range(0, len(x) - T + 1, stride) for x in self.x]
        x = [self.x[k][a : a + T] for k, each in enumerate(starts) for a in each]
        if not x:
            raise InputError(f"windows: no sequence has {T} steps; the longest has {max(map(len, self.x), default=0)}.")
        sizes = np.array([len(each) for each in starts])
        y = torch.tensor([int(each) for each in self.y]).repeat_interleave(torch.from_numpy(sizes))
        groups = tuple(np.repeat(np.array(self.groups, dtype=object), sizes)) if self.groups else ()
        return Labelled(torch.stack(x), y, self.classes, timed=True), groups

    @classmethod
    def joined(cls, *parts: Series) -> Series:
        """Return the sequences of all parts, one part behind the other."""
        if not parts or len({(part.classes, part.dt, bool(part.groups)) for part in parts}) != 1:
            raise InputError("joined: give one part or more, of the same classes and dt, all with groups or none.")
        x, y, groups = (tuple(each for part in parts for each in getattr(part, name)) for name in ("x", "y", "groups"))
        return replace(parts[0], x=x, y=y, groups=groups)
