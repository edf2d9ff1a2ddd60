"""What comparisons written by hand report to the fidelity ledger (`tests.ledger`); nothing outside its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[float], None]] = []


def observed(error: float) -> None:
    """Report an error, as a share of the largest value expected."""
    for listener in _listeners:
        listener(error)


@contextmanager
def observing(listener: Callable[[float], None]) -> Iterator[None]:
    """Call `listener` with every error reported inside."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
