"""Memory of large tables: what is free, and anonymous pages, huge ones where the system has them."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
from pathlib import Path

import numpy as np

from neurosim.errors import InputError
from neurosim.quantities import bytes_text

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


def available() -> int | None:
    """Return the bytes of memory that are free, or None if the system does not say; less of a limited group."""
    found = [size for size in (_free_pages(), _left_of_group(Path("/sys/fs/cgroup"))) if size is not None]
    return min(found, default=None)


def check(nbytes: float, what: str) -> None:
    """Refuse what does not fit in memory, before it is made.

    Raises
    ------
    InputError
    """
    free = available()
    if free is not None and nbytes > free:
        raise InputError(
            f"{what} need {bytes_text(nbytes)} of memory; {bytes_text(free)} are free. Use fewer synapses, or "
            "smaller populations; net.plan() says what each projection needs."
        )


def _free_pages() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _left_of_group(folder: Path) -> int | None:
    """Return what the limit of a control group leaves, or None without a limit."""
    try:
        limit, used = ((folder / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current"))
        return max(int(limit) - int(used), 0)
    except (OSError, ValueError):
        return None
