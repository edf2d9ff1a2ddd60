"""Constants on a device: made once, by their bits; shared only where no one else can write them."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch

import neurosim as ns
from neurosim.kernels.common import constants

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    constants._made.clear()


@pytest.fixture
def as_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat the CPU as a device on which making a tensor is a launch."""
    monkeypatch.setattr(constants, "on_accelerator", lambda device: True)


def test_the_sign_of_zero_is_kept() -> None:
    for first, second in ((0.0, -0.0), (-0.0, 0.0)):
        constants._made.clear()
        for value in (first, second):
            (found,) = constants.numbers([value], torch.float32, CPU).tolist()
            assert str(found) == str(value)


def test_the_same_numbers_are_made_once() -> None:
    made = constants.numbers([0.5, 2], torch.float32, CPU)
    assert constants.numbers((0.5, 2.0), torch.float32, CPU) is made
    assert constants.numbers((0.5, 2.0), torch.float64, CPU) is not made


class Streams:
    """A CUDA device that is not here: its current stream, and whether that is captured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.device, self.stream, self.captured, self.made = torch.device("cuda", 0), 1, False, 0
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: self.captured)
        current = lambda device: types.SimpleNamespace(cuda_stream=self.stream)  # noqa: E731
        monkeypatch.setattr(torch.cuda, "current_stream", current)

    def get(self) -> torch.Tensor:
        def make() -> torch.Tensor:
            self.made += 1
            return torch.ones(3)

        return constants._kept("key", self.device, make)


def test_each_stream_reads_tensors_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch)
    first = streams.get()
    streams.stream = 2
    second = streams.get()
    assert first is not second and streams.get() is second and streams.made == 2
    streams.stream = 1
    assert streams.get() is first


def test_a_capture_reads_what_was_made_before_it_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch)
    monkeypatch.setattr(constants, "KEPT", 1)
    first = streams.get()
    streams.stream, streams.captured = 7, True
    assert streams.get() is first and streams.made == 1
    constants.numbers([1.0], torch.float32, CPU)  # the first is dropped
    assert "key" not in constants._made and constants._in_graphs[first.data_ptr()] is first
    inside = streams.get()
    assert inside is not first and streams.get() is not inside  # memory of the graph is not shared


@pytest.mark.usefixtures("as_accelerator")
def test_filled_is_shared_only_between_plain_tensors() -> None:
    like = torch.ones(2)
    zeros = constants.filled(like, (3, 4), 0.0, torch.float32)
    assert zeros.shape == (3, 4) and not zeros.any()
    assert constants.filled(like, (3, 4), 0.0, torch.float32) is zeros
    assert constants.filled(torch.nn.Parameter(like), (3, 4), 0.0, torch.float32) is zeros
    seen: list[Any] = []

    def under(x: torch.Tensor) -> torch.Tensor:
        seen.append(constants.filled(x, (3, 4), 0.0, torch.float32))
        return x.sum()

    torch.func.grad(under)(like)
    assert seen[0] is not zeros


def test_nothing_is_shared_on_the_cpu() -> None:
    like = torch.ones(2)
    assert constants.filled(like, (3,), 0.0, like.dtype) is not constants.filled(like, (3,), 0.0, like.dtype)


@pytest.mark.usefixtures("as_accelerator")
def test_start_values_that_a_caller_may_write_are_its_own() -> None:
    net = ns.Sequential(ns.Linear(3, 4), ns.LIF(), dt=1e-3)
    x = torch.ones(6, 2, 3)
    wanted, _ = net(x)
    first = net.initial_state(x)
    for state in first.nodes.values():
        for value in state:
            value.fill_(100.0)
    assert torch.equal(net(x)[0], wanted)
    _, after = net(x[:0])
    for state in after.nodes.values():
        for value in state:
            value.fill_(100.0)
    assert torch.equal(net(x)[0], wanted)
