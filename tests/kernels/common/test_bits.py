"""Packing spikes into bits, and listing and unpacking them again."""

from __future__ import annotations

import pytest
import torch

from neurosim.kernels.common import bits as spikes
from neurosim.kernels.common.bits import bits_within, events, pack, positions, unpack, words

SIZES = [(0, 5), (1, 1), (5, 63), (7, 64), (33, 65), (100, 700)]
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@PRECISIONS
@pytest.mark.parametrize(("rows", "n"), SIZES)
@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
def test_bits_events_and_values_agree(rows, n, rate, dtype):
    x = (torch.rand(rows, n) < rate).to(dtype)
    packed = pack(x)
    assert packed.bits.shape == (rows, words(n)) and packed.bits.dtype is torch.int64
    assert packed.count == int(x.sum()) and packed.is_binary
    assert torch.equal(unpack(packed.bits, n, dtype), x)
    starts, index = events(packed.bits)
    row = torch.repeat_interleave(torch.arange(rows), starts.diff().long())
    assert torch.equal(torch.stack((row, index.long())), x.nonzero().T)
    assert all(torch.equal(a, b) for a, b in zip(events(packed.bits, packed.count), (starts, index), strict=True))


def test_events_are_listed_alike_without_wide_vectors(monkeypatch):
    bits = pack((torch.rand(50, 150) < 0.3).float()).bits
    expected = events(bits)
    monkeypatch.setattr(spikes, "has_wide_vectors", lambda: False)
    assert all(torch.equal(a, b) for a, b in zip(events(bits), expected, strict=True))


@PRECISIONS
@pytest.mark.parametrize("other", [2.0, -1.0, 0.5, float("nan"), float("inf")])
def test_a_value_other_than_one_is_noticed(other, dtype):
    x = torch.zeros(9, 130, dtype=dtype)
    x[:, ::3] = 1.0
    assert pack(x).is_binary
    for place in (0, 63, 64, 129):
        changed = x.clone()
        changed[4, place] = other
        packed = pack(changed)
        assert not packed.is_binary
        assert torch.equal(unpack(packed.bits, 130, dtype), (changed != 0).to(dtype))


def test_the_bit_of_a_spike_stands_where_it_is_said_to():
    x = torch.zeros(2, 70)
    x[1, 0] = x[1, 65] = 1.0
    assert pack(x).bits.tolist() == [[0, 0], [1, 2]]
    x[0, 63] = 1.0
    assert pack(x).bits[0].tolist() == [-(2**63), 0]


def test_minus_zero_is_no_spike():
    assert pack(torch.tensor([[-0.0, 1.0]])).count == 1


@PRECISIONS
@pytest.mark.parametrize(("rows", "n"), SIZES)
def test_bits_of_values_within_bounds(rows, n, dtype):
    x = torch.randn(rows, n, dtype=dtype)
    x[::2, ::3], x[1::2, ::2] = 0.5, -0.5
    assert torch.equal(bits_within(x, 0.5), pack((x.abs() < 0.5).to(dtype)).bits)


def test_any_number_of_threads_finds_the_same():
    x = (torch.rand(3000, 130) < 0.1).float()
    threads = torch.get_num_threads()
    try:
        found = []
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append((pack(x), events(pack(x).bits)))
    finally:
        torch.set_num_threads(threads)
    (one, listed), (three, listed_by_three) = found
    assert one.count == three.count and torch.equal(one.bits, three.bits)
    assert all(torch.equal(a, b) for a, b in zip(listed, listed_by_three, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("shape", [(5, 3, 70), (4, 2, 3, 5, 7), (0, 3, 4), (2, 2, 64)])
def test_positions_are_those_of_nonzero(shape, dtype):
    torch.manual_seed(0)
    x = (torch.rand(shape) < 0.2).to(dtype) * 1.5
    assert torch.equal(positions(x), x.flatten().nonzero().squeeze(1))
