"""Soft Hebbian learning: its update by the equation, the norm it settles on, the directions it finds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.plasticity.soft_hebb import SoftHebb, SoftHebbConv


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


def test_the_bias_follows_its_equation_and_comes_to_the_logarithm_of_the_mean_response():
    generator = torch.Generator().manual_seed(0)
    hebb = SoftHebb(2, 2, inverse_temperature=3.0, rate=0.0, prior_rate=0.1, generator=generator)
    hebb.weight = torch.eye(2)
    # Seven of ten inputs are the first, and the responses are soft: priors are what both add up to.
    x = torch.eye(2)[[0] * 7 + [1] * 3]
    assert torch.equal(hebb.prior, torch.full((2,), -math.log(2.0)))
    y = hebb.response(x)[1].mean(0)
    b = hebb.prior + 0.1 * torch.exp(-hebb.prior) * (y - torch.exp(hebb.prior))
    hebb.learn(x)
    torch.testing.assert_close(hebb.prior, b - torch.log(torch.exp(b).sum()))
    for _ in range(600):
        hebb.learn(x)
    assert torch.exp(hebb.prior).sum().item() == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(torch.exp(hebb.prior), hebb.response(x)[1].mean(0), atol=1e-5, rtol=0)
    # The posterior of a model with these priors: computed by hand for the share p of the first neuron.
    p, e = torch.exp(hebb.prior)[0].item(), math.exp(3.0)
    assert p == pytest.approx(0.7 * e * p / (e * p + 1 - p) + 0.3 * p / (p + e * (1 - p)), abs=1e-5)
    assert p > 0.7


def test_a_neuron_that_never_wins_keeps_a_finite_prior():
    generator = torch.Generator().manual_seed(0)
    hebb = SoftHebb(20, 10, inverse_temperature=50.0, rate=0.0, prior_rate=0.5, generator=generator)
    x = torch.randn(4, 20, generator=generator)
    for _ in range(400):
        hebb.learn(x)
    assert torch.isfinite(hebb.weight).all() and torch.isfinite(hebb.prior).all() and hebb.prior.min() == -30.0
    assert torch.exp(hebb.prior).sum().item() == pytest.approx(1.0, abs=1e-6)


def test_no_samples_change_nothing():
    hebb = SoftHebb(3, 2, prior_rate=0.1)
    before = {name: value.clone() for name, value in hebb.state_dict().items()}
    hebb.learn(torch.empty(0, 3))
    assert all(torch.equal(value, before[name]) for name, value in hebb.state_dict().items())


def test_without_a_bias_there_is_none_and_kernels_may_have_one():
    assert SoftHebb(3, 2).prior is None
    hebb = SoftHebbConv(1, 4, 3, prior_rate=0.05, generator=torch.Generator().manual_seed(0))
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    for _ in range(20):
        hebb.learn(images)
    assert torch.isfinite(hebb.weight).all() and not torch.equal(hebb.prior, torch.full((4,), -math.log(4.0)))
    assert "prior" in hebb.state_dict()


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


def test_losers_learn_with_the_sign_turned_and_rates_follow_the_norms():
    hebb = SoftHebb(4, 3, anti_hebbian=True, power=0.5, rate=0.1, scale=4.0, generator=torch.Generator().manual_seed(0))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    wanted = torch.zeros(3, 4)
    for sample in x:
        u = hebb.weight @ sample
        y = torch.exp(u) / torch.exp(u).sum()
        for k in range(3):
            sign = 1 if k == int(u.argmax()) else -1
            wanted[k] += sign * y[k] * (sample - u[k] * hebb.weight[k]) / 5
    torch.testing.assert_close(hebb.update(x), wanted)
    rates = 0.1 * (hebb.weight.norm(dim=1) - 1).abs().sqrt()
    torch.testing.assert_close(hebb.rates(), rates)
    before = hebb.weight.clone()
    hebb.bounded = True
    assert hebb.update(x).abs().max() == 1
    torch.testing.assert_close(hebb.update(x), wanted / wanted.abs().max())
    hebb.learn(x)
    torch.testing.assert_close(hebb.weight, before + rates[:, None] * wanted / wanted.abs().max())


def test_a_norm_of_one_attracts_winners_and_repels_losers():
    # Along its own weights a neuron changes by s y u (1 - |w|^2): what makes signed losers run away from large norms.
    x = torch.tensor([[0.6, 0.8]])
    for size in (0.5, 2.0):
        hebb = SoftHebb(2, 2, anti_hebbian=True)
        hebb.weight.copy_(size * torch.tensor([[0.6, 0.8], [0.8, 0.6]]))
        u, y = hebb.response(x)
        along = (hebb.update(x) * hebb.weight).sum(1)
        torch.testing.assert_close(along, torch.tensor([1.0, -1.0]) * y[0] * u[0] * (1 - size**2))
    assert along[0] < 0 < along[1]


def test_signed_losers_grow_from_large_norms_where_the_competition_is_soft_and_plain_ones_shrink():
    norms = []
    for anti_hebbian in (False, True):
        hebb = SoftHebb(40, 20, scale=25.0, anti_hebbian=anti_hebbian, generator=torch.Generator().manual_seed(0))
        taught(hebb, 0.1, batches=600)
        norms.append(hebb.weight.norm(dim=1))
    assert norms[0].median() < 10 and norms[1].median() > 30


def patches(side=12, seed=0):
    """Noisy images of edges, standardised."""
    generator = torch.Generator().manual_seed(seed)
    slope, shift = torch.randn(30, 2, 1, 1, generator=generator), torch.randn(30, 1, 1, generator=generator)
    axis = torch.linspace(-1, 1, side)
    images = torch.sign(slope[:, 0] * axis[:, None] + slope[:, 1] * axis + shift)[:, None]
    images = images + 0.3 * torch.randn(images.shape, generator=generator)
    return (images - images.mean()) / images.std()


def test_the_convolution_is_the_dense_rule_on_every_patch():
    x = patches()[:6]
    conv = SoftHebbConv(1, 7, 3, generator=torch.Generator().manual_seed(0))
    dense = SoftHebb(9, 7, anti_hebbian=True, bounded=True, power=0.5, rate=0.08)
    dense.weight = conv.weight.flatten(1).clone()
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    rows = torch.nn.functional.unfold(padded, 3).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(conv.update(x).flatten(1), dense.update(rows))
    shown = conv.features(x, power=0.7).flatten(2).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(shown, dense.features(rows, power=0.7))
    u = dense.drive(rows)
    torch.testing.assert_close(shown, (u - u.mean(1, keepdim=True)).clamp(min=0) ** 0.7)
    conv.learn(x)
    dense.learn(rows)
    torch.testing.assert_close(conv.weight.flatten(1), dense.weight)


def test_kernels_that_win_come_from_large_norms_to_one():
    x = patches(side=20)
    hebb = SoftHebbConv(1, 6, 5, scale=25.0, generator=torch.Generator().manual_seed(0))
    assert hebb.weight.flatten(1).norm(dim=1).min() > 15
    for _ in range(60):
        for part in x.split(3):
            hebb.learn(part)
    wins = torch.bincount(hebb.drive(x).argmax(1).flatten(), minlength=6)
    norms = hebb.weight.flatten(1).norm(dim=1)
    assert (norms[wins > 0.05 * wins.sum()] - 1).abs().max() < 1e-2


@pytest.mark.parametrize("anti_hebbian", [True, False])
def test_without_bounded_steps_large_norms_diverge_in_a_few_batches(anti_hebbian):
    hebb = SoftHebbConv(1, 6, 5, bounded=False, anti_hebbian=anti_hebbian, generator=torch.Generator().manual_seed(0))
    for part in patches(side=20)[:30].split(3):
        hebb.learn(part)
    assert not hebb.weight.norm() < 1e6


def test_checkpoints_hold_the_weights(tmp_path):
    hebb, other = (SoftHebbConv(1, 4, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    ns.save_checkpoint(tmp_path / "hebb.pt", hebb)
    ns.load_checkpoint(tmp_path / "hebb.pt", other)
    assert torch.equal(hebb.weight, other.weight)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: SoftHebb(0, 2), InputError, "inputs must be an integer from 1; got 0"),
        (lambda: SoftHebb(2, True), InputError, "neurons must be an integer from 1; got True"),
        (lambda: SoftHebb(2, 2, inverse_temperature=0.0), InputError, "inverse_temperature must be a number above 0"),
        (lambda: SoftHebb(2, 2, scale=-1.0), InputError, "scale must be a number above 0; got -1.0"),
        (lambda: SoftHebb(2, 2, prior_rate=1.0), InputError, r"prior_rate must be a number in \[0, 1\); got 1.0"),
        (lambda: SoftHebb(2, 2, power=-1.0), InputError, "power must be a number from 0; got -1.0"),
        (lambda: SoftHebb(2, 2, rate=float("inf")), InputError, "rate must be a finite number; got inf"),
        (
            lambda: SoftHebbConv(1, 2, 4),
            InputError,
            "kernel must be odd, so that the output has the size of the image; got 4",
        ),
        (lambda: SoftHebbConv(1, 2, 5).learn(torch.ones(3, 1, 2, 9)), ShapeError, "with H and W above 2; got"),
        (lambda: SoftHebb(2, 2).learn(torch.ones(3, 4)), ShapeError, r"samples must be \[n, 2\]; got \[3, 4\]"),
    ],
)
def test_wrong_arguments_are_refused_by_name(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
