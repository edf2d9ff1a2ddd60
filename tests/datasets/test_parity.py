"""N-parity: the label is the parity of the last N bits and of nothing else."""

from __future__ import annotations

import pytest
import torch

from neurosim.datasets.parity import parity
from neurosim.errors import InputError


@pytest.mark.parametrize(("order", "steps", "hold"), [(1, None, 1), (4, None, 1), (3, 8, 1), (3, 5, 4)])
def test_the_label_is_the_parity_of_the_last_bits(order, steps, hold):
    data = parity(200, order, steps=steps, hold=hold, seed=1)
    length = steps or order
    assert data.x.shape == (200, length * hold, 1) and data.timed
    bits = data.x[:, ::hold, 0]
    assert torch.equal(bits.repeat_interleave(hold, 1), data.x[..., 0]) and set(bits.unique().tolist()) == {-1.0, 1.0}
    # The product of the last N signs is -1 where the number of -1, and so N less that of ones, is odd.
    assert torch.equal(bits[:, -order:].prod(1) * (-1) ** order, 1.0 - 2.0 * data.y)


def test_no_part_of_the_bits_tells_the_label():
    data = parity(20000, 4)
    signs, label = data.x[..., 0], 2.0 * data.y - 1.0
    for left_out in range(4):
        kept = [k for k in range(4) if k != left_out]
        assert abs(float((signs[:, kept].prod(1) * label).mean())) < 0.03
    assert abs(float(label.mean())) < 0.03


def test_the_seed_decides():
    assert torch.equal(parity(9, 5, seed=1).x, parity(9, 5, seed=1).x)
    assert not torch.equal(parity(9, 5, seed=1).x, parity(9, 5, seed=2).x)


def test_what_is_refused():
    with pytest.raises(InputError, match="steps = 3, but the parity of 5 bits"):
        parity(2, 5, steps=3)
    with pytest.raises(InputError, match="hold = 0"):
        parity(2, 5, hold=0)
