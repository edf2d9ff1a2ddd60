"""Without double precision on a device: no tensor of it is made there, and the numbers are those of the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import neurosim as ns
from neurosim.learning.training import evaluation
from neurosim.learning.training.batches import Batch
from neurosim.learning.training.metrics import accuracy, spikes_per_step
from neurosim.units import doubles


@pytest.mark.parametrize(("kind", "fp64", "has"), [("mps", None, False), ("xpu", False, False), ("xpu", True, True)])
def test_which_devices_have_it(monkeypatch: pytest.MonkeyPatch, kind: str, fp64: bool, has: bool) -> None:
    properties = type("Properties", (), {"has_fp64": fp64})
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device: properties)
    assert doubles.has_doubles(torch.device(kind)) is has
    assert doubles.has_doubles(torch.device("cuda")) and doubles.has_doubles(torch.device("cpu"))


class NoDoubles(TorchDispatchMode):
    """A device without double precision, which stands for the CPU; `where_doubles_are` goes where they are."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a tensor to float64 dtype as the framework doesn't support float64")
        return result


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (doubles, evaluation):
        monkeypatch.setattr(module, "has_doubles", lambda device: False)


@pytest.mark.usefixtures("without")
def test_metrics_and_sums_of_an_epoch() -> None:
    output, target = torch.rand(5, 3, 4), torch.tensor([0, 1, 2])
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3, [True] * 4 + [False]])
    over_time = target[:, None].expand(3, 5)
    scores = evaluation.Scores(ns.learning.CrossEntropy(), None)
    with NoDoubles():
        assert accuracy(output, target, target) == 1
        assert accuracy(output, over_time, over_time) == accuracy(output, over_time, over_time, mask) == 1
        assert 0 < spikes_per_step(output, target, target) < 1
        assert 0 < spikes_per_step(output, target, target, mask) < 1
        for _ in range(2):
            scores.add(torch.tensor(0.25), output, Batch(output, target, None))
    assert scores.values()["loss"] == 0.25 and scores.samples == 6


def test_a_learned_time_constant_has_the_decay_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from neurosim.network import parameters

    moved: list[Tensor] = []

    def elsewhere(x: Tensor) -> Tensor:
        moved.append(x.clone())
        return moved[-1]

    layer = ns.LIF(dt=1e-3, tau_mem=torch.tensor([5e-3, 20e-3, 7e-3]), learn=("tau_mem",))
    wanted = layer.coefficient("alpha_mem")
    monkeypatch.setattr(parameters, "where_doubles_are", elsewhere)
    found = layer.coefficient("alpha_mem")
    assert isinstance(wanted, Tensor) and isinstance(found, Tensor) and moved
    assert found.dtype == torch.float32 and torch.equal(found, wanted.float())
    (gradient,) = torch.autograd.grad(found.sum(), list(layer.parameters()))
    assert gradient.any()
