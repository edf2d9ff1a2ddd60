"""Without double precision on a device: no tensor of it is made there, and the numbers are those of the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import neurosim as ns
from neurosim.kernels.common import availability
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
    """Lets the CPU stand for a device without double precision.

    What `where_doubles_are` returned, and what is computed from it, is on the host, where double precision is.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [t for t in torch.utils._pytree.tree_leaves((args, kwargs or {})) if isinstance(t, Tensor)]
        result = func(*args, **(kwargs or {}))
        on_host = any(getattr(t, "on_host", False) or t.dtype == torch.float64 for t in given)
        for t in torch.utils._pytree.tree_leaves(result):
            if isinstance(t, Tensor) and on_host and given:
                t.on_host = True  # type: ignore[attr-defined]
            if isinstance(t, Tensor) and t.dtype == torch.float64 and given and not on_host:
                raise TypeError(f"{func}: Cannot convert a tensor to float64: the framework doesn't support float64")
        return result


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every module believe that the device has no double precision."""
    from neurosim.network import activity, parameters
    from neurosim.synapses import synapse

    def moved(x: Tensor) -> Tensor:
        found = x.clone()
        found.on_host = True  # type: ignore[attr-defined]
        return found

    for module in (doubles, evaluation):
        monkeypatch.setattr(module, "has_doubles", lambda device: False)
    for module in (parameters, synapse, evaluation):
        monkeypatch.setattr(module, "where_doubles_are", moved)
    assert activity.widened is doubles.widened


@pytest.mark.usefixtures("without")
@pytest.mark.filterwarnings("ignore:the plain reference runs")
def test_fit_and_evaluate_make_no_double_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "0")
    net = ns.Sequential(ns.Linear(6, 5), ns.LIF(learn=("tau_mem",)), ns.Linear(5, 3), ns.LI(), dt=1e-3)
    data = [((torch.rand(4, 3, 6) < 0.4).float(), torch.tensor([0, 1, 2])) for _ in range(2)]
    monkeypatch.setattr(availability, "obstacle", lambda device: "this device has no kernels")
    with NoDoubles():
        with pytest.raises(TypeError, match="float64"):
            data[0][0].double()
        history = ns.learning.fit(net, data, validate=data, epochs=1, progress=False)
        found = ns.learning.evaluate(net, data)
    assert found["loss"] > 0 and history.last["validation_loss"] == pytest.approx(found["loss"])


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
