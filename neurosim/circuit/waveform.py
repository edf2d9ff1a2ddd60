"""Values over time, trial and neuron: numbers, arrays or functions of time, as a source takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.network.source import SourceState

Array = np.ndarray[Any, np.dtype[Any]]


class Waveform:
    """Values in double precision over time, trial and neuron.

    Parameters
    ----------
    owner, name : str
        For messages, such as ``"Poisson"`` and ``"rate"``.
    values : float, array-like, or callable
        A number; one for each neuron [*shape]; over time [T, *shape]; over time and trial [T, B, *shape]. An axis of
        length 1 stands for any length. A callable takes times [T] in s, the beginnings of the steps, and returns
        values [T], [T, *shape] or [T, B, *shape].
    shape : tuple of int
        Of the population.

    Raises
    ------
    ShapeError
        When the values have another shape.
    InputError
        When a value is NaN or infinite.
    """

    def __init__(self, owner: str, name: str, values: Any, shape: tuple[int, ...]) -> None:
        self.owner, self.name, self.shape = owner, name, shape
        self.function: Callable[[Array], Any] | None = values if callable(values) else None
        self.values = None if callable(values) else self._checked(values)

    def at(self, state: SourceState, steps: int, dt: float) -> Array:
        """Return the values of the next steps, [T or 1, B or 1, *shape or 1 ...]."""
        starts = state.step.tolist()
        if len(set(starts)) <= 1:
            return self._between(starts[0] if starts else 0, steps, dt, state.trial.tolist())
        parts = [
            self._between(start, steps, dt, [trial]) for start, trial in zip(starts, state.trial.tolist(), strict=True)
        ]
        full = max(part.shape[0] for part in parts)
        return np.concatenate([np.broadcast_to(part, (full, *part.shape[1:])) for part in parts], axis=1)

    def _between(self, start: int, steps: int, dt: float, trials: list[int]) -> Array:
        if self.function is not None:
            values = self._checked(self.function((start + np.arange(steps)) * dt), steps)
        else:
            assert self.values is not None
            values = self.values
            if values.shape[0] > 1:
                if start + steps > values.shape[0]:
                    raise InputError(
                        f"{self.owner}: {self.name} holds {values.shape[0]} steps; the run needs step "
                        f"{start + steps - 1}. Give more steps, or a function of time."
                    )
                values = values[start : start + steps]
        if values.shape[1] > 1:
            if max(trials, default=0) >= values.shape[1]:
                raise InputError(
                    f"{self.owner}: {self.name} holds {values.shape[1]} trials; the run has trial {max(trials)}."
                )
            values = values[:, trials]
        return values

    def _checked(self, given: Any, steps: int | None = None) -> Array:
        """Return values as float64 [T or 1, B or 1, *shape or 1 ...]; `steps` of them if a function gave them."""
        values = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given, dtype=np.float64)
        n, found = len(self.shape), values.shape
        if values.ndim == 0:
            values = values.reshape((1,) * (n + 2))
        elif values.ndim == n + 1:
            values = values[:, None]
        elif steps is not None and values.ndim == 1:
            values = values.reshape(-1, 1, *(1,) * n)
        elif steps is None and values.ndim == n:
            values = values[None, None]
        if values.ndim != n + 2 or any(a not in (1, b) for a, b in zip(values.shape[2:], self.shape, strict=True)):
            sizes = ", ".join(map(str, self.shape))
            constant = f"[{sizes}]" if steps is None else "[T]"
            raise ShapeError(
                f"{self.owner}: {self.name} must be a number, {constant}, [T, {sizes}] or [T, B, {sizes}], where an "
                f"axis may have length 1; got {list(found)}."
            )
        if steps is not None and values.shape[0] not in (1, steps):
            raise ShapeError(f"{self.owner}: {self.name} must give {steps} values, one a step; got {values.shape[0]}.")
        if not np.isfinite(values).all():
            raise InputError(f"{self.owner}: {self.name} holds NaN or infinity.")
        return values
