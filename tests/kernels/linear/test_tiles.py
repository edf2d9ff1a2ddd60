"""Weights in tiles, and back."""

from __future__ import annotations

import pytest
import torch

from neurosim.kernels.linear.tiles import tiled, untiled


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("lanes", [16, 64])
@pytest.mark.parametrize(("width", "sources"), [(1, 1), (16, 16), (17, 15), (64, 700), (100, 33), (256, 64)])
def test_there_and_back(width, sources, lanes, dtype):
    weight = torch.randn(width, sources, dtype=dtype)
    found = tiled(weight, lanes)
    tiles = -(-width // lanes)
    expected = torch.zeros(tiles * lanes, sources, dtype=dtype)
    expected[:width] = weight
    assert torch.equal(found, expected.view(tiles, lanes, sources).transpose(1, 2))
    assert torch.equal(untiled(found, width), weight)


def test_a_weight_that_is_not_contiguous():
    weight = torch.randn(30, 20).T
    assert torch.equal(untiled(tiled(weight, 16), 20), weight)


def test_on_several_threads():
    weight = torch.randn(300, 500)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(untiled(tiled(weight, 64), 300), weight)
    finally:
        torch.set_num_threads(threads)
