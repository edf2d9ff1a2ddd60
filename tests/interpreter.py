"""Triton's interpreter made strict: programs in a random order, lanes outside of a mask poisoned, races found.

A device runs the programs of a launch in no order, and gives a lane outside of its mask any value unless the kernel
names another. The interpreter runs them in order and gives zeros, so that faults which depend on it stay hidden.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

_POISON = {np.dtype(kind): np.iinfo(kind).max - 12345 for kind in ("int8", "int16", "int32", "int64")}
_POISON |= {np.dtype(kind): np.iinfo(kind).max - 12345 for kind in ("uint16", "uint32", "uint64")}


class RaceError(AssertionError):
    """Two programs of a launch that touch one address, one of which writes it."""


class _Launch:
    """One launch: the order of its programs, and the addresses that each reads and writes."""

    def __init__(self, grid: tuple[int, ...], seed: int) -> None:
        self.grid = grid
        self.order = list(np.ndindex(*grid))
        random.Random(seed).shuffle(self.order)
        self.program, self.reads, self.writes = 0, dict[int, list[Any]](), dict[int, list[Any]]()

    def program_at(self, index: tuple[int, ...]) -> tuple[int, ...]:
        self.program = int(np.ravel_multi_index(index, self.grid))
        return tuple(map(int, self.order[self.program]))

    def note(self, where: dict[int, list[Any]], addresses: Any, mask: Any) -> None:
        inside = np.broadcast_to(mask, addresses.shape)
        where.setdefault(self.program, []).append(addresses[inside].ravel())

    def check(self) -> None:
        writes = {program: np.unique(np.concatenate(found)) for program, found in self.writes.items()}
        if not writes:
            return
        every = np.concatenate(list(writes.values()))
        owner = np.concatenate([np.full(len(found), program) for program, found in writes.items()])
        order = np.argsort(every, kind="stable")
        every, owner = every[order], owner[order]
        if (every[1:] == every[:-1]).any():
            raise RaceError("two programs write one address")
        for program, found in self.reads.items():
            read = np.unique(np.concatenate(found))
            place = np.searchsorted(every, read).clip(max=len(every) - 1)
            if ((every[place] == read) & (owner[place] != program)).any():
                raise RaceError("a program reads what another writes")


@contextlib.contextmanager
def strict(monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> Iterator[list[_Launch]]:
    """Make the interpreter strict inside the block; yield its launches."""
    from triton.runtime import interpreter

    builder, launches = interpreter.interpreter_builder, list[_Launch]()
    kind = type(builder)
    dims, index, load, store = (
        getattr(kind, name) for name in ("set_grid_dim", "set_grid_idx", "create_masked_load", "create_masked_store")
    )

    def set_grid_dim(self: Any, *grid: int) -> None:
        if launches:
            launches[-1].check()
        launches.append(_Launch(grid, seed + len(launches)))
        dims(self, *grid)

    def set_grid_idx(self: Any, *at: int) -> None:
        index(self, *launches[-1].program_at(at))

    def masked_load(self: Any, pointers: Any, mask: Any, other: Any, *rest: Any) -> Any:
        launches[-1].note(launches[-1].reads, pointers.data, mask.data)
        found = load(self, pointers, mask, other, *rest)
        if other is None:
            outside = ~np.broadcast_to(mask.data, found.data.shape)
            found.data[outside] = _POISON.get(found.data.dtype, np.nan)
        return found

    def masked_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        launches[-1].note(launches[-1].writes, pointers.data, mask.data)
        return store(self, pointers, value, mask, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "set_grid_dim", set_grid_dim)
        patch.setattr(kind, "set_grid_idx", set_grid_idx)
        patch.setattr(kind, "create_masked_load", masked_load)
        patch.setattr(kind, "create_masked_store", masked_store)
        for name in ("empty", "empty_like"):
            patch.setattr(torch, name, _poisoned(getattr(torch, name)))
        yield launches
        if launches:
            launches[-1].check()


def _poisoned(make: Any) -> Any:
    """Return `torch.empty` or `empty_like` with memory that holds no useful value."""

    def empty(*size: Any, **choices: Any) -> Tensor:
        found: Tensor = make(*size, **choices)
        return found.fill_(float("nan") if found.is_floating_point() else torch.iinfo(found.dtype).max - 12345)

    return empty
