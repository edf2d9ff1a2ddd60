"""The trials of a sweep: combinations of the values of its parameters, each with each seed."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from neurosim.errors import InputError

Value = bool | int | float | str
RESERVED = ("seed", "trial", "error", "wall_time")  # names of the data set
_SEEDS = 2**63


class Trial(NamedTuple):
    """One trial.

    Attributes
    ----------
    number : int
    parameters : dict of str to bool, int, float or str
    seed : int or None
    """

    number: int
    parameters: dict[str, Value]
    seed: int | None


class Plan:
    """The trials of a sweep.

    Parameters
    ----------
    parameters : mapping of str to sequence, or sequence of mapping
        The values of each parameter, all combinations of which are run; or the combinations.
    seeds : int or sequence of int, optional
        Number of seeds, from 0, or the seeds. None: trials have none.

    Attributes
    ----------
    names : tuple of str
        Of the parameters.
    axes : dict of str to list, or None
        Values of each parameter; None for listed combinations.
    cells : list of dict
        The combinations.
    seeds : tuple of int or None

    Raises
    ------
    InputError
        For no or repeated values, values that are neither numbers nor texts, and names that the data set needs.
    """

    def __init__(
        self, parameters: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]], seeds: int | Sequence[int] | None
    ) -> None:
        self.seeds = None if seeds is None else _checked_seeds(seeds)
        self.axes: dict[str, list[Value]] | None = None
        if isinstance(parameters, Mapping):
            self.axes = {name: _axis(name, values) for name, values in parameters.items()}
            self.names = tuple(self.axes)
            self.cells = [
                dict(zip(self.names, values, strict=True)) for values in itertools.product(*self.axes.values())
            ]
        else:
            self.names, self.cells = _listed(parameters)
        for name in self.names:
            if not is_name(name):
                raise InputError(
                    f"sweep: a parameter must have a name without /, other than {', '.join(RESERVED)}; got {name!r}."
                )

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self.cells) * (1 if self.seeds is None else len(self.seeds))

    def __iter__(self) -> Iterator[Trial]:
        """Iterate over the trials: all seeds of a combination, then the next combination."""
        pairs = itertools.product(self.cells, self.seeds or (None,))
        return (Trial(number, cell, seed) for number, (cell, seed) in enumerate(pairs))

    def about(self) -> dict[str, Any]:
        """Return plain values that say which trials these are."""
        values = self.axes if self.axes is not None else self.cells
        return {"parameters": values, "seeds": None if self.seeds is None else list(self.seeds)}


def is_name(name: Any) -> bool:
    """Return whether a variable of a data set may have a name."""
    return isinstance(name, str) and name not in ("", ".", *RESERVED) and "/" not in name and is_text(name)


def is_text(text: str) -> bool:
    """Return whether a file can hold a text: it has no NUL and no half of a surrogate pair."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def plain(name: str, value: Any) -> Value:
    """Return a value of a parameter as a plain number or text.

    Raises
    ------
    InputError
        For anything else.
    """
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a number of NumPy or torch
        value = value.item()
    if isinstance(value, str) and not is_text(value):
        raise InputError(f"sweep: {name!r} has a text with NUL or half of a surrogate pair: {value!r}.")
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):
        if not -_SEEDS <= int(value) < _SEEDS:
            raise InputError(f"sweep: the integers of {name!r} must be in -2^63 ... 2^63 - 1; got {value!r}.")
        return int(value)
    if isinstance(value, numbers.Real) and float(value) == float(value):
        return float(value)
    raise InputError(
        f"sweep: the values of {name!r} must be numbers or texts; got {value!r}. For anything else give names or "
        "indices, and let the function look them up."
    )


def _axis(name: str, values: Any) -> list[Value]:
    try:
        listed = [values] if isinstance(values, str) else list(values)
    except TypeError:
        listed = []
    if isinstance(values, str) or not listed:
        raise InputError(f"sweep: {name!r} must be a sequence of one or more values; got {values!r}.")
    found = [plain(name, value) for value in listed]
    if len(set(found)) < len(found):
        repeated = next(value for k, value in enumerate(found) if value in found[:k])
        raise InputError(f"sweep: {name!r} has the value {repeated!r} twice. For several trials use seeds=.")
    check_alike(name, found)
    return found


def check_alike(name: str, values: Sequence[Any]) -> None:
    """Refuse texts and numbers together, which would all be texts in a data set.

    Raises
    ------
    InputError
    """
    if len({isinstance(value, str) for value in values}) > 1:
        raise InputError(f"sweep: {name!r} mixes texts and numbers: {list(values)!r}.")


def _listed(cells: Any) -> tuple[tuple[str, ...], list[dict[str, Value]]]:
    given = list(cells) if isinstance(cells, Sequence) and not isinstance(cells, str) else []
    if not given or not all(isinstance(cell, Mapping) for cell in given):
        raise InputError(
            "sweep: parameters must be a mapping of a name to values, or a list of mappings of a name to a value; got "
            f"{cells!r}."
        )
    names = tuple(given[0])
    for cell in given:
        if set(cell) != set(names):
            raise InputError(f"sweep: all combinations must have the parameters {list(names)}; got {list(cell)}.")
    found = [{name: plain(name, cell[name]) for name in names} for cell in given]
    for name in names:
        check_alike(name, [cell[name] for cell in found])
    return names, found


def _checked_seeds(seeds: Any) -> tuple[int, ...]:
    if isinstance(seeds, numbers.Integral) and not isinstance(seeds, bool):
        seeds = range(int(seeds))
    try:
        found = tuple(seeds)
    except TypeError:
        found = ()
    if not found or any(isinstance(s, bool) or not isinstance(s, numbers.Integral) for s in found):
        raise InputError(f"sweep: seeds must be a number from 1, or a sequence of integers; got {seeds!r}.")
    if len(set(found)) < len(found) or not all(0 <= s < _SEEDS for s in found):
        raise InputError(f"sweep: seeds must be different integers from 0 to 2^63 - 1; got {list(found)!r}.")
    return tuple(int(s) for s in found)
