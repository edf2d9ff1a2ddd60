"""Captured graphs: how runs are cut, what they share, how much they keep, and what happens if a capture fails."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from neurosim.kernels.recurrent import cuda_graphs
from neurosim.kernels.recurrent.cuda_graphs import Graphs, parts


def test_a_run_is_cut_into_powers_of_two() -> None:
    for steps in range(200):
        cut = list(parts(steps))
        assert [t for part in cut for t in range(part.start, part.stop)] == list(range(steps))
        sizes = [part.stop - part.start for part in cut]
        assert set(sizes) <= {1, 2, 4, 8, 16, 32} and sizes == sorted(sizes, reverse=True)
        assert all(sizes.count(size) == 1 for size in {*sizes} - {32})


def doubled(arrays: Sequence[Tensor]) -> list[Tensor]:
    return [2.0 * x for x in arrays]


BODY = functools.partial(doubled)
Once = Callable[[], list[Tensor]]


class Fake:
    """A capture that runs anew at each replay, or fails; counts both."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.captured, self.replayed = error, 0, 0

    def __call__(self, once: Once) -> tuple[list[Tensor], Callable[[], None]]:
        self.captured += 1
        if self.error is not None:
            raise self.error
        results = once()

        def replay() -> None:
            self.replayed += 1
            for x, anew in zip(results, once(), strict=True):
                x.copy_(anew)

        return results, replay


def test_the_bytes_of_all_graphs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "BYTES", 4000)
    graphs, fake = Graphs(), Fake()

    def kept() -> int:
        return sum(graph.size for graph in graphs._seen.values() if graph is not None)

    for size in (100, 150, 200, 225):  # 800, 1200, 1600 and 1800 bytes in and out
        for _ in range(3):
            (found,) = graphs.again(size, BODY, [torch.ones(size)], fake)
            assert (found == 2).all()
        assert kept() <= 4000
    assert fake.captured == 4 and [key for key, graph in graphs._seen.items() if graph] == [200, 225]
    for _ in range(3):  # one that alone has no room is never captured
        graphs.again("large", BODY, [torch.ones(600)], fake)
    assert fake.captured == 4


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), RuntimeError("not permitted")])
def test_a_capture_that_fails_is_tried_once_and_named_once(error: Exception) -> None:
    graphs, fake = Graphs(), Fake(error)
    cuda_graphs._warn.cache_clear()
    with pytest.warns(RuntimeWarning, match="launch by launch, more slowly: .*(no room|not permitted)") as seen:
        for _ in range(5):
            (found,) = graphs.again("key", BODY, [torch.ones(3)], fake)
            assert (found == 2).all()
    assert fake.captured == 1 and len(seen) == 1


def test_what_decides_a_run_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    x = [torch.ones(3)]
    key = cuda_graphs.key_of(BODY, x)
    assert key == cuda_graphs.key_of(BODY, [torch.zeros(3)])
    assert key != cuda_graphs.key_of(BODY, [torch.ones(4)]) and key != cuda_graphs.key_of(
        BODY, [torch.ones(3).double()]
    )
    monkeypatch.setattr(cuda_graphs, "allows_tf32", lambda: True)
    assert key != cuda_graphs.key_of(BODY, x)
    monkeypatch.undo()
    torch.use_deterministic_algorithms(True)
    try:
        assert key != cuda_graphs.key_of(BODY, x)
    finally:
        torch.use_deterministic_algorithms(False)


class FakeCuda:
    """Devices and streams by number, a capture that notes where it runs; no CUDA."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current, self.made, self.captures = types.SimpleNamespace(cuda_stream=0, device=0), 0, list[Any]()
        cuda = torch.cuda
        monkeypatch.setattr(cuda_graphs, "can_capture", lambda device: True)
        monkeypatch.setattr(cuda, "device", lambda device: contextlib.nullcontext())
        monkeypatch.setattr(cuda, "current_stream", lambda device=None: self.current)
        monkeypatch.setattr(cuda, "set_stream", self.set_stream)
        monkeypatch.setattr(cuda, "Stream", self.stream)
        monkeypatch.setattr(cuda, "CUDAGraph", lambda: types.SimpleNamespace(replay=lambda: None))
        monkeypatch.setattr(cuda, "graph", self.graph)
        self.fails = False

    def set_stream(self, stream: Any) -> None:
        self.current = stream

    def stream(self, device: Any) -> Any:
        self.made += 1
        return types.SimpleNamespace(cuda_stream=100 + self.made, device=device)

    @contextlib.contextmanager
    def graph(self, graph: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        self.captures.append(stream)
        self.current = stream  # as torch leaves it if the end of the capture raises
        yield
        if self.fails:
            raise RuntimeError("operation not permitted")


def test_each_device_and_stream_captures_on_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, graphs = FakeCuda(monkeypatch), Graphs()

    def run(size: int, stream: int) -> None:
        fake.current = types.SimpleNamespace(cuda_stream=stream, device=0)
        result = torch.empty(size)
        graphs.run(BODY, [torch.ones(size)], [result])
        assert (result == 2).all() and fake.current.cuda_stream == stream

    for size, stream in [(3, 0), (3, 0), (4, 0), (4, 0), (3, 7), (3, 7)]:
        run(size, stream)
    assert [each.cuda_stream for each in fake.captures] == [101, 101, 102]
    assert {str(each.device) for each in fake.captures} == {"cpu"}  # that of the tensors, not torch's first
    assert len(graphs._seen) == 3  # a replay on one stream does not use the arrays of another


def test_a_capture_that_fails_leaves_the_callers_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, graphs = FakeCuda(monkeypatch), Graphs()
    fake.fails = True
    cuda_graphs._warn.cache_clear()
    result = torch.empty(3)
    with pytest.warns(RuntimeWarning, match="operation not permitted"):
        for _ in range(3):
            graphs.run(BODY, [torch.ones(3)], [result])
    assert fake.current.cuda_stream == 0 and len(fake.captures) == 1 and (result == 2).all()


def test_autocast_does_not_reach_what_is_captured() -> None:
    seen = []

    def product(arrays: Sequence[Tensor]) -> list[Tensor]:
        seen.append(torch.is_autocast_enabled("cpu"))
        return [torch.mm(*arrays)]

    result = torch.empty(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        Graphs().run(functools.partial(product), [torch.rand(4, 4), torch.rand(4, 4)], [result])
    assert seen == [False]
