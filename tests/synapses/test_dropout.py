"""Dropout with one mask for all steps of a call."""

from __future__ import annotations

import pytest
import torch

from neurosim.errors import InputError
from neurosim.synapses import Dropout
from neurosim.synapses.lowering import Opaque, Scaling


def test_all_steps_share_one_dropout_mask() -> None:
    drop, x = Dropout(0.4), torch.rand(6, 50, 20) + 0.5
    dropped = drop(x)
    mask = dropped != 0
    assert bool((mask == mask[0]).all()) and 0.5 < mask.double().mean() < 0.7
    torch.testing.assert_close(dropped[mask], (x / 0.6)[mask])
    assert not torch.equal(drop(x) != 0, mask)
    assert not bool((mask[0] == mask[0, 0]).all()), "samples have masks of their own"
    assert torch.equal(drop.eval()(x), x)


@pytest.mark.parametrize("p", [1.0, -0.1, "half"])
def test_the_probability_is_checked(p) -> None:
    with pytest.raises(InputError, match="p must be in"):
        Dropout(p)


def test_it_is_the_identity_in_eval_mode_alone() -> None:
    drop = Dropout(0.5)
    assert drop.lowered((4,)) == Opaque("drops inputs at random in training; call eval() on the network")
    value = drop.eval().lowered((4,))
    assert isinstance(value, Scaling) and value.is_identity
