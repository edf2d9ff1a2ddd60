"""Events of sensors as a data set of torch: frames of each sample, in an order that can be resumed, and a cache."""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from neurosim.datasets.checks import checked_integer
from neurosim.datasets.events.augmentation import Augmentation
from neurosim.datasets.events.bins import Bins, counts
from neurosim.datasets.events.container import MICROSECOND, SensorEvents
from neurosim.datasets.places import sha256_of
from neurosim.errors import FileError, InputError, ShapeError
from neurosim.files.atomic import replaced
from neurosim.units import steps_of

Index = int | tuple[int, int]


def _place(name: str, index: Index, number: int) -> tuple[int, int]:
    """Return the epoch and the sample that an index of a data set of `number` samples means."""
    try:
        epoch, sample = map(operator.index, index if isinstance(index, tuple) else (0, index))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: index = {index!r}; give the number of a sample, or (epoch, sample).") from error
    if not -number <= sample < number:
        raise IndexError(f"{name}: {index} is no sample; there are 0 to {number - 1}.")
    return checked_integer("epoch", epoch, least=0), sample % number


class EventFrames(Dataset[tuple[Tensor, int]]):
    """The frames of each sample, for `torch.utils.data.DataLoader`.

    Sample k is x [T_k, ...], time first, and its label. Samples of several lengths become a batch (x [T, B, ...],
    y [B], lengths [B]) by ``collate_fn=neurosim.learning.pad``, which `fit`, the losses and the metrics take as it is.

    Changes for training depend on the seed, the epoch and the sample alone. The epoch comes with the index from an
    `EpochSampler`, so that workers of any number have it; a plain index is one of epoch 0.

    Parameters
    ----------
    events : SensorEvents
        All samples.
    labels : Tensor or sequence of int
        A label for each, an integer.
    dt : float
        Length of a step, s.
    T : int, optional
        Steps of every sample: later events are left out. Up to each sample's last event if left out.
    value, dtype
        As for `SensorEvents.binned`.
    augment : sequence of Augmentation
        Changes, one after the other.
    seed : int
        Not negative.

    Raises
    ------
    ShapeError
        When there are not as many labels as samples.
    InputError, UnitError
        For labels that are no integers, and parameters that `SensorEvents.binned` refuses.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from neurosim.learning import pad
    >>> events = SensorEvents([0, 900, 5, 1500], [0, 1, 2, 0], shape=3, offsets=[0, 2, 4])
    >>> frames = EventFrames(events, [7, 9], dt=1e-3)
    >>> loader = DataLoader(frames, 2, sampler=EpochSampler(frames, seed=1, shuffle=False), collate_fn=pad)
    >>> x, y, lengths = next(iter(loader))
    >>> x.shape, y.tolist(), lengths.tolist()
    (torch.Size([2, 2, 3]), [7, 9], [1, 2])
    """

    def __init__(
        self,
        events: SensorEvents,
        labels: Tensor | Sequence[int],
        *,
        dt: float,
        T: int | None = None,
        value: Bins = counts,
        dtype: torch.dtype = torch.float32,
        augment: Sequence[Augmentation] = (),
        seed: int = 0,
    ) -> None:
        given = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
        if given.shape != (events.B,):
            raise ShapeError(f"EventFrames: {events.B} samples have labels of shape {list(given.shape)}.")
        if given.size and given.dtype.kind not in "biu":
            raise InputError(f"EventFrames: labels are {given.dtype}; integers are expected.")
        wrong = [change for change in augment if not isinstance(change, Augmentation)]
        if wrong:
            raise InputError(f"EventFrames: augment holds {wrong[0]!r}; give changes such as drop(0.1).")
        events.samples([]).binned(dt, 1, value=value, dtype=dtype)  # refuses parameters now, not in a worker
        self.labels = torch.from_numpy(given.astype(np.int64))
        self.events, self.dt, self.value, self.dtype = events, dt, value, dtype
        self.T = None if T is None else checked_integer("T", T)
        self.augment, self.seed = tuple(augment), checked_integer("seed", seed, least=0)

    def __len__(self) -> int:
        return self.events.B

    def __getitem__(self, index: Index) -> tuple[Tensor, int]:
        epoch, sample = _place("EventFrames", index, len(self))
        events = self.events.samples(sample)
        if self.augment:
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, sample)))
            for change in self.augment:
                events = change(events, rng)
        return self.frames(events), int(self.labels[sample])

    def frames(self, events: SensorEvents) -> Tensor:
        """Return the frames [T, ...] of one sample; one without events has one step."""
        if self.T is not None:
            events = events.between(0, self.T * self.dt)
        return events.binned(self.dt, self.steps(events), value=self.value, dtype=self.dtype)[:, 0]

    def steps(self, events: SensorEvents) -> int:
        """Return the number of steps of the frames of one sample."""
        return self.T if self.T is not None else events.last // steps_of("EventFrames", "dt", self.dt, MICROSECOND) + 1

    def digest(self) -> str:
        """Return a key of the events and of all parameters of the frames."""
        key = hashlib.sha256(repr((self.events.shape, self.dt, self.T, self.value, self.dtype)).encode())
        for name in ("offsets", "t", "x", "y", "p"):
            key.update(getattr(self.events, name).tobytes())
        return key.hexdigest()


class CachedFrames(Dataset[tuple[Tensor, int]]):
    """Frames that are binned once, kept in a file and mapped into memory.

    The file is named by a key of the events and of all parameters, so that other events or parameters make another
    one. Its checksum lies beside it and is compared when it is opened: a file that is damaged, incomplete or another
    one is made anew.

    Parameters
    ----------
    frames : EventFrames
        Without changes for training.
    folder : path-like
        Where the file is kept; created if it is missing.

    Raises
    ------
    InputError
        When the frames change from epoch to epoch, or the representation of `value` does not show its parameters.
    FileError
        When the file cannot be written.
    """

    def __init__(self, frames: EventFrames, folder: str | os.PathLike[str]) -> None:
        if frames.augment:
            raise InputError("CachedFrames: frames with augment= change in each epoch; cache frames without.")
        if type(frames.value).__repr__ is object.__repr__:
            raise InputError(
                f"CachedFrames: value = {frames.value!r} does not show its parameters, which name the file. "
                "Make its class a frozen dataclass."
            )
        self.labels = frames.labels
        self.path = Path(folder) / f"frames_{frames.digest()[:32]}.npy"
        sizes = [frames.steps(frames.events.samples(k)) for k in range(len(frames))]
        self._starts = np.cumsum([0, *sizes])
        shape = (int(self._starts[-1]), *(frames[0][0].shape[1:] if len(frames) else ()))
        kind = torch.zeros(0, dtype=frames.dtype).numpy().dtype
        found = self._mapped(shape, kind)
        if found is None:
            self._write(frames, shape, kind)
            found = self._mapped(shape, kind)
        if found is None:
            raise FileError(f"{self.path} cannot be read after it was written. Check the disk.")
        self._x = found

    @property
    def _checksum(self) -> Path:
        return self.path.with_suffix(".sha256")

    def _mapped(self, shape: tuple[int, ...], kind: np.dtype[Any]) -> np.ndarray | None:
        """Return the array of the file, if there is one of this shape and type."""
        try:
            found: np.ndarray = np.load(self.path, mmap_mode="r", allow_pickle=False)
            if found.shape != shape or found.dtype != kind:
                return None
            return found if self._checksum.read_text(encoding="ascii").strip() == sha256_of(self.path) else None
        except (OSError, ValueError, EOFError):
            return None

    def _write(self, frames: EventFrames, shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
        with replaced(self.path) as part:
            out: Any = np.lib.format.open_memmap(part, "w+", kind, shape)
            for k in range(len(frames)):
                out[self._starts[k] : self._starts[k + 1]] = frames[k][0].numpy()
            out.flush()
            del out
        with replaced(self._checksum) as part:
            part.write_text(sha256_of(self.path) + "\n", encoding="ascii")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Index) -> tuple[Tensor, int]:
        _, sample = _place("CachedFrames", index, len(self))
        x = torch.from_numpy(np.array(self._x[self._starts[sample] : self._starts[sample + 1]]))
        return x, int(self.labels[sample])


class EpochSampler(Sampler[tuple[int, int]]):
    """The order of samples in an epoch: pairs (epoch, sample) that depend on the seed and the epoch alone.

    A run that stopped inside an epoch goes on with ``resume(epoch, done)``: the samples that come are those that the
    uninterrupted run had left.

    Parameters
    ----------
    data : sized
        The data set.
    seed : int
        Not negative.
    shuffle : bool
        False keeps the order of the data.
    rank, ranks : int
        Which of how many processes this is. All get equally many samples: the first ones of the order are repeated
        where the number of samples is no multiple.

    Examples
    --------
    >>> sampler = EpochSampler(range(5), seed=1)
    >>> sampler.set_epoch(3)
    >>> order = list(sampler)
    >>> sampler.resume(3, 2)
    >>> list(sampler) == order[2:], len(sampler)
    (True, 3)
    """

    def __init__(self, data: Any, *, seed: int = 0, shuffle: bool = True, rank: int = 0, ranks: int = 1) -> None:
        self.number, self.seed = len(data), checked_integer("seed", seed, least=0)
        self.shuffle, self.ranks = shuffle, checked_integer("ranks", ranks)
        self.rank = checked_integer("rank", rank, least=0)
        if self.rank >= self.ranks:
            raise InputError(f"EpochSampler: rank = {rank}, but there are {ranks} processes, 0 to {ranks - 1}.")
        self.epoch = self.done = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin with an epoch."""
        self.resume(epoch, 0)

    def resume(self, epoch: int, done: int) -> None:
        """Go on in an epoch of which this process has had `done` samples."""
        number, begun = checked_integer("epoch", epoch, least=0), checked_integer("done", done, least=0)
        if begun > self._share():
            raise InputError(f"EpochSampler: done = {done}, but an epoch has {self._share()} samples.")
        self.epoch, self.done = number, begun

    def _share(self) -> int:
        return -(-self.number // self.ranks)

    def __len__(self) -> int:
        return self._share() - self.done

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.number)
        if self.shuffle:
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.epoch,)))
            order = rng.permutation(self.number)
        epoch, share = self.epoch, self._share()
        mine = np.resize(order, share * self.ranks)[self.rank :: self.ranks][self.done :]
        for sample in mine.tolist():
            yield epoch, sample
