"""Soft Hebbian learning: its update by the equation, the norm it settles on, the directions it finds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neurosim.errors import InputError, ShapeError
from neurosim.learning.plasticity_hebb import SoftHebb


def directions(seed: int = 0) -> Tensor:
    return torch.linalg.qr(torch.randn(40, 10, generator=torch.Generator().manual_seed(seed))).Q.T


def taught(hebb: SoftHebb, rate: float, batches: int = 3000) -> Tensor:
    """Learn ten directions with a rate that falls to nothing; return how often each neuron wins at the end."""
    generator, axes = torch.Generator().manual_seed(1), directions()
    for k in range(batches):
        hebb.rate = rate * (1 - k / batches)
        hebb.learn(axes[torch.randint(10, (32,), generator=generator)])
    winners: Tensor = torch.bincount(hebb.response(axes)[0].argmax(1), minlength=len(hebb.weight))
    return winners


def test_the_update_is_that_of_the_equation():
    hebb = SoftHebb(4, 3, inverse_temperature=0.7, generator=torch.Generator().manual_seed(0))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    wanted = torch.zeros(3, 4)
    for sample in x:
        u = hebb.weight @ sample
        y = torch.exp(0.7 * u) / torch.exp(0.7 * u).sum()
        for k in range(3):
            wanted[k] += y[k] * (sample - u[k] * hebb.weight[k]) / 5
    torch.testing.assert_close(hebb.update(x), wanted)


def test_a_single_input_is_a_fixed_point_and_the_norm_that_of_the_input_is_not():
    x = torch.tensor([[0.6, 0.8]])
    hebb = SoftHebb(2, 1)
    hebb.weight = x.clone()
    assert hebb.update(x).abs().max() < 1e-7
    hebb.weight = 2 * x
    assert (hebb.update(x)[0] @ x[0]).item() == pytest.approx(1 - 4)  # back towards a norm of 1


def test_every_neuron_that_shares_in_the_inputs_settles_on_a_norm_of_one():
    hebb = SoftHebb(40, 20, inverse_temperature=3.0, generator=torch.Generator().manual_seed(0))
    taught(hebb, 0.5)
    assert (hebb.weight.norm(dim=1) - 1).abs().max() < 4e-4
    assert ((hebb.weight @ directions().T).amax(0) > 0.9).all()


def test_the_norm_of_winners_is_one_and_that_of_the_others_need_not_be():
    hebb = SoftHebb(40, 20, inverse_temperature=4.0, scale=3.0, generator=torch.Generator().manual_seed(0))
    assert hebb.weight.norm(dim=1).min() > 2
    wins = taught(hebb, 0.1)
    norms = hebb.weight.norm(dim=1)
    assert (norms[wins > 0] - 1).abs().max() < 5e-3
    assert (norms[wins == 0] - 1).abs().max() > 0.5
    assert ((hebb.weight[wins > 0] @ directions().T).amax(0) > 0.9).all()


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: SoftHebb(0, 2), InputError, "inputs must be a whole number from 1; got 0"),
        (lambda: SoftHebb(2, True), InputError, "neurons must be a whole number from 1; got True"),
        (lambda: SoftHebb(2, 2, inverse_temperature=0.0), InputError, "inverse_temperature must be a number above 0"),
        (lambda: SoftHebb(2, 2, scale=-1.0), InputError, "scale must be a number above 0; got -1.0"),
        (lambda: SoftHebb(2, 2).learn(torch.ones(3, 4)), ShapeError, r"samples must be \[n, 2\]; got \[3, 4\]"),
    ],
)
def test_what_cannot_be_used_is_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
