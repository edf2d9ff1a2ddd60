"""Times of calls on one GPU, and what they are compared with: the measured rates of the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.timing import Times

Run = Callable[[], object]
MARGIN = 1.1  # a share of the device's rate above this is marked: the clock or the count may be wrong
_COVER = 1_000_000  # cycles of the device, some 0.5 ms, in which the host queues the call that is timed

# Name, type and torch's setting for products of each precision whose rate is measured.
PRECISIONS = (
    ("float32", torch.float32, "highest"),
    ("tf32", torch.float32, "high"),
    ("bfloat16", torch.bfloat16, "highest"),
)


class Clock:
    """Times of calls on a device, each with cold caches.

    Parameters
    ----------
    device : torch.device
        A GPU; on the CPU, with the interpreter, every run is called once and not timed.
    calls : int
        Number of timed calls.
    """

    def __init__(self, device: torch.device, calls: int = 20) -> None:
        self.device, self.calls = device, calls
        self.keeps_time = device.type == "cuda"
        # Reading it evicts everything else from the second-level cache. Writing would leave lines to be written back.
        self._other = torch.ones((128 << 20) if self.keeps_time else 1, device=device)

    def __call__(self, run: Run) -> Times | None:
        """Return the times of `run` on the device, without the launch on the host."""
        if not self.keeps_time:
            run()
            return None
        for _ in range(3):
            run()
        found = []
        for _ in range(self.calls):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            self._other.sum()
            torch.cuda._sleep(_COVER)
            begin.record()
            run()
            end.record()
            found.append((begin, end))
        torch.cuda.synchronize()
        return Times(tuple(sorted(begin.elapsed_time(end) * 1e-3 for begin, end in found)))

    def elapsed(self, run: Run) -> Times | None:
        """Return the times of `run` from the call to the end of the work."""
        return self._by_the_host(run, waits=True)

    def queued(self, run: Run) -> Times | None:
        """Return the times until the host has queued the work of `run`."""
        return self._by_the_host(run, waits=False)

    def replayed(self, run: Run) -> Times | None:
        """Return the times of replays of a CUDA graph of `run`: those of the device, without the host."""
        if not self.keeps_time:
            run()
            return None
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return self(graph.replay)

    def launches(self, run: Run) -> int | None:
        """Return the number of kernels that a call of `run` launches."""
        if not self.keeps_time:
            run()
            return None
        run()
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            run()
            torch.cuda.synchronize()
        events: Any = profile.events()
        return sum("cuda" in str(event.device_type).lower() for event in events)

    def _by_the_host(self, run: Run, waits: bool) -> Times | None:
        if not self.keeps_time:
            run()
            return None
        for _ in range(3):
            run()
        found = []
        for _ in range(self.calls):
            torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            if waits:
                torch.cuda.synchronize()
            found.append(time.perf_counter() - start)
        return Times(tuple(sorted(found)))


class Matmul:
    """Torch's precision of single-precision products, set inside a ``with`` block."""

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def __enter__(self) -> None:
        self.before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.precision)

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self.before)


def figure(times: Times | None, **known: Any) -> dict[str, Any]:
    """Return the record of a measurement."""
    return {**known, **({} if times is None else times.as_json())}


def share(times: Times | None, amount: float, rate: float | None) -> dict[str, Any]:
    """Return `amount` over the median time, as a share of `rate`; marked where it cannot be."""
    if times is None or not rate:
        return {}
    found = amount / times.median / rate
    return {"share": found, "implausible": True} if found > MARGIN else {"share": found}


def rates(clock: Clock, quick: bool) -> dict[str, Any]:
    """Measure the device: bytes/s of a copy, FLOP/s of square products."""
    n, width = (1 << 10, 64) if quick else (1 << 28, 8192)
    a = torch.randn(n, device=clock.device)
    b = torch.empty_like(a)
    copy = clock(lambda: b.copy_(a))
    found: dict[str, Any] = {"copy_bytes_per_s": copy and 2.0 * a.numel() * a.element_size() / copy.median}
    for name, dtype, precision in PRECISIONS:
        x = torch.randn(width, width, device=clock.device).to(dtype)
        with Matmul(precision):
            times = clock(partial(torch.mm, x, x))
        found[f"{name}_flop_per_s"] = times and 2.0 * width**3 / times.median
    return found
