"""Every operation gives the same bits with 1, 2 and 8 threads, but for the products that a library computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.models import ELM
from neurosim.synapses import DelayedSparse

N, OUT = 300, 10
SENSITIVE = {"dt": 1e-3, "v_th": 0.05}


def pairs() -> Tensor:
    return torch.stack((torch.randint(OUT, (600,)), torch.randint(N, (600,))))


def recurrent() -> ns.Network:
    return ns.Network(
        nodes={"input": ns.Input(N), "loop": ns.LIF(**SENSITIVE)},
        edges=[ns.Edge("input", "loop", ns.Linear(N, 64)), ns.Edge("loop", "loop", ns.Linear(64, 64))],
    )


OPERATIONS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "neurons": (lambda: ns.LIF(**SENSITIVE, learn=("v_th", "tau_mem")), (N,)),
    "linear": (lambda: ns.Linear(N, OUT), (N,)),
    "layer": (lambda: ns.Sequential(ns.Linear(N, OUT), ns.LIF(**SENSITIVE)), (N,)),
    "recurrent": (recurrent, (N,)),
    "conv": (lambda: ns.Conv2d(3, 8, 3, padding=1), (3, 10, 10)),
    "sparse": (lambda: ns.Sparse(N, OUT, pairs()), (N,)),
    "delayed": (lambda: DelayedSparse(N, OUT, pairs(), torch.randint(0, 5, (600,)), dt=1e-3), (N,)),
    "elm": (lambda: ELM(N, 2, dt=1e-3, d_m=10, neurons=3), (N,)),
}


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def results(name: str, steps: int, batch: int, rate: float | None) -> list[Tensor]:
    """Return output, gradient of the input and gradients of the parameters; without a rate the input is dense."""
    make, shape = OPERATIONS[name]
    torch.manual_seed(0)
    module = make()
    size = (steps, batch, *shape)
    x = (torch.randn(size) if rate is None else (torch.rand(size) < rate).float()).requires_grad_()
    found = module(x)
    out = found if isinstance(found, Tensor) else found[0]
    return [out, *torch.autograd.grad(out.square().sum(), [x, *module.parameters()], materialize_grads=True)]


def computed_by_a_library(name: str, steps: int, rate: float | None, place: int) -> bool:
    """Whether a result is one of those of which `docs/semantics.md` promises nothing."""
    one_small_step = name == "layer" and steps == 1
    return (one_small_step and place > 0) or (name == "conv" and rate != 0.03)


@pytest.mark.parametrize("rate", [0.03, 0.5, None])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 64), (4, 16), (100, 3)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_number_of_threads_changes_no_bit(name, steps, batch, rate, threads):
    found = []
    for number in (1, 2, 8):
        torch.set_num_threads(number)
        found.append(results(name, steps, batch, rate))
    for other in found[1:]:
        for place, (a, b) in enumerate(zip(found[0], other, strict=True)):
            if computed_by_a_library(name, steps, rate, place):
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
            else:
                assert torch.equal(a, b), f"result {place}"


def test_the_weight_gradient_of_many_rows(threads):
    torch.manual_seed(0)
    synapse = ns.Linear(64, 64)
    x = torch.rand(100, 200, 64)
    found = []
    for number in (1, 2):
        torch.set_num_threads(number)
        found.append(torch.autograd.grad(synapse(x).square().sum(), synapse.weight)[0])
    assert torch.equal(*found)
