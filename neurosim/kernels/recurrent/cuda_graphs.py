"""CUDA graphs of runs of a function from tensors to tensors, captured when the same shapes come a second time."""

from __future__ import annotations

import functools
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosim.kernels.common.float32 import allows_tf32

LARGEST = 32  # steps of a graph; a run is cut into parts whose numbers of steps are powers of two
GRAPHS = 64  # kept at once
BYTES = 1 << 30  # of the arrays of all graphs of a device

Body = Callable[[Sequence[Tensor]], list[Tensor]]
Capture = Callable[[Callable[[], list[Tensor]]], tuple[list[Tensor], Callable[[], None]]]


def parts(steps: int) -> Iterator[slice]:
    """Yield parts of a run: as many of `LARGEST` steps as there are, then smaller powers of two."""
    first, size = 0, LARGEST
    while first < steps:
        while size > steps - first:
            size //= 2
        yield slice(first, first + size)
        first += size


class Graph:
    """A captured run of `body`, with arrays of its own for what goes in and comes out.

    Parameters
    ----------
    body : callable
        From a list of tensors to a list of tensors, by launches alone.
    arrays : sequence of Tensor
        An example of what goes in.
    capture : Capture
        Calls a function, records what it launches, and returns what it returned and what launches it again.

    Attributes
    ----------
    size : int
        Bytes of what goes in and comes out.
    """

    def __init__(self, body: Body, arrays: Sequence[Tensor], capture: Capture) -> None:
        self._inside = [x.clone() for x in arrays]
        self._outside, self._replay = capture(lambda: body(self._inside))
        self.size = _bytes([*self._inside, *self._outside])

    def __call__(self, arrays: Sequence[Tensor]) -> list[Tensor]:
        """Run with these arrays; the results are overwritten by the next run."""
        for ours, theirs in zip(self._inside, arrays, strict=True):
            ours.copy_(theirs)
        self._replay()
        return self._outside


class Graphs:
    """The graphs of one process: of each device no more than `BYTES`, the least recently used go first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Any, Graph | None] = OrderedDict()
        self._refused: set[Any] = set()
        self._streams: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget all graphs."""
        self._seen.clear()
        self._refused.clear()

    def run(self, body: functools.partial[list[Tensor]], arrays: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """Write ``body(arrays)`` to `results`: on CUDA, from the second time that shapes come, by replaying a graph.

        The first time warms up, as a capture demands: kernels are compiled and constants brought to the device. Inside
        a capture of the caller's own, and on other devices, the body simply runs.
        """
        device = arrays[0].device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            if not can_capture(device):
                _copy(body(arrays), results)
                return
            with torch.cuda.device(device), self._lock:
                stream = torch.cuda.current_stream(device)
                key = (key_of(body, arrays), device, stream.cuda_stream)
                capture = functools.partial(_capture, self._capture_stream(device, stream.cuda_stream))
                _copy(self.again(key, body, arrays, capture), results)

    def again(self, key: Any, body: Body, arrays: Sequence[Tensor], capture: Capture) -> list[Tensor]:
        """Run `body` the first time that `key` comes; capture and replay it from the second time on.

        The results of a replay are overwritten by the next.
        """
        if key not in self._seen:
            self._seen[key] = None
            self._evict(arrays[0].device, 0)
            return body(arrays)
        self._seen.move_to_end(key)
        graph = self._seen[key]
        if graph is None:
            if key in self._refused or 2 * _bytes(arrays) > BYTES:
                return body(arrays)
            self._evict(arrays[0].device, 2 * _bytes(arrays))
            try:
                graph = self._seen[key] = Graph(body, arrays, capture)
            except RuntimeError as error:  # out of memory, or what a capture of this torch or driver cannot hold
                self._refused.add(key)
                _warn(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
                return body(arrays)
            self._evict(arrays[0].device, 0)
        return graph(arrays)

    def _evict(self, device: torch.device, needed: int) -> None:
        """Drop graphs, not the last that was used, until there is room for `needed` bytes on `device`."""

        def used() -> int:
            kept = (graph for graph in self._seen.values() if graph is not None)
            return sum(graph.size for graph in kept if graph._inside[0].device == device)

        for key in list(self._seen)[:-1]:
            if len(self._seen) <= GRAPHS and used() + needed <= BYTES:
                break
            if len(self._seen) > GRAPHS or self._seen[key] is not None:
                del self._seen[key]
                self._refused.discard(key)

    def _capture_stream(self, device: torch.device, stream: int) -> Any:
        """Return the stream to capture on: graphs of one device and stream share it and what libraries keep for it."""
        if (device, stream) not in self._streams:
            self._streams[device, stream] = torch.cuda.Stream(device)
        return self._streams[device, stream]


def can_capture(device: torch.device) -> bool:
    """Return whether runs on `device` are captured: on CUDA of NVIDIA, outside of a capture of the caller's own."""
    return device.type == "cuda" and torch.version.hip is None and not torch.cuda.is_current_stream_capturing()


def key_of(body: functools.partial[list[Tensor]], arrays: Sequence[Tensor]) -> Any:
    """Return what decides what a run of `body` launches: shapes, types, and torch's settings for products."""
    shapes = tuple((tuple(x.shape), x.dtype) for x in arrays)
    half = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    half_sums = (half, torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction)
    settings = (allows_tf32(), half_sums, torch.are_deterministic_algorithms_enabled())
    return body.func, body.args, shapes, settings


def _capture(stream: Any, once: Callable[[], list[Tensor]]) -> tuple[list[Tensor], Callable[[], None]]:
    graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        # Backward runs in a thread of its own: what other threads do meanwhile is no part of this.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            results = once()
    finally:
        torch.cuda.set_stream(before)  # torch leaves the other one current if the capture fails
    return results, graph.replay


def _copy(found: Sequence[Tensor], results: Sequence[Tensor]) -> None:
    for x, result in zip(found, results, strict=True):
        result.copy_(x)


def _bytes(arrays: Sequence[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in arrays)


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(
        f"a recurrent layer could not be captured in a CUDA graph and runs launch by launch, more slowly: {reason}",
        RuntimeWarning,
        stacklevel=5,
    )


graphs = Graphs()
