"""Peak memory of what autograd holds, SLTT against BPTT, as the run gets longer: 784-128-10, batch 32."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

import neurosim as ns
from benchmarks.options import Options
from benchmarks.timing import ImplausibleError

NAME = "sltt-memory"
BATCH = 32


class _Kept:
    """A tensor in the hands of autograd."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Activations:
    """Bytes that autograd keeps for the backward pass: now and at the most.

    Memory is counted once however many tensors share it.
    """

    def __init__(self, apart: Iterable[Tensor]) -> None:
        self.apart = {tensor.untyped_storage().data_ptr() for tensor in apart}
        self.users: dict[int, int] = {}
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> _Kept:
        storage, kept = tensor.untyped_storage(), _Kept(tensor.detach())
        place, size = storage.data_ptr(), storage.nbytes()
        if place not in self.apart:
            if place not in self.users:
                self.now += size
                self.peak = max(self.peak, self.now)
            self.users[place] = self.users.get(place, 0) + 1
            weakref.finalize(kept, self._released, place, size)
        return kept

    def _released(self, place: int, size: int) -> None:
        self.users[place] -= 1
        if not self.users[place]:
            del self.users[place]
            self.now -= size


@contextmanager
def activations(*apart: Tensor) -> Iterator[Activations]:
    """Count what is kept for the backward pass, but for `apart`: parameters and data are there anyway."""
    count = Activations(apart)
    with torch.autograd.graph.saved_tensors_hooks(count.pack, lambda kept: kept.tensor):
        yield count


def peak(rule: ns.Rule, steps: int, sizes: tuple[int, int, int] = (784, 128, 10)) -> int:
    """Return the most bytes kept at once while `rule` works out the gradients of one batch."""
    torch.manual_seed(0)
    n_in, hidden, out = sizes
    net = ns.Sequential(ns.Linear(n_in, hidden), ns.LIF(dt=1e-3), ns.Linear(hidden, out), ns.LIF(dt=1e-3))
    x, target = torch.rand(steps, BATCH, n_in), torch.randint(out, (BATCH,))
    with activations(x, *net.parameters()) as count:
        rule.gradients(net, x, target, ns.CrossEntropy())
    if count.now:
        raise ImplausibleError(f"{rule!r} still holds {count.now} bytes after the backward pass.")
    return count.peak


def measure(options: Options) -> dict[str, Any]:
    """Return the peaks in bytes, by rule and number of steps."""
    lengths, sizes = ((10, 30), (40, 16, 10)) if options.quick else ((10, 100, 1000), (784, 128, 10))
    rules: dict[str, ns.Rule] = {"SLTT": ns.SLTT(), "SLTT, one step at a time": ns.SLTT(chunk=1), "BPTT": ns.BPTT()}
    peaks = {name: {str(t): peak(rule, t, sizes) for t in lengths} for name, rule in rules.items()}
    first, last = str(lengths[0]), str(lengths[-1])
    return {
        "work": f"{'-'.join(map(str, sizes))}, batch {BATCH}, gradients of one batch",
        "peak_bytes": peaks,
        "longest_over_shortest": {name: found[last] / found[first] for name, found in peaks.items()},
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    peaks = result["peak_bytes"]
    lengths = list(next(iter(peaks.values())))
    lines = [f"Peak memory held for the backward pass, {result['work']}"]
    lines.append(f"{'':26}" + "".join(f"{'T = ' + t:>13}" for t in lengths) + f"{'last/first':>12}")
    for name, found in peaks.items():
        sizes = "".join(f"{found[t] / 1e6:10.3f} MB" for t in lengths)
        lines.append(f"{name:26}{sizes}{result['longest_over_shortest'][name]:12.3f}")
    return "\n".join(lines)
