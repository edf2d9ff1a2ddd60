"""Checks of losses and gradients: at once on the CPU; on CUDA when they are there, without waiting."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.errors import InputError
from neurosim.learning.training import evaluation, finite, trainer
from neurosim.learning.training.finite import AHEAD, FiniteChecks

NAN = float("nan")


class Device:
    """An accelerator that finishes the work of a step when told so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = self.done = 0
        self.waited: list[str] = []
        device = self

        class Sent(finite._Sent):
            def is_there(self) -> bool:
                return bool(self.event < device.done)

            def wait(self) -> None:
                if self.event >= device.done:
                    device.waited.append(self.place)

        def send(place: str, values: dict[str, torch.Tensor]) -> Sent:
            device.sent += 1
            return Sent(place, tuple(values), torch.stack([*values.values()]).double(), device.sent - 1)

        for module in (finite, trainer):
            monkeypatch.setattr(module, "is_late", lambda device: True)
        monkeypatch.setattr(finite, "_send", send)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(monkeypatch)


def value(x: float) -> torch.Tensor:
    return torch.tensor(x)


def test_on_the_cpu_a_value_is_checked_at_once() -> None:
    checks = FiniteChecks(nn.Linear(1, 1))
    checks.add("here", loss=value(1.0), gradient=value(2.0))
    with pytest.raises(InputError, match=r"^there: the gradient is nan. Lower the learning rate"):
        checks.add("there", loss=value(1.0), gradient=value(NAN))


def test_the_host_looks_at_what_is_there_and_waits_only_far_ahead(device: Device) -> None:
    checks = FiniteChecks(nn.Linear(1, 1))
    for step in range(AHEAD):
        checks.add(f"step {step}", loss=value(1.0))
    assert device.waited == []
    checks.add("one more", loss=value(1.0))
    assert device.waited == ["step 0"]
    device.done = device.sent
    checks.add("later", loss=value(1.0))
    assert device.waited == ["step 0"] and len(checks._sent) == 1
    checks.finish()
    assert device.waited == ["step 0", "later"] and not checks._sent


def test_a_value_that_is_not_finite_is_named_with_its_step(device: Device) -> None:
    checks = FiniteChecks(nn.Linear(1, 1))
    checks.add("step 0", loss=value(NAN))
    device.done = 1
    with pytest.raises(InputError, match=r"^step 0: the loss is nan. On CUDA this is seen after the step"):
        checks.add("step 1", loss=value(1.0))
    checks.add("step 2", x=value(float("inf")))
    with pytest.raises(InputError, match=r"^step 2: x holds NaN or infinity"):
        checks.finish()
        checks.finish()


def data() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [((torch.rand(5, 3, 4) < 0.4).float(), torch.tensor([0, 1, 2])) for _ in range(4)]


def net() -> ns.Network:
    torch.manual_seed(1)
    return ns.Sequential(ns.Linear(4, 6), ns.LIF(), ns.Linear(6, 3, bias=True), ns.LI(), dt=1e-3)


def test_fit_gives_the_same_network_whenever_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    now, batches = net(), data()
    rows = ns.learning.fit(now, batches, epochs=2, accumulate=2, progress=False, seed=3).rows
    Device(monkeypatch)
    later = net()
    late_rows = ns.learning.fit(later, batches, epochs=2, accumulate=2, progress=False, seed=3).rows
    for a, b in zip(now.parameters(), later.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in late_rows], rel=1e-6)


def test_fit_ends_with_the_step_that_was_not_finite(device: Device) -> None:
    with torch.no_grad():
        trained = net()
        [*trained.parameters()][-1].fill_(NAN)
    with pytest.raises(InputError, match=r"^epoch 1, batch 1: the (loss|gradient) is (nan|inf)"):
        ns.learning.fit(trained, data(), epochs=1, progress=False, wake=False)


def test_evaluate_looks_at_all_before_it_returns(device: Device) -> None:
    broken = net()
    with torch.no_grad():
        [*broken.parameters()][-1].fill_(NAN)
    with pytest.raises(InputError, match=r"^evaluation, batch 1: the loss is nan"):
        ns.learning.evaluate(broken, data())


def test_samples_that_the_loss_ignores_are_found_before_the_batch_moves() -> None:
    from neurosim.learning.training.batches import Batch, _kept

    loss = ns.learning.CrossEntropy(ignore_index=-100)
    target = torch.tensor([0, -100, 2])
    kept = _kept(loss, target, None)
    assert kept is not None and kept.tolist() == [0, 2]
    assert _kept(ns.learning.CrossEntropy(), target.abs(), None) is None
    output = torch.randn(5, 3, 4)
    with_bits, with_numbers = (evaluation.Scores(loss, None) for _ in range(2))
    with_bits.add(value(1.0), output, Batch(output, target, None))
    with_numbers.add(value(1.0), output, Batch(output, target, None, kept))
    assert with_bits.values() == with_numbers.values() and with_numbers.samples == 2


def test_an_input_on_the_device_may_be_large_and_not_nan(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    from neurosim.learning.training import batches

    monkeypatch.setattr(batches, "is_late", lambda device: True)
    checks, target = FiniteChecks(net()), torch.tensor([0, 1, 2])
    large = torch.full((5, 3, 4), 3e38)
    batches.on_device((large, target), net(), ns.learning.CrossEntropy(), "batch 1", checks)
    checks.finish()
    large[2, 1, 1] = NAN
    batches.on_device((large, target), net(), ns.learning.CrossEntropy(), "batch 2", checks)
    with pytest.raises(InputError, match=r"^batch 2: x holds NaN or infinity"):
        checks.finish()
