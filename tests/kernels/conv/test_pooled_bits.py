"""Pooled bits against the maximum of the picture that they stand for."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from neurosim.kernels.common.bits import pack
from neurosim.kernels.conv.pooled_bits import pooled_bits

CASES = {
    "halves": ((3, 8, 8), (2, 2), (2, 2)),
    "places left out": ((2, 7, 9), (2, 3), (2, 3)),
    "overlapping": ((2, 6, 11), (3, 3), (1, 2)),
    "gaps": ((1, 9, 10), (1, 2), (3, 4)),
    "wider than a word": ((2, 4, 150), (2, 2), (2, 2)),
    "a window as wide as a word": ((1, 3, 130), (2, 64), (1, 3)),
    "one place": ((1, 1, 1), (1, 1), (1, 1)),
}


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.6, 1.0])
@pytest.mark.parametrize("case", CASES)
def test_a_bit_is_set_where_any_of_the_window_is(case, rate):
    size, kernel, stride = CASES[case]
    x = (torch.rand(9, *size) < rate).float()
    expected = pack(functional.max_pool2d(x, kernel, stride).flatten(1)).bits
    found = pooled_bits(pack(x.flatten(1)).bits, size, kernel, stride)
    assert found is not None and torch.equal(found, expected)


def test_windows_wider_than_a_word_are_not_pooled():
    assert pooled_bits(pack(torch.ones(2, 70)).bits, (1, 1, 70), (1, 65), (1, 65)) is None
