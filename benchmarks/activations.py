"""Memory of a call: tensors saved for the backward pass, and all live tensors."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neurosim.kernels.common.buffers import BufferPool


class _Kept:
    """A tensor saved by autograd."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Activations:
    """Bytes that autograd saves for the backward pass: current and maximum.

    Memory shared by several tensors is counted once.
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
    """Count the tensors saved for the backward pass, except `apart`: parameters and data exist anyway."""
    count = Activations(apart)
    with torch.autograd.graph.saved_tensors_hooks(count.pack, lambda kept: kept.tensor):
        yield count


class Alive(TorchDispatchMode):
    """Maximum of the bytes of live tensors that were created inside a ``with`` block.

    Torch does not dispatch the tensors that the buffer pool lends; they are counted where they are lent.

    Parameters
    ----------
    counts : callable
        Whether a tensor counts. Shared memory is counted once, for the first tensor that uses it.
    """

    def __init__(self, counts: Callable[[Tensor], bool] = lambda tensor: True) -> None:
        super().__init__()
        self.counts, self.peak = counts, 0
        self.seen: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs or {})) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        self._note(t for t in tree_leaves(out) if isinstance(t, Tensor) and t.untyped_storage()._cdata not in given)
        return out

    def __enter__(self) -> Alive:
        lend = self._lend = BufferPool.empty

        def counted(pool: BufferPool, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
            lent = lend(pool, shape, dtype)
            self._note([lent])
            return lent

        BufferPool.empty = counted  # type: ignore[assignment, method-assign]
        super().__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        super().__exit__(*problem)
        BufferPool.empty = self._lend  # type: ignore[method-assign]

    def _note(self, tensors: Iterable[Tensor]) -> None:
        fresh = False
        for tensor in tensors:
            storage = tensor.untyped_storage()
            known = self.seen.get(storage._cdata)
            if known is None or known[0].expired():
                self.seen[storage._cdata] = (StorageWeakRef(storage), storage.nbytes() if self.counts(tensor) else 0)
                fresh = True
        if fresh:
            self.seen = {place: held for place, held in self.seen.items() if not held[0].expired()}
            self.peak = max(self.peak, sum(size for _, size in self.seen.values()))
