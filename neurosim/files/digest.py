"""A digest of values: what says whether work that ended early is the same. Torch is not loaded here."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from types import CellType, CodeType
from typing import Any

import numpy as np

Parts = Callable[[Any], "list[Any] | None"]
_VALUES = 1 << 13  # of data read at a time


def digest_of(*values: Any, parts: Parts = lambda value: None) -> str:
    """Return a digest of values, the same in every process.

    Parameters
    ----------
    *values
        Plain values, arrays, data that can be sliced, functions, objects by their attributes, and mappings and
        sequences of such. A function is known by its code and what it refers to by default values and
        closures, a method by its object too, not by what it calls.
    parts : callable, optional
        Returns the values that determine a value of a kind that is not plain, or None.
    """
    digest = _Digest(parts)
    for value in values:
        _add(digest, value)
    return digest.hexdigest()


class _Digest:
    """A digest that is being made.

    Attributes
    ----------
    parts : callable
        As in `digest_of`.
    above : list of int
        Identities of the values that hold the present one, the outermost first.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.above: list[int] = []
        self._sha = hashlib.sha256()
        self.update, self.hexdigest = self._sha.update, self._sha.hexdigest


def _add(digest: _Digest, value: Any) -> None:
    """Add a value, with its kind, so that values of two kinds differ."""
    digest.update(f"<{type(value).__module__}.{type(value).__qualname__}>".encode())
    if id(value) in digest.above:  # it holds itself, as a function that calls itself does
        digest.update(f"{digest.above.index(id(value))}".encode())
        return
    digest.above.append(id(value))
    _add_content(digest, value)
    digest.above.pop()


def _add_content(digest: _Digest, value: Any) -> None:
    parts = digest.parts(value)
    if parts is not None:
        for part in parts:
            _add(digest, part)
    elif isinstance(value, (np.ndarray, np.generic)):
        digest.update(f"{value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        _add(digest, list(value.items()))
    elif isinstance(value, (list, tuple)):
        digest.update(f"{len(value)}".encode())
        for each in value:
            _add(digest, each)
    elif isinstance(value, (set, frozenset)):
        _add(digest, sorted(map(repr, value)))
    elif isinstance(value, functools.partial):
        _add(digest, [value.func, value.args, value.keywords])
    elif isinstance(value, CodeType):
        _add(digest, [value.co_code, value.co_names, value.co_consts])
    elif callable(value) and hasattr(value, "__code__"):
        cells = [_held(cell) for cell in value.__closure__ or ()]
        owner = getattr(value, "__self__", None)  # of a method
        _add(digest, [value.__code__, value.__defaults__, value.__kwdefaults__, cells, owner])
    elif hasattr(value, "shape") and hasattr(value, "__getitem__"):  # read in pieces, such as a dataset on disk
        digest.update(f"{tuple(value.shape)}".encode())
        rows = max(1, _VALUES // max(1, math.prod(value.shape[1:])))
        for first in range(0, value.shape[0], rows):
            _add(digest, np.asarray(value[first : first + rows]))
    elif callable(value) and hasattr(value, "__qualname__"):
        digest.update(f"{value.__module__}.{value.__qualname__}".encode())
    elif hasattr(value, "__dict__"):
        _add(digest, vars(value))
        if callable(value):
            _add(digest, getattr(type(value).__call__, "__code__", None))
    else:
        digest.update(repr(value).encode())


def _held(cell: CellType) -> Any:
    """Return what a cell of a closure holds; None if it has no value yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
