"""Every operation where its kernel is missing: the reference runs, one warning says so, and the numbers are equal."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim import kernels
from neurosim.errors import KernelError
from neurosim.kernels.common import availability
from neurosim.kernels.common.operator import Operation, Operator
from neurosim.models import ELM, ELMLayer
from neurosim.synapses import DelayedSparse

T, B, N = 12, 3, 8
SENSITIVE = {"dt": 1e-3, "tau_mem": 4e-3, "v_th": 0.01}
REASON = "the cpu kernels are away"


def on_a_grid(module: nn.Module) -> nn.Module:
    """Return `module` with weights on a dyadic grid, on which sums of spikes are exact in any order."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((parameter * 64).round() / 64)
    return module


def linear() -> nn.Module:
    return ns.Sequential(ns.Linear(N, 5), ns.LIF(**SENSITIVE))


def recurrent() -> nn.Module:
    return ns.Network(
        nodes={"input": ns.Input(N), "loop": ns.LIF(**SENSITIVE)},
        edges=[ns.Edge("input", "loop", ns.Linear(N, 5)), ns.Edge("loop", "loop", ns.Linear(5, 5))],
    )


def sparse() -> nn.Module:
    return ns.Sparse(N, 5, torch.tensor([[0, 0, 1, 4, 4], [0, 7, 3, 3, 3]]))


def delayed() -> nn.Module:
    pairs = torch.tensor([[0, 0, 1, 4, 4], [0, 7, 3, 3, 3]])
    return DelayedSparse(N, 5, pairs, torch.tensor([0, 2, 1, 3, 3]), dt=1e-3)


def row() -> nn.Module:
    return ns.Sequential(ns.Linear(N, 6), ns.LIF(**SENSITIVE), ns.Linear(6, 5), ns.LIF(**SENSITIVE))


OPERATIONS: dict[str, Callable[[], nn.Module]] = {
    "neurons": lambda: ns.LIF(**SENSITIVE, learn=("v_th",)),
    "linear": linear,
    "recurrent": recurrent,
    "row": row,
    "conv": lambda: ns.Conv2d(2, 3, 2),
    "sparse": sparse,
    "delayed": delayed,
    "elm": lambda: ELM(N, 2, dt=1e-3, d_m=3),
    "elm_layer": lambda: ELMLayer(N, 4, dt=1e-3, d_m=3),
}


def results(name: str) -> list[Tensor]:
    """Return output, gradient of the input and gradients of the parameters."""
    torch.manual_seed(0)
    module = on_a_grid(OPERATIONS[name]())
    x = (torch.rand(T, B, N) < 0.4).float()
    x = (x.view(T, B, 2, 2, 2) if name == "conv" else x).requires_grad_()
    found = module(x)
    out = found if isinstance(found, Tensor) else found[0]
    out.backward(torch.arange(out.numel()).view(out.shape) % 7 / 8)
    gradients = [t.grad for t in (x, *module.parameters())]
    return [out.detach(), *(g for g in gradients if g is not None)]


def forbidden(*_: object) -> None:
    raise AssertionError("a kernel ran.")


@pytest.fixture
def without_kernels(monkeypatch):
    availability._warn.cache_clear()
    monkeypatch.setattr(availability, "obstacle", lambda device: f"the {device} kernels are away")
    monkeypatch.setattr(Operation, "__call__", forbidden)
    monkeypatch.setattr(Operator, "__call__", forbidden)
    yield
    availability._warn.cache_clear()


def test_every_operation_is_listed():
    folders = {path.parent.name for path in Path(kernels.__file__).parent.glob("*/operator.py")}
    assert set(OPERATIONS) == folders - {"common"}


@pytest.fixture
def with_kernels(request):
    return results(request.param)


@pytest.mark.parametrize(
    ("name", "with_kernels"), [(n, n) for n in OPERATIONS], indirect=["with_kernels"], ids=OPERATIONS
)
def test_the_reference_runs_with_one_warning_and_equal_numbers(name, with_kernels, without_kernels, monkeypatch):
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "0")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        references = [results(name), results(name)]
    assert [str(w.message) for w in caught] == [f"the plain reference runs, slowly: {REASON}."]
    assert caught[0].category is RuntimeWarning
    # tanh and sums of values off the grid round differently.
    tolerance = {"rtol": 2e-5, "atol": 1e-6} if name.startswith("elm") else {"rtol": 0, "atol": 0}
    for found in references:
        torch.testing.assert_close(found[0], with_kernels[0], **tolerance)
        for a, b in zip(found[1:], with_kernels[1:], strict=True):
            torch.testing.assert_close(a, b, rtol=2e-5, atol=1e-6)
    assert with_kernels[0].any()


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_is_an_error_where_kernels_are_required(name, without_kernels, monkeypatch):
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "1")
    with pytest.raises(KernelError, match=f"no fused kernel on cpu: {REASON}. Unset NEUROSIM_REQUIRE_KERNELS"):
        results(name)


def test_elm_neurons_on_another_device(monkeypatch):
    neuron = ELM(N, 2, dt=1e-3, d_m=3).to("meta")
    x = torch.empty(T, B, N, device="meta")
    availability._warn.cache_clear()
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "0")
    with pytest.warns(RuntimeWarning, match="runs, slowly: ELM neurons have no kernel on 'meta' devices"):
        neuron(x)
    monkeypatch.setenv("NEUROSIM_REQUIRE_KERNELS", "1")
    with pytest.raises(KernelError, match="ELM neurons have no kernel on 'meta' devices"):
        neuron(x)
