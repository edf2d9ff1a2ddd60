"""The weight exponent: powers of two, rounded down, passed straight through by gradients."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.hardware.loihi import loihi_neurons
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
    with pytest.raises(InputError, match="integer from -7 to 7"):
        Shift(exponent)


@pytest.mark.parametrize("exponent", [0, 3, -2])
def test_a_shift_in_one_pass_is_the_same_map(exponent: int) -> None:
    """Behind a linear map a left shift becomes part of the pass that runs the neurons; watched, it does not."""
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(70, 33), Shift(exponent), loihi_neurons(dt=1e-3, dv=300, v_th=30), names=["out"])
    linear, shift = net.edges[0].synapses
    with torch.no_grad():
        linear.weight.copy_((linear.weight * 200).round())
    x = (torch.rand(40, 3, 70) < 0.1).float()
    found = []
    for _ in range(2):
        z, state = net(x)
        (gradient,) = torch.autograd.grad((z * torch.linspace(0, 1, 40).reshape(-1, 1, 1)).sum(), linear.weight)
        found.append((z, state.nodes["out"].v, gradient))
        shift.register_forward_hook(lambda *_: None)
    assert found[0][0].sum() > 50
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    torch.testing.assert_close(found[0][2], found[1][2], rtol=1e-5, atol=1e-7)
