"""Memory that a call needs: what autograd holds for the backward pass, and all tensors that are alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Kept:
    """A tensor in the hands of autograd."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Activations:
    """Bytes that autograd keeps for the backward pass: now and at the most.

    Memory is counted once however many tensors share it.
    """

    def __init__(self, apart: Iterable[Tensor]) -> None:
        self.apart = {tensor.untyped_storage().data_ptr() for tensor in apart}
        self.users: dict[int, int] = {}
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> _Kept:
        storage, kept = tensor.untyped_storage(), _Kept(tensor.detach())
        place, size = storage.data_ptr(), storage.nbytes()
        if place not in self.apart:
            if place not in self.users:
                self.now += size
                self.peak = max(self.peak, self.now)
            self.users[place] = self.users.get(place, 0) + 1
            weakref.finalize(kept, self._released, place, size)
        return kept

    def _released(self, place: int, size: int) -> None:
        self.users[place] -= 1
        if not self.users[place]:
            del self.users[place]
            self.now -= size


@contextmanager
def activations(*apart: Tensor) -> Iterator[Activations]:
    """Count what is kept for the backward pass, but for `apart`: parameters and data are there anyway."""
    count = Activations(apart)
    with torch.autograd.graph.saved_tensors_hooks(count.pack, lambda kept: kept.tensor):
        yield count


class Alive(TorchDispatchMode):
    """Bytes of tensors that were made inside a ``with`` and are still there: at the most.

    Parameters
    ----------
    counts : callable
        Whether a tensor counts; memory is counted once, by the first tensor that shows it.
    """

    def __init__(self, counts: Callable[[Tensor], bool] = lambda tensor: True) -> None:
        super().__init__()
        self.counts, self.peak = counts, 0
        self.seen: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs or {})) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        fresh = False
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                place = storage._cdata
                known = self.seen.get(place)
                if place not in given and (known is None or known[0].expired()):
                    self.seen[place] = (StorageWeakRef(storage), storage.nbytes() if self.counts(tensor) else 0)
                    fresh = True
        if fresh:
            self.seen = {place: held for place, held in self.seen.items() if not held[0].expired()}
            self.peak = max(self.peak, sum(size for _, size in self.seen.values()))
        return out
