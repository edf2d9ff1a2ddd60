"""The value that decides about the best checkpoint and about early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from neurosim.errors import InputError


class Watch:
    """A column of the history, its best value, and the epochs since then.

    Parameters
    ----------
    column : str, optional
        By default ``"validation_loss"``, or ``"loss"`` without validation.
    mode : {"min", "max"}
        Whether the best value is the lowest or the highest.
    validates : bool
        Whether the run has validation data.

    Attributes
    ----------
    best : float
    waited : int
        Epochs in a row without a new best value.
    """

    def __init__(self, column: str | None, mode: str, *, validates: bool) -> None:
        if column is not None and not isinstance(column, str):
            raise InputError(f'watch={column!r}: the name of a column of the history, such as "validation_accuracy".')
        if mode not in ("min", "max"):
            raise InputError(f'watch_mode={mode!r}: "min" or "max".')
        self.column = column or ("validation_loss" if validates else "loss")
        self.mode = mode
        self.best = math.inf if mode == "min" else -math.inf
        self.waited = 0

    def __repr__(self) -> str:
        return f"the {self.mode}imum of {self.column}"

    def value(self, row: Mapping[str, Any]) -> float:
        """Return the watched value of an epoch."""
        if self.column not in row:
            raise InputError(f"watch={self.column!r} is no column of the history, which has {list(row)}.")
        return float(row[self.column])

    def improves(self, value: float) -> bool:
        """Take over the value of an epoch; return whether it is the best so far."""
        improved = value < self.best if self.mode == "min" else value > self.best
        self.waited = 0 if improved else self.waited + 1
        if improved:
            self.best = value
        return improved
