"""The weight exponent: powers of two, rounded down, passed straight through by gradients."""

from __future__ import annotations

import pytest
import torch

from neurosim.errors import InputError
from neurosim.synapses.shift import Shift


@pytest.mark.parametrize("exponent", range(-7, 8))
def test_shifts_of_whole_numbers(exponent: int) -> None:
    x = torch.arange(-400.0, 400.0).reshape(1, 1, -1)
    wanted = [int(v) << exponent if exponent >= 0 else int(v) >> -exponent for v in x.flatten()]
    assert Shift(exponent)(x).flatten().tolist() == wanted
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(Shift(exponent)(x).sum(), x)
    assert gradient.unique().tolist() == [2.0**exponent]


@pytest.mark.parametrize("exponent", [8, -8, 0.5, True])
def test_exponents_have_a_range(exponent) -> None:
    with pytest.raises(InputError, match="whole number from -7 to 7"):
        Shift(exponent)
