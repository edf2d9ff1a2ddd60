"""Memory for large results on the CPU: asked of the system once, on large pages, and lent out again when free.

A fresh array of megabytes costs more than the kernel that fills it: the system clears and hands over every page of
4 KiB in turn, and takes them back as soon as the tensor dies; smaller ones it takes back in heaps, every few calls.
Here the memory waits for the next call instead.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import sys
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

LARGE = 1 << 17  # bytes; smaller results stay with torch's own allocator, which is quick at those
PAGE = 2 << 20  # bytes of a large page
_STEP = 1 << 16  # bytes to which what is smaller than such a page is rounded
IDLE = 256 << 20  # bytes that may wait


class BufferPool:
    """Blocks of memory that wait for the next tensor of their size.

    Threads share it without a lock: every step is one operation on a list or a dict, and what a race loses goes
    back to the system.

    Parameters
    ----------
    limit : int
        Bytes that may wait; beyond that the sizes not asked for longest are given up.
    """

    def __init__(self, limit: int = IDLE) -> None:
        self.limit = limit
        self._waiting: dict[int, list[mmap.mmap]] = {}

    @property
    def idle(self) -> int:
        """Bytes that wait."""
        return sum(size * len(blocks) for size, blocks in list(self._waiting.items()))

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return a contiguous tensor on the CPU; its values are arbitrary.

        Raises
        ------
        MemoryError
            When the system has no memory left.
        """
        count = math.prod(shape)
        length = count * dtype.itemsize
        if length < LARGE:
            return torch.empty(shape, dtype=dtype)
        unit = PAGE if length >= PAGE else _STEP
        size = -(-length // unit) * unit
        try:
            block = self._waiting[size].pop()
        except LookupError:
            block = _block(size)
        # torch holds on to the view, and to nothing else, for as long as any tensor uses the memory.
        lent = memoryview(block)
        weakref.finalize(lent, self._take_back, size, block).atexit = False
        start = -torch.frombuffer(block, dtype=torch.uint8).data_ptr() % PAGE if size >= PAGE else 0
        return torch.frombuffer(lent, dtype=dtype, count=count, offset=start).view(tuple(shape))

    def empty_like(self, model: Tensor) -> Tensor:
        """Return a contiguous tensor of the shape and type of `model`; its values are arbitrary."""
        return self.empty(model.shape, model.dtype)

    def _take_back(self, size: int, block: mmap.mmap) -> None:
        blocks = self._waiting.pop(size, [])
        blocks.append(block)
        self._waiting[size] = blocks  # last: sizes stand in the order in which they were used
        while self.idle > self.limit:
            with contextlib.suppress(LookupError, StopIteration):
                oldest = next(iter(self._waiting))
                if self._waiting[oldest]:  # all blocks of a size may be lent out
                    self._waiting[oldest].pop()
                if not self._waiting[oldest]:
                    del self._waiting[oldest]


def _block(size: int) -> mmap.mmap:
    """Return memory that holds `size` bytes, if they fill large pages from the first boundary of one on."""
    is_large = size >= PAGE
    length = size + PAGE * is_large
    try:
        if sys.platform == "win32":
            return mmap.mmap(-1, length)
        # Private: after a fork each process has its own.
        block = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(
            f"no memory for a result of {size / 1e6:.0f} MB: {error}. Run fewer steps or samples at once."
        ) from error
    if is_large and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without large pages
            block.madvise(mmap.MADV_HUGEPAGE)
    return block


buffer_pool = BufferPool()
