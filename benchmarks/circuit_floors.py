"""How fast this machine reads rows of synapses and adds to scattered accumulators."""

from __future__ import annotations

import dataclasses
import functools

import torch

from benchmarks.timing import seconds
from neurosim.compiler.llvm.jit import CompiledKernel

# One pass over `count` numbers: their sum, which the compiler makes wide.
_STREAM = """
define void @kernel(ptr %values, i64 %count, ptr %out) {
entry:
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %next, %loop ]
  %sum = phi i64 [ 0, %entry ], [ %added, %loop ]
  %at = getelementptr i64, ptr %values, i64 %k
  %value = load i64, ptr %at
  %added = add i64 %sum, %value
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %end
end:
  store i64 %added, ptr %out
  ret void
}
"""
# One synaptic event: a target of two bytes, and a constant added to its accumulator.
_SCATTER = """
define void @kernel(ptr %post, i64 %count, ptr %accumulators) {
entry:
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %next, %loop ]
  %at = getelementptr i16, ptr %post, i64 %k
  %short = load i16, ptr %at
  %index = zext i16 %short to i64
  %slot = getelementptr i32, ptr %accumulators, i64 %index
  %old = load i32, ptr %slot
  %new = add i32 %old, 7
  store i32 %new, ptr %slot
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %loop, label %end
end:
  ret void
}
"""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bytes a second of one thread that reads an array larger than the caches, and seconds of one scattered addition.

    `addition_s` is for 2-byte targets among accumulators that lie in the caches, the cheapest form of an event that is
    not a bit of a mask.
    """

    bytes_per_s: float
    addition_s: float

    def seconds(self, events: float, bytes_per_event: float) -> float:
        """Return the least time for `events` synaptic events whose rows take `bytes_per_event`."""
        return max(events * bytes_per_event / self.bytes_per_s, events * self.addition_s)


@functools.cache
def _kernels() -> tuple[CompiledKernel, CompiledKernel]:
    types = ("ptr", "i64", "ptr")
    return CompiledKernel(_STREAM, types), CompiledKernel(_SCATTER, types)


def limits(slots: int = 12_500, calls: int = 5, megabytes: int = 256) -> Limits:
    """Return the fastest of `calls` passes over `megabytes` of memory, and of as many over a million events."""
    stream, scatter = _kernels()
    values = torch.ones(megabytes * (1 << 20) // 8, dtype=torch.int64)
    total = torch.zeros(1, dtype=torch.int64)
    read = min(seconds(lambda: stream.call(values.data_ptr(), values.numel(), total.data_ptr())) for _ in range(calls))
    assert int(total) == values.numel()
    generator = torch.Generator().manual_seed(0)
    # Rows are sorted: the targets of a source ascend.
    rows = torch.randint(min(slots, 1 << 15), (1000, 1000), generator=generator).sort(dim=1).values
    post, accumulators = rows.to(torch.int16).contiguous(), torch.zeros(slots, dtype=torch.int32)
    added = min(
        seconds(lambda: scatter.call(post.data_ptr(), post.numel(), accumulators.data_ptr())) for _ in range(calls)
    )
    assert int(accumulators.sum()) == 7 * post.numel() * calls
    return Limits(values.numel() * 8 / read, added / post.numel())
