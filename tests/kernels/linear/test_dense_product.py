"""The dense product of rows with a matrix of few terms."""

from __future__ import annotations

import pytest
import torch

from neurosim.kernels.common import policy
from neurosim.kernels.linear.dense_product import TERMS, dense_product, is_short

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "width", "columns"), [(1, 1, 1), (7, 17, 63), (130, 256, 33), (64, 20, 100)])
def test_it_is_the_product(rows, width, columns, dtype):
    g, weight = torch.randn(rows, width, dtype=dtype), torch.randn(width, columns, dtype=dtype)
    found, wanted = dense_product(g, weight), g.double() @ weight.double()
    bound = torch.finfo(dtype).eps * width * (g.abs().double() @ weight.abs().double())
    assert ((found - wanted).abs() <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_depends_on_no_other_and_not_on_the_threads(dtype):
    g, weight = torch.randn(300, 90, dtype=dtype), torch.randn(90, 70, dtype=dtype)
    whole = dense_product(g, weight)
    for threads in (1, 2, 8):
        with policy.forced(threads=threads):
            assert torch.equal(dense_product(g, weight), whole)
    for first, last in ((0, 1), (13, 21), (299, 300)):
        assert torch.equal(dense_product(g[first:last], weight), whole[first:last])


def test_sums_of_many_terms_are_left_to_torch():
    assert is_short(torch.empty(TERMS, 3)) and not is_short(torch.empty(TERMS + 1, 3))
    assert not is_short(torch.empty(0, 3)) and not is_short(torch.empty(3, 3, dtype=torch.bfloat16))
