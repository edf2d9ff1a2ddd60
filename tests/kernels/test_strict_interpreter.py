"""Every CUDA kernel in the strict interpreter: any order of programs, poisoned memory and lanes, no races."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

pytest.importorskip("triton")
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel is made, so not too late here

import triton
import triton.language as tl

from neurosim.cores import alif, cubalif, lif
from neurosim.kernels.linear import cuda_events
from neurosim.kernels.recurrent import cuda_graphs
from tests.interpreter import RaceError, strict
from tests.kernels.linear.test_cuda import Case as LinearCase
from tests.kernels.neurons.test_cuda import Case as CoreCase
from tests.kernels.recurrent.test_cuda import Case as RecurrentCase

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="kernels run on the device, not in the interpreter")
SEEDS = [0, 1]


@triton.jit
def shifted(x: Any, out: Any, n: Any, BLOCK: tl.constexpr) -> None:
    """Add the element before, as long as programs run in order: a race."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    before = tl.load(out + at - 1, mask=(at > 0) & (at < n), other=0.0)
    tl.store(out + at, tl.load(x + at, mask=at < n, other=0.0) + before, mask=at < n)


@triton.jit
def summed(x: Any, out: Any, n: Any, OTHER: tl.constexpr, BLOCK: tl.constexpr) -> None:
    """Sum what is not all there; without OTHER the lanes outside hold anything."""
    at = tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < n, other=0.0) if OTHER else tl.load(x + at, mask=at < n)
    tl.store(out, tl.sum(value, 0))


@triton.jit
def overlapping(out: Any, BLOCK: tl.constexpr) -> None:
    """Write what the next program writes too."""
    at = tl.program_id(0) * (BLOCK - 1) + tl.arange(0, BLOCK)
    tl.store(out + at, at.to(tl.float32))


def test_a_race_and_a_missing_mask_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    x, out = torch.ones(10), torch.zeros(10)
    shifted[(10,)](x, out, 10, BLOCK=1)
    assert out.tolist() == [1.0 + k for k in range(10)]  # in order nothing shows
    with pytest.raises(RaceError, match="reads what another writes"), strict(monkeypatch):
        shifted[(10,)](x, torch.zeros(10), 10, BLOCK=1)
    with pytest.raises(RaceError, match="write one address"), strict(monkeypatch):
        overlapping[(3,)](torch.zeros(20), BLOCK=4)
    total = torch.zeros(1)
    summed[(1,)](x, total, 10, OTHER=False, BLOCK=16)
    assert total.item() == 10  # the interpreter gives zeros
    with strict(monkeypatch):
        summed[(1,)](x, total, 10, OTHER=True, BLOCK=16)
        assert total.item() == 10
        summed[(1,)](x, total, 10, OTHER=False, BLOCK=16)
    assert total.isnan().all()


def test_programs_run_in_another_order_and_memory_is_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    with strict(monkeypatch) as launches:
        assert torch.empty(3).isnan().all() and (torch.empty(3, dtype=torch.int64) > 1 << 60).all()
        cuda_events.pack(torch.ones(200, 130))
    (launch,) = launches
    assert launch.order != sorted(launch.order) and sorted(launch.order)[-1] == (12, 2, 0)
    assert not torch.empty_like(torch.ones(3), dtype=torch.int64).equal(torch.full((3,), -1))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("neuron", [lif, alif, cubalif], ids=lambda c: c.name)
def test_neurons(monkeypatch: pytest.MonkeyPatch, neuron: Any, seed: int) -> None:
    with strict(monkeypatch, seed) as launches:
        CoreCase(neuron, 5, (3, 130), per_neuron=("v_th",)).check()
    assert len(launches) == 2 and launches[0].grid[0] == 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    with strict(monkeypatch):
        got = CoreCase(lif, 4, (3, 100), dtype=dtype).fused()
    assert got.out.isfinite().all() and all(g.isfinite().all() for g in got.gradients.values())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("rows", "n_in", "n_out"), [(37, 130, 70), (3, 64 * 5, 300)])
def test_events(monkeypatch: pytest.MonkeyPatch, rows: int, n_in: int, n_out: int, seed: int) -> None:
    x = (torch.rand(rows, n_in) < 0.2).float()
    weight, g, bias = torch.randn(n_in, n_out), torch.randn(rows, n_out), torch.randn(n_out)
    with strict(monkeypatch, seed):
        bits = cuda_events.pack(x)
        found = cuda_events.gather(bits, None, weight, bias)
        gradient = cuda_events.scatter(bits, None, g, n_in)
        again = cuda_events.unpack(bits, n_in, x.dtype)
    assert torch.equal(again, x)
    torch.testing.assert_close(found, x @ weight + bias, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient, x.T @ g, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize("chunk", [0, 3])
def test_layers(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    with strict(monkeypatch):
        LinearCase(alif, chunk, per_neuron=("v_th",)).check()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step_by_step", [False, True])
def test_recurrent_layers(monkeypatch: pytest.MonkeyPatch, step_by_step: bool, seed: int) -> None:
    from neurosim.kernels.recurrent import cuda as recurrent_cuda

    if step_by_step:
        monkeypatch.setattr(cuda_graphs, "LARGEST", 2)
        for real in recurrent_cuda.WIDEST:
            monkeypatch.setitem(recurrent_cuda.WIDEST, real, 0)
    with strict(monkeypatch, seed) as launches:
        RecurrentCase(alif, T=3, B=17, heads=2, n=9, per_neuron=("v_th",)).check(1e-11)
    assert len(launches) == (6 if step_by_step else 2)
