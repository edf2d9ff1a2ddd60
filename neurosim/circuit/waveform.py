"""Values over time, trial and neuron: numbers, arrays, change points or functions of time, as a source takes them."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.network.source import SourceState
from neurosim.units import steps_obstacle

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
    times : sequence of float, optional
        Change points, s, ascending, each an integer number of steps: value k holds from ``times[k]`` to the next, and
        0 before the first. The values are then [K], [K, *shape] or [K, B, *shape].
    start, stop : float, optional
        Times between which the values hold, s, each an integer number of steps: 0 before `start`, and from `stop` on.

    Raises
    ------
    ShapeError
        When the values have another shape.
    InputError
        When a value is NaN or infinite, or the times do not ascend.
    """

    def __init__(
        self,
        owner: str,
        name: str,
        values: Any,
        shape: tuple[int, ...],
        *,
        times: Sequence[float] | None = None,
        start: float | None = None,
        stop: float | None = None,
    ) -> None:
        self.owner, self.name, self.shape = owner, name, shape
        self.function: Callable[[Array], Any] | None = values if callable(values) else None
        self.times = None if times is None else self._checked_times(times)
        self.start, self.stop = (None if end is None else self._checked_time(end) for end in (start, stop))
        if start is not None and stop is not None and not start < stop:
            raise InputError(f"{owner}: start must be before stop; got {start!r} s and {stop!r} s.")
        changes = None if self.times is None else len(self.times)
        self.values = None if callable(values) else self._checked(values, changes)

    @property
    def is_shared(self) -> bool:
        """Whether all neurons of a trial are known to have one value at a time."""
        return self.values is not None and math.prod(self.values.shape[2:]) == 1

    def check(self, dt: float) -> None:
        """Check that change points, start and stop are integer numbers of steps of `dt`.

        Raises
        ------
        InputError
            With the time and the two nearest.
        """
        for time in [*(self.times or ()), *(end for end in (self.start, self.stop) if end is not None)]:
            obstacle = steps_obstacle("a time", time, dt)
            if obstacle:
                raise InputError(f"{self.owner}: {obstacle}")

    def _checked_times(self, times: Sequence[float]) -> list[float]:
        if self.function is not None:
            raise InputError(f"{self.owner}: a function of time has no change points; leave times out.")
        found = [self._checked_time(time) for time in (times.tolist() if hasattr(times, "tolist") else times)]
        if not found or any(b <= a for a, b in itertools.pairwise(found)):
            raise InputError(f"{self.owner}: times must ascend, and be at least one; got {found}.")
        return found

    def _checked_time(self, time: Any) -> float:
        if isinstance(time, bool) or not isinstance(time, numbers.Real) or not 0 <= float(time) < math.inf:
            raise InputError(f"{self.owner}: a time must be a number of s from 0; got {time!r}.")
        return float(time)

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
        elif self.times is not None:
            assert self.values is not None
            changes = np.rint(np.array(self.times) / dt)
            current = np.searchsorted(changes, start + np.arange(steps), side="right") - 1
            values = np.where(current.reshape(-1, *[1] * (self.values.ndim - 1)) < 0, 0.0, self.values[current])
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
        return self._windowed(values, start, steps, dt)

    def _windowed(self, values: Array, start: int, steps: int, dt: float) -> Array:
        """Return values that are 0 outside of start and stop."""
        if self.start is None and self.stop is None:
            return values
        step = start + np.arange(steps)
        first = 0 if self.start is None else round(self.start / dt)
        end = math.inf if self.stop is None else round(self.stop / dt)
        inside = (step >= first) & (step < end)
        return np.where(inside.reshape(-1, *[1] * (values.ndim - 1)), values, 0.0)

    def _checked(self, given: Any, steps: int | None = None) -> Array:
        """Return values as float64 [T or 1, B or 1, *shape or 1 ...]; `steps` of them over time if given."""
        try:
            values = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{self.owner}: {self.name} must be numbers; got {given!r}.") from None
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
        several = (1, steps) if self.times is None else (steps,)
        if steps is not None and values.shape[0] not in several:
            each = "a step" if self.times is None else "for each change point"
            raise ShapeError(f"{self.owner}: {self.name} must give {steps} values, one {each}; got {values.shape[0]}.")
        if steps is None and 0 in values.shape[:2]:
            raise ShapeError(f"{self.owner}: {self.name} has no values; its shape is {list(found)}.")
        if not np.isfinite(values).all():
            raise InputError(f"{self.owner}: {self.name} holds NaN or infinity.")
        return values
