"""Launches on several devices: each happens while the device of its tensors is current, and on its current stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from neurosim.kernels.linear import cuda_events
from neurosim.kernels.neurons import cuda as neurons_cuda
from neurosim.kernels.recurrent import cuda as recurrent_cuda
from tests.launches import STEPS, counted_step


class Guards:
    """Kernels that are not run, and notes what the guard of the device was when they were launched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open: list[Tensor] = []
        self.launched: list[tuple[str, int]] = []
        monkeypatch.setattr(torch.cuda, "device_of", self.device_of)
        for name in ("_pack", "_unpack", "_gather", "_transpose"):
            monkeypatch.setattr(cuda_events, name, self.kernel(name))
        monkeypatch.setattr(neurons_cuda, "compiled", lambda *_: self.kernel("core"))
        monkeypatch.setattr(recurrent_cuda, "compiled", lambda *_: self.kernel("loop"))

    @contextlib.contextmanager
    def device_of(self, x: Tensor) -> Iterator[None]:
        self.open.append(x)
        yield
        self.open.pop()

    def kernel(self, name: str) -> Any:
        guards = self

        class Kernel:
            def __getitem__(self, grid: Any) -> Any:
                def run(*arrays: Any, **_: Any) -> None:
                    assert guards.open, f"{name} is launched on whatever device is current"
                    tensors = [each for each in arrays if isinstance(each, Tensor)]
                    assert {each.device for each in tensors} == {guards.open[-1].device}
                    guards.launched.append((name, len(tensors)))

                return run

        return Kernel()


def test_every_launch_is_on_the_device_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    guards = Guards(monkeypatch)
    bits = cuda_events.pack(torch.ones(3, 70))
    cuda_events.unpack(bits, 70, torch.float32)
    cuda_events.gather(bits, None, torch.ones(70, 4))
    cuda_events.scatter(bits, None, torch.ones(3, 4), 70)
    assert [name for name, _ in guards.launched] == ["_pack", "_unpack", "_gather", "_transpose", "_gather"]


@pytest.mark.parametrize("name", ["train-step", "recurrent-step 700-128-20"])
def test_so_is_every_launch_of_a_training_step(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    opened: list[int] = []
    device_of = torch.cuda.device_of

    def noted(x: Tensor) -> Any:
        opened.append(1)
        return device_of(x)

    monkeypatch.setattr(torch.cuda, "device_of", noted)
    counted = counted_step(monkeypatch, name)
    triton = sum(count for kernel, count in counted.launches.items() if kernel.startswith("triton"))
    assert len(opened) == 2 * triton and name in STEPS  # a first step makes the constants
