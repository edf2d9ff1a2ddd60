"""The functions of a step: on tensors, on numbers and on symbols they mean the same."""

from __future__ import annotations

import math

import pytest
import torch

from neurosim.language import Reset
from neurosim.language import functions as language
from neurosim.language.expression import Trace, topological

X = torch.linspace(-2, 2, 41, dtype=torch.float64)


@pytest.mark.parametrize(
    ("ours", "theirs", "low"),
    [
        (language.exp, math.exp, -2),
        (language.log, math.log, 0.05),
        (language.sqrt, math.sqrt, 0),
        (language.tanh, math.tanh, -2),
        (language.absolute, abs, -2),
        (language.logistic, lambda x: 1 / (1 + math.exp(-x)), -2),
        (lambda x: language.maximum(x, 0.5), lambda x: max(x, 0.5), -2),
        (lambda x: language.minimum(0.5, x), lambda x: min(0.5, x), -2),
        (lambda x: language.where(x > 0.5, x, -1.0), lambda x: x if x > 0.5 else -1.0, -2),
    ],
)
def test_tensors_and_numbers_agree(ours, theirs, low):
    inside = X[low <= X]
    expected = [theirs(x) for x in inside.tolist()]
    torch.testing.assert_close(ours(inside), torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=1e-15)
    assert [ours(x) for x in inside.tolist()] == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_logistic_neither_overflows_nor_loses_its_slope():
    x = torch.tensor([-1e4, 0.0, 1e4], requires_grad=True)
    y = language.logistic(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert y.tolist() == [0.0, 0.5, 1.0] and slope.tolist() == [0.0, 0.25, 0.0]


def test_equal_operands_share_the_gradient():
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    b = torch.tensor([1.0, 1.0], requires_grad=True)
    for_a, for_b = torch.autograd.grad(language.maximum(a, b).sum(), (a, b))
    assert for_a.tolist() == [0.5, 1.0] and for_b.tolist() == [0.5, 0.0]


def test_where_on_a_spike_passes_the_difference():
    z = torch.tensor([0.0, 1.0], requires_grad=True)
    a, b = torch.tensor([3.0, 3.0], requires_grad=True), torch.tensor([5.0], requires_grad=True)
    y = language.where(z, a, b)
    for_z, for_a, for_b = torch.autograd.grad(y.sum(), (z, a, b))
    assert y.tolist() == [5.0, 3.0]
    assert for_z.tolist() == [-2.0, -2.0] and for_a.tolist() == [0.0, 1.0] and for_b.tolist() == [1.0]


def test_where_on_a_value_between_is_the_mean():
    z = torch.tensor([0.25], requires_grad=True)
    y = language.where(z, torch.tensor([8.0]), torch.tensor([4.0]))
    assert y.item() == 5.0


def test_detach_cuts_the_gradient_and_leaves_numbers():
    x = torch.ones(1, requires_grad=True)
    assert not language.detach(x).requires_grad and language.detach(2.0) == 2.0


@pytest.mark.parametrize(
    ("mode", "fired", "quiet"), [("value", 0.25, 0.75), ("subtract", 0.5, 0.75), (None, 1.5, 0.75)]
)
def test_reset(mode, fired, quiet):
    reset = Reset(mode)
    assert reset(1.5, 1.0, to=0.25, by=1.0) == fired and reset(0.75, 0.0, to=0.25, by=1.0) == quiet


def test_equal_expressions_are_one_and_operands_come_first():
    trace = Trace()
    x, y = trace.leaf("input", "x"), trace.leaf("state", "y")
    assert x + y is x + y and x + y is not y + x and 2.0 * x is trace.lift(2) * x
    order = topological([x * y + x, x * y])
    assert order.index(x * y) < order.index(x * y + x) and len(order) == 4
    assert topological([x * y + x], {id(x * y)}) == [x * y, x, x * y + x]
    assert repr(x * y + 1.0) == "add(mul(x, y), 1.0)"


def test_a_number_over_a_tensor_is_the_reciprocal_times_the_number_as_in_torch():
    trace = Trace(per_neuron=("p",))
    x, p, q = trace.leaf("input", "x"), trace.leaf("parameter", "p"), trace.leaf("parameter", "q")
    assert repr(3.0 / x) == "mul(div(1.0, x), 3.0)" and repr(q / x) == "mul(div(1.0, x), q)"
    assert repr(1.0 / x) == "div(1.0, x)" and repr(3.0 / q) == "div(3.0, q)"
    assert repr(p / x) == "div(p, x)" and repr(x / q) == "div(x, q)"
