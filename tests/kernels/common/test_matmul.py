"""Dense products through oneDNN against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from neurosim.kernels.common import matmul as dense


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 3), (300, 33, 65), (0, 4, 2), (5, 0, 3), (2, 6, 0)])
@pytest.mark.parametrize("biased", [False, True])
def test_equals_torchs_product(shape, dtype, biased):
    rows, n, width = shape
    x, weight = torch.randn(rows, n, dtype=dtype), torch.randn(width, n, dtype=dtype)
    bias = torch.randn(width, dtype=dtype) if biased else None
    found = dense.linear(x, weight, bias)
    assert torch.allclose(found, functional.linear(x, weight, bias), rtol=1e-5, atol=1e-5)
    assert found.shape == (rows, width) and found.dtype == dtype
    for a, b in ((x, weight.T), (weight.T.contiguous().T, x.T), (x.T.contiguous().T, weight.T)):
        assert torch.allclose(dense.product(a, b), a @ b, rtol=1e-5, atol=1e-5)


def test_rows_do_not_depend_on_how_many_there_are():
    if not dense._HAS_ONEDNN:
        pytest.skip("torch was built without oneDNN")
    x, weight = torch.randn(500, 130), torch.randn(70, 130)
    whole = dense.linear(x, weight)
    for rows in (2, 9, 64, 321):
        assert torch.equal(dense.linear(x[:rows], weight), whole[:rows])


@pytest.mark.parametrize("rows", [3, 132, 133, 265, 400])
def test_a_large_result_is_computed_in_parts_that_change_nothing(rows, monkeypatch):
    x, weight, bias = torch.randn(rows, 1, 130), torch.randn(70, 130), torch.randn(70)
    whole = dense.linear(x, weight, bias)
    calls, real = [], dense._by_onednn
    monkeypatch.setattr(dense, "_by_onednn", lambda x, *rest: (calls.append(len(x)), real(x, *rest))[1])
    monkeypatch.setattr(dense, "_LARGE", 0)
    monkeypatch.setattr(dense, "_seen", set())  # of products before
    monkeypatch.setattr(dense, "_PART", 70 * 4 * 50)
    assert torch.equal(dense.linear(x, weight, bias), whole)
    if dense._HAS_ONEDNN:
        assert sum(calls) == rows and min(calls) > 1 and (len(calls) > 1) == (rows > 133)


def test_torchs_switch_acts(monkeypatch):
    x = torch.randn(6, 5)
    expected = dense.linear(x, x)
    monkeypatch.setattr(dense, "_HAS_ONEDNN", False)
    assert torch.allclose(dense.linear(x, x), expected, rtol=1e-5)
    monkeypatch.undo()
    torch._C._set_mkldnn_enabled(False)
    try:
        assert torch.equal(dense.linear(x, x), functional.linear(x, x))
    finally:
        torch._C._set_mkldnn_enabled(True)


@pytest.mark.parametrize("rows", [*range(20), 63, 64, 65, 127, 129, 1000, 4095, 4096, 4097, 20001])
def test_pieces_cover_the_rows_in_few_sizes(rows):
    parts = dense.pieces(rows)
    assert [first for first, _ in parts] == [0, *(last for _, last in parts[:-1])][: len(parts)]
    assert not parts or (parts[-1][1] == rows and len(parts) <= 2 + rows // dense._ROWS)


def test_any_number_of_rows_needs_few_sizes_of_pieces():
    sizes = {last - first for rows in range(1, 9000) for first, last in dense.pieces(rows)}
    assert len(sizes) <= 63 + 6 * 32 + 1


def test_the_shapes_given_to_onednn_are_bounded_and_the_bits_the_same(monkeypatch):
    if not dense._HAS_ONEDNN:
        pytest.skip("torch was built without oneDNN")
    x, weight, bias = torch.randn(700, 40), torch.randn(24, 40), torch.randn(24)
    whole = dense.linear(x, weight, bias)
    shapes, real = set(), dense._by_onednn
    monkeypatch.setattr(dense, "_by_onednn", lambda x, *rest: (shapes.add(x.shape), real(x, *rest))[1])
    monkeypatch.setattr(dense, "_seen", set())
    monkeypatch.setattr(dense, "_DIRECT", 5)
    for rows in range(2, 700):
        assert torch.equal(dense.linear(x[:rows], weight, bias), whole[:rows])
    assert len(shapes) < 200 and len(dense._seen) == 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0, 3, 2), (1, 3, 2), (500, 7, 5), (9001, 20, 3)])
def test_a_weight_gradient_is_summed_in_pieces(shape, dtype):
    rows, left, right = shape
    post, pre = torch.randn(rows, left, dtype=dtype), torch.randn(rows, right, dtype=dtype)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            found.append(dense.sum_of_outer_products(post, pre))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[0], post.T @ pre, rtol=1e-4, atol=1e-3)
    if dtype is torch.float32 and dense._HAS_ONEDNN:
        assert all(torch.equal(other, found[0]) for other in found)
