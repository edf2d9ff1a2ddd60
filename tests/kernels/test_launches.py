"""How often a training step on CUDA launches a kernel, and that it waits for nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

pytest.importorskip("triton")

import neurosim as ns
from tests.launches import STEPS, counted_step, cuda_path


@pytest.mark.parametrize("name", STEPS)
def test_no_step_waits(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    counted = counted_step(monkeypatch, name)
    assert not counted.waits, counted.waits


def test_a_training_step_of_three_layers_has_at_most_20_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = counted_step(monkeypatch, "train-step")
    assert counted.total <= 20, dict(counted.launches)
    assert counted.launches["triton::core forward"] == counted.launches["triton::core backward"] == 3


def test_a_wait_and_a_launch_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(3, requires_grad=True)
    with cuda_path(monkeypatch) as counted:
        functional.relu(x).sum().item()
    assert counted.total == 2 and counted.waits == {"aten::_local_scalar_dense": 1}


def test_the_loop_of_fit_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count between two batches; the loss is read at the end of the epoch."""
    from neurosim.learning.losses.classes import ClassLoss
    from neurosim.learning.training import batches as batches_module
    from neurosim.learning.training import finite, start, trainer

    for module in (finite, trainer):  # batches come from the CPU
        monkeypatch.setattr(module, "is_late", lambda device: True)
    monkeypatch.setattr(batches_module, "_check_values", lambda *_: None)  # of the batch before it moves
    sent: list[Any] = []

    class Sent(finite._Sent):
        def is_there(self) -> bool:
            return False

        def wait(self) -> None:
            sent.append(self.place)

    def send(place: str, values: dict[str, torch.Tensor]) -> Sent:
        return Sent(place, tuple(values), torch.ones(len(values)), None)  # kernels left out give no numbers

    monkeypatch.setattr(finite, "_send", send)
    monkeypatch.setattr(ClassLoss, "check_target", lambda *_: None)  # on the CPU, before the batch moves
    monkeypatch.setattr(start, "wake", lambda *_, **__: False)
    net = ns.Sequential(ns.Linear(30, 16), ns.LIF(), ns.Linear(16, 5), ns.LI(), dt=1e-3)
    data = [((torch.rand(6, 4, 30) < 0.3).float(), torch.arange(4)) for _ in range(3)]
    seen = []

    class Watched(list):  # type: ignore[type-arg]
        """Counts while a batch is under way, from when it is handed out until the next is asked for."""

        def __iter__(self) -> Any:
            for batch in super().__iter__():
                before = dict(counted.waits)
                yield batch
                seen.append({k: v - before.get(k, 0) for k, v in counted.waits.items() if v != before.get(k, 0)})

    optimizer = torch.optim.SGD(net.parameters(), 0.1)  # Adam counts its steps on the CPU, also for CUDA
    with cuda_path(monkeypatch) as counted:
        history = ns.learning.fit(net, Watched(data), optimizer=optimizer, epochs=2, clip=1.0, progress=False)
    assert seen == [{}] * 6
    assert len(sent) == 6 and sent[0].startswith("epoch 1, batch 1")
    assert len(history) == 2
