"""Memory of large tables: anonymous pages, huge ones where the system has them."""

from __future__ import annotations

import contextlib
import math
import mmap

import numpy as np

_HUGE = 1 << 21  # bytes of a huge page


def zeros(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """Return an array of zeros, in huge pages if it fills several; few of them make random access cheap."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < 4 * _HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(shape, dtype)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype).reshape(shape)
