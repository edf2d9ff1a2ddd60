"""A record of which kernels run and why, which `neurosim.Network.explain` reads.

A kernel notes its choice where it makes it: ``if decisions.observers: decisions.note(...)``. Without an observer that
costs a look at an empty list.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple


class Decision(NamedTuple):
    """One choice of a kernel.

    Attributes
    ----------
    operation : str
        A folder of `neurosim.kernels`, such as ``"linear"``.
    device : str
        ``"cpu"`` or ``"cuda"``.
    kernel : str
        ``"event-driven"`` (its cost follows the spikes), ``"dense"`` (its cost does not), ``"fused"``, ``"reference"``
        or ``"torch"``.
    reason : str
        Why, with the measured numbers; empty if there was no choice.
    """

    operation: str
    device: str
    kernel: str
    reason: str


observers: list[list[Decision]] = []


def note(operation: str, device: str, kernel: str, reason: str = "") -> None:
    """Append a decision to what each observer has seen."""
    for seen in observers:
        seen.append(Decision(operation, device, kernel, reason))


def note_product(
    operation: str,
    device: str,
    is_event_driven: bool,
    nonzero: int,
    inputs: int,
    *,
    limit: float | None = None,
    needs_binary: bool = False,
) -> None:
    """Note the choice between an event-driven and a dense product.

    Parameters
    ----------
    operation, device
        As in `Decision`.
    is_event_driven : bool
        The choice.
    nonzero, inputs : int
        How many of the inputs are not zero.
    limit : float, optional
        Rate up to which the event-driven product is taken; left out if the cost of both was estimated.
    needs_binary : bool
        Whether the event-driven product was not possible since the inputs are not all 0 or 1.
    """
    rate = f"rate {100 * nonzero / max(inputs, 1):.3g} %"
    if needs_binary:
        reason = "the inputs are not all 0 or 1"
    elif limit is None:
        reason = f"{rate}, estimated to be faster"
    else:
        reason = f"{rate}, {'at most' if is_event_driven else 'above'} {100 * limit:.3g} %"
    note(operation, device, "event-driven" if is_event_driven else "dense", reason)


@contextlib.contextmanager
def observed() -> Iterator[list[Decision]]:
    """Collect the decisions of the kernels that run inside the context."""
    seen: list[Decision] = []
    observers.append(seen)
    try:
        yield seen
    finally:
        observers[:] = [other for other in observers if other is not seen]
