"""Event-driven products on CUDA against dense ones; without a GPU they run in Triton's interpreter on CPU tensors."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Tensor

from neurosim.kernels.linear.policy import gathering_is_faster

pytest.importorskip("triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel is made, so not too late here

from neurosim.kernels.linear import cuda_events  # noqa: E402

Size = tuple[int, int, int]
SIZES: list[Size] = [(1, 1, 1), (3, 17, 16), (4, 64, 33), (5, 65, 300), (66, 9, 7)]
# The interpreter cuts a bfloat16 off where the device rounds.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-7}

# The interpreter is slow: every size in one precision, every precision at one size.
CASES = [*((size, torch.float32) for size in SIZES), *(((9, 70, 20), dtype) for dtype in TOLERANCE)]


def spikes(rows: int, n: int, rate: float = 0.2, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.rand(rows, n, device=DEVICE) < rate).to(dtype)


def packed(x: Tensor) -> Tensor:
    """Pack as the definition says, bit by bit."""
    bits = torch.zeros(x.shape[0], -(-x.shape[1] // 64), dtype=torch.int64)
    for r, j in (x.cpu() != 0).nonzero().tolist():
        bits[r, j // 64] |= torch.tensor(1) << (j % 64)
    return bits


@pytest.mark.parametrize(("size", "dtype"), CASES, ids=str)
def test_bits_are_where_the_spikes_are(size: Size, dtype: torch.dtype) -> None:
    rows, n, _ = size
    x = spikes(rows, n, 0.5, dtype)
    bits = cuda_events.pack(x)
    assert bits.dtype == torch.int64 and torch.equal(bits.cpu(), packed(x))
    assert torch.equal(cuda_events.unpack(bits, n, dtype), x)
    assert cuda_events.count(bits).item() == x.count_nonzero()


def test_what_is_not_zero_has_a_bit_and_bits_go_where_they_are_wanted() -> None:
    x = spikes(40, 130)
    x[33, 129], x[5, 5], x[7, 7] = float("nan"), -0.0, -2.0
    room = torch.full((41, 3), -1, dtype=torch.int64, device=DEVICE)
    found = cuda_events.pack(x, room[1:])
    assert torch.equal(found.cpu(), packed(x)) and found.data_ptr() == room[1:].data_ptr()
    assert (room[0] == -1).all()


def test_all_bits_of_a_word() -> None:
    bits = cuda_events.pack(torch.ones(2, 128, device=DEVICE))
    assert (bits == -1).all()
    assert cuda_events.count(bits).item() == 256
    found = cuda_events.gather(bits, None, torch.ones(128, 3, device=DEVICE))
    assert (found == 128).all()


@pytest.fixture(params=[False, True], ids=["ones", "values"])
def with_values(request: pytest.FixtureRequest) -> bool:
    return request.param


def drawn(rows: int, n_in: int, dtype: torch.dtype, with_values: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    x = spikes(rows, n_in, dtype=dtype)
    if with_values:
        x = x * torch.randn_like(x)
    return x, cuda_events.pack(x), x if with_values else None


def close(got: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    """Compare with what double precision gives: the sum is in single, so it is rounded about once to half."""
    assert got.dtype == dtype
    loose = 4 * TOLERANCE[dtype]
    torch.testing.assert_close(got.double(), wanted, rtol=loose, atol=loose)


@pytest.mark.parametrize(("size", "dtype"), CASES, ids=str)
def test_gather_is_the_product(size: Size, dtype: torch.dtype, with_values: bool) -> None:
    rows, n_in, n_out = size
    x, bits, values = drawn(rows, n_in, dtype, with_values)
    weight = torch.randn(n_in, n_out, device=DEVICE).to(dtype)
    bias = torch.randn(n_out, device=DEVICE).to(dtype)
    wanted = x.double() @ weight.double()
    close(cuda_events.gather(bits, values, weight), wanted, dtype)
    close(cuda_events.gather(bits, values, weight, bias), wanted + bias.double(), dtype)


@pytest.mark.parametrize(("size", "dtype"), CASES, ids=str)
def test_scatter_is_the_weights_gradient(size: Size, dtype: torch.dtype, with_values: bool) -> None:
    rows, n_in, n_out = size
    x, bits, values = drawn(rows, n_in, dtype, with_values)
    g = torch.randn(rows, n_out, device=DEVICE).to(dtype)
    close(cuda_events.scatter(bits, values, g, n_in), x.double().T @ g.double(), dtype)


def test_rows_without_a_spike_read_nothing() -> None:
    x = torch.zeros(6, 100, device=DEVICE)
    x[2, 7] = 1.0
    weight = torch.full((100, 5), float("nan"), device=DEVICE)
    weight[7] = 3.0
    found = cuda_events.gather(cuda_events.pack(x), None, weight)
    assert found.count_nonzero() == 5 and (found[2] == 3).all()


def test_sums_are_made_in_the_order_of_the_inputs() -> None:
    x = spikes(9, 60, 0.5)
    weight = torch.randn(60, 20, device=DEVICE)
    wanted = torch.zeros(9, 20, device=DEVICE)
    for j in range(60):
        wanted += x[:, j, None] * weight[j]
    assert torch.equal(cuda_events.gather(cuda_events.pack(x), None, weight), wanted)


def test_a_sum_is_shared_out_where_there_are_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[Any] = []
    empty = torch.empty

    def noted(*size: int, **choices: Any) -> Tensor:
        shapes.append(size)
        return empty(*size, **choices)

    monkeypatch.setattr(torch, "empty", noted)
    x = spikes(2, 64 * 5)
    weight = torch.randn(64 * 5, 40, dtype=torch.float64, device=DEVICE)
    found = cuda_events.gather(cuda_events.pack(x), None, weight)
    assert shapes[-1] == (5, 2, 40)
    torch.testing.assert_close(found, x.double() @ weight, rtol=1e-13, atol=1e-13)


def test_inputs_with_holes() -> None:
    x = spikes(20, 12).T
    weight, g = torch.randn(6, 20, device=DEVICE).T, torch.randn(6, 12, device=DEVICE).T
    assert not any(t.is_contiguous() for t in (x, weight, g))
    bits = cuda_events.pack(x)
    torch.testing.assert_close(cuda_events.gather(bits, x, weight), x @ weight)
    torch.testing.assert_close(cuda_events.scatter(bits, x, g, 20), x.T @ g)


@pytest.mark.parametrize(("rows", "n_in", "n_out"), [(0, 3, 2), (3, 0, 2), (3, 2, 0)])
def test_nothing_to_do(rows: int, n_in: int, n_out: int) -> None:
    x, weight = torch.ones(rows, n_in, device=DEVICE), torch.ones(n_in, n_out, device=DEVICE)
    bits = cuda_events.pack(x)
    assert bits.shape == (rows, -(-n_in // 64))
    g = torch.ones(rows, n_out, device=DEVICE)
    assert torch.equal(cuda_events.gather(bits, None, weight), x @ weight)
    assert torch.equal(cuda_events.scatter(bits, None, g, n_in), x.T @ g)


def test_where_gathering_should_pay() -> None:
    def crossover(rows: int, dtype: torch.dtype) -> float:
        return max(p / 1000 for p in range(1001) if gathering_is_faster(rows, 700, 256, p / 1000, dtype))

    assert crossover(6400, torch.float32) == pytest.approx(0.045, abs=0.002)
    assert crossover(6400, torch.bfloat16) == pytest.approx(0.007, abs=0.002)
    assert crossover(1, torch.float32) > 0.9
    allowed = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert crossover(6400, torch.float32) < 0.01
    finally:
        torch.set_float32_matmul_precision(allowed)
