"""Interruptions that wait for the end of a piece of work."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C in place of raising `KeyboardInterrupt`, and yield a function that returns whether it has come.

    A second Ctrl-C raises as usual. Outside the main thread, which alone gets signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    come = False
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        nonlocal come
        if come and callable(before):
            before(number, frame)
        come = True

    if not callable(before):  # ignored, or not set by Python
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: come
    finally:
        signal.signal(signal.SIGINT, before)
