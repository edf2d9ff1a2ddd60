"""The threads that torch itself works with: those of the OpenMP library it has loaded.

After each of torch's own operations they wait for the next one without sleeping, for milliseconds. Other threads
would have to share the processor with them; these are there at once.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

_FUNCTIONS = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
_Work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Team:
    """OpenMP's threads, by the entry points that code compiled by GCC calls; LLVM's library has them as well.

    Parameters
    ----------
    library : ctypes.CDLL
        The library that torch has loaded: another copy would bring threads of its own.

    Attributes
    ----------
    share : callable
        Runs machine code in several threads: address of the function, its argument as bytes, threads, 0.
    share_at : callable
        As `share`, with the address of the argument.
    addresses : list of int
        Of the functions for the number of a thread and for that of threads.
    give_way : int
        Address of the system's function that lets another thread run.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._parallel, self._number, self._size = (library[name] for name in _FUNCTIONS)
        self._parallel.argtypes = [_Work, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        self.share, self.share_at = library[_FUNCTIONS[0]], library[_FUNCTIONS[0]]
        self.share.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint]
        self.share_at.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        self._parallel.restype = self.share.restype = self.share_at.restype = None
        self.addresses = [_address(self._number), _address(self._size)]
        self.give_way = _address(ctypes.CDLL(None).sched_yield)

    def run(self, parts: Sequence[Callable[[], None]]) -> None:
        """Run all `parts` at the same time, one of them in this thread, and raise what one of them raised."""
        errors: list[BaseException] = []

        def work(_: Any) -> None:
            # A team may be smaller than asked for.
            try:
                for part in parts[self._number() :: self._size()]:
                    part()
            except BaseException as error:
                errors.append(error)

        self._parallel(_Work(work), None, len(parts), 0)
        if errors:
            raise errors[0]


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def team() -> Team | None:
    """Return torch's team of threads, or None where there is none: see `found`, and in a forked child."""
    return found()


@functools.cache
def found() -> Team | None:
    """Return the functions of torch's team, or None where its library is not found or has other entry points."""
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
            if all(hasattr(library, name) for name in _FUNCTIONS):
                return Team(library)
        except OSError:
            continue
    return None


def _candidates() -> list[str]:
    """Return the OpenMP libraries that this process has loaded, torch's own first."""
    if sys.platform != "linux" or not torch.backends.openmp.is_available():
        return []
    own = Path(torch.__file__).parent
    loaded: dict[str, None] = {}
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")[2]
            if path and any(part in os.path.basename(path) for part in ("libgomp", "libiomp5", "libomp")):
                loaded["/" + path] = None
    return sorted(loaded, key=lambda path: not path.startswith(str(own)))


if hasattr(os, "register_at_fork"):
    # OpenMP's threads do not come along into a forked child, and its library does not notice.
    os.register_at_fork(after_in_child=lambda: globals().update(team=lambda: None))
