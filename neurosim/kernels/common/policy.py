"""How operations run: as is cheapest, or as a test or benchmark forces.

The estimates of cost that decide between event-driven and dense products are in ``policy.py`` of each operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from neurosim.compiler.llvm import threads as kernel_threads

Product = Literal["events", "dense"]
_forced: Product | None = None
through_operators = False  # whether torch's operators are called in plain eager code too


def choose(cheaper: bool) -> bool:
    """Return whether to take the event-driven product: if it is `cheaper`, unless one is forced."""
    return cheaper if _forced is None else _forced == "events"


def is_forced() -> bool:
    """Return whether a product is forced, so that costs need not be estimated."""
    return _forced is not None


@contextmanager
def forced(product: Product | None = None, *, threads: int | None = None, operators: bool = False) -> Iterator[None]:
    """Force how all operations of this process run.

    Parameters
    ----------
    product : {"events", "dense"}, optional
        Event-driven products, whose cost follows the spikes, or dense ones; the cheaper one if left out.
    threads : int, optional
        Number of threads that a kernel on the CPU shares its work out over, even if the work is too small for that;
        fewer only if the work has fewer parts. torch's number of threads, if the work is large enough, if left out.
    operators : bool
        Whether to call torch's operators where plain eager code would call the kernels directly.
    """
    global _forced, through_operators
    before = _forced, kernel_threads.forced, through_operators
    _forced, kernel_threads.forced, through_operators = product, threads, operators
    try:
        yield
    finally:
        _forced, kernel_threads.forced, through_operators = before
