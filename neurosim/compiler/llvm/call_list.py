"""Kernels one after the other in one call: one parallel region, and no Python between two kernels.

What the kernels are called with is prepared once. A call copies it, adds the addresses of the arrays, and starts the
threads. The pieces of a kernel's work are taken by whichever thread comes first, and a kernel begins when all pieces of
the one before are done: a thread that waits for a processor holds the others up only while it has begun a piece.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np

from neurosim.compiler.llvm import openmp
from neurosim.compiler.llvm.crowding import Region, crowding
from neurosim.compiler.llvm.jit import CompiledKernel
from neurosim.compiler.llvm.threads import in_several, shares

_HEAD = 3  # slots before those of the entries: their number, functions for the thread's number and to give way
_ENTRY = 7  # slots of an entry: function, address of its argument, status, pieces, those taken at once, taken, done
_PARTS = 4  # parts of a kernel's work for each thread, so that none waits long for another
_PATIENCE = 1 << 10  # looks at what is done before a thread gives way
_ARRAYS = 4  # slots of the argument of a kernel before those of its arrays


class Place(NamedTuple):
    """A place in memory: a number of bytes behind the beginning of an array.

    Attributes
    ----------
    array : int
        Number of the array, among those that `CallList.run` is given.
    offset : int
        In bytes.
    """

    array: int
    offset: int = 0


class Entry(NamedTuple):
    """A call of a kernel: see `CallList.add`."""

    kernel: CompiledKernel
    total: int
    share: int
    places: Sequence[Place]
    numbers: Sequence[float]


OWN_STATUS = Place(-1)


class CallList:
    """Kernels to be called one after the other.

    A kernel may stop the list: it sets the integer at `OWN_STATUS` to a number other than 0, and those after it are
    not called.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._held: list[CompiledKernel] = []
        self._threads, self._region = 1, Region()

    def add(
        self,
        kernel: CompiledKernel,
        total: int,
        places: Sequence[Place],
        *numbers: float,
        grain: int = 1,
        multiple: int = 1,
    ) -> None:
        """Append a call.

        Parameters
        ----------
        kernel : CompiledKernel
            Whose first two numbers say which pieces of work a call does.
        total : int
            Number of pieces.
        places : sequence of Place
            Its arrays, `OWN_STATUS` among them.
        *numbers : float
            Its arguments after the first two numbers, then for each scratch argument the bytes of a thread.
        grain, multiple : int
            As in `threads.spread`.
        """
        workers, share = shares(total, grain, multiple)
        self._threads = max(self._threads, workers)
        if workers > 1:
            share = -(-total // (_PARTS * workers))
            share += -share % multiple
        self._entries.append(Entry(kernel, total, max(share, 1), places, numbers))

    @property
    def count(self) -> int:
        """Number of calls that were added and are not laid out yet."""
        return len(self._entries)

    def finish(self) -> None:
        """Lay out what has been added; nothing can be added afterwards."""
        team = openmp.found()  # also in a forked child, where one thread works
        assert team is not None  # see `is_possible`
        self._held = [entry.kernel for entry in self._entries]  # whose machine code must not be freed
        count = len(self._entries)
        parts, arrays = [np.zeros(_HEAD + _ENTRY * count, np.int64)], [np.zeros(_HEAD + _ENTRY * count, np.int64)]
        head, bases = parts[0], arrays[0]
        head[:_HEAD] = count, team.addresses[0], team.give_way
        size = len(head)
        for n, entry in enumerate(self._entries):
            at = _HEAD + _ENTRY * n
            offsets = [8 * (at + 2) if place == OWN_STATUS else place.offset for place in entry.places]
            work = entry.kernel.work(team.addresses, entry.total, entry.share, offsets, entry.numbers)
            part = np.frombuffer(work, np.int64)
            base = np.zeros(len(part), np.int64)
            base[_ARRAYS : _ARRAYS + len(offsets)] = [2 + place.array for place in entry.places]
            head[at], head[at + 1], bases[at + 1] = entry.kernel.part or 0, 8 * size, 1
            head[at + 3], head[at + 4] = entry.total, entry.share
            parts.append(part)
            arrays.append(base)
            size += len(part)
        self._template, self._bases = np.concatenate(parts), np.concatenate(arrays)
        self._statuses = slice(_HEAD + 2, _HEAD + _ENTRY * count, _ENTRY)
        self._entries = []

    def run(self, addresses: Sequence[int]) -> int:
        """Call the kernels; return the number that one of them has stopped the list with, 0 if none has.

        Parameters
        ----------
        addresses : sequence of int
            Of the arrays.
        """
        block = np.empty(len(self._template), np.int64)
        at: int = block.ctypes.data
        # Slots that hold no address are those of array 0, at address 0; array 1 is the block itself.
        np.take(np.array((0, at, *addresses), np.int64), self._bases, out=block)
        block += self._template
        driver = _driver()
        team = openmp.team()
        if self._threads == 1 or team is None:
            driver.call(at)
        else:
            start = perf_counter()
            several = in_several(self._region, start)
            if several:
                team.share_at(driver.address, at, self._threads, 0)
            else:
                driver.call(at)
            crowding.took(self._region, several, self._threads, start)
        return int(block[self._statuses].max())


def is_possible() -> bool:
    """Return whether lists can run: torch's threads are there."""
    return openmp.team() is not None


@functools.cache
def _driver() -> CompiledKernel:
    """Return the function that each thread runs."""
    source = f"""
define void @kernel(ptr %block) {{
start:
  %count = load i64, ptr %block
  %number.at = getelementptr i64, ptr %block, i64 1
  %number = load ptr, ptr %number.at
  %give.way.at = getelementptr i64, ptr %block, i64 2
  %give.way = load ptr, ptr %give.way.at
  %me.narrow = call i32 %number()
  %me = zext i32 %me.narrow to i64
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %entry, label %exit
entry:
  %n = phi i64 [ 0, %start ], [ %next, %after ]
  %slots = mul i64 %n, {_ENTRY}
  %place = add i64 %slots, {_HEAD}
  %function.at = getelementptr i64, ptr %block, i64 %place
  %function = load ptr, ptr %function.at
  %work.at = getelementptr i64, ptr %function.at, i64 1
  %work = load ptr, ptr %work.at
  %status.at = getelementptr i64, ptr %function.at, i64 2
  %total.at = getelementptr i64, ptr %function.at, i64 3
  %total = load i64, ptr %total.at
  %share.at = getelementptr i64, ptr %function.at, i64 4
  %share = load i64, ptr %share.at
  %taken.at = getelementptr i64, ptr %function.at, i64 5
  %done.at = getelementptr i64, ptr %function.at, i64 6
  br label %take
take:
  %first = atomicrmw add ptr %taken.at, i64 %share monotonic
  %is.left = icmp slt i64 %first, %total
  br i1 %is.left, label %do, label %wait
do:
  %end = add i64 %first, %share
  %whole = icmp slt i64 %end, %total
  %last = select i1 %whole, i64 %end, i64 %total
  call void %function(ptr %work, i64 %me, i64 %first, i64 %last)
  %pieces = sub i64 %last, %first
  %before = atomicrmw add ptr %done.at, i64 %pieces acq_rel
  br label %take
wait:
  %looks = phi i64 [ 0, %take ], [ %looks.next, %again ]
  %done = load atomic i64, ptr %done.at acquire, align 8
  %is.done = icmp sge i64 %done, %total
  br i1 %is.done, label %after, label %look
look:
  %looks.next = add i64 %looks, 1
  %is.patient = icmp slt i64 %looks.next, {_PATIENCE}
  br i1 %is.patient, label %again, label %way
way:
  %result = call i32 %give.way()
  br label %again
again:
  br label %wait
after:
  %status = load atomic i64, ptr %status.at acquire, align 8
  %goes.on = icmp eq i64 %status, 0
  %next = add i64 %n, 1
  %left = icmp slt i64 %next, %count
  %more = and i1 %goes.on, %left
  br i1 %more, label %entry, label %exit
exit:
  ret void
}}
"""
    return CompiledKernel(source, ["ptr"])
