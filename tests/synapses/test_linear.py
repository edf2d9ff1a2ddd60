"""Linear synapses against torch's own linear map."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import neurosim as ns
from neurosim.errors import InputError, ShapeError


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 4), st.integers(0, 3), st.booleans())
def test_values_and_gradients_are_those_of_torch(n_in, n_out, steps, batch, bias):
    synapse = ns.Linear(n_in, n_out, bias=bias)
    x = torch.randn(steps, batch, n_in, requires_grad=True)
    twin = [p.detach().clone().requires_grad_() for p in synapse.parameters()]
    y = x.detach().clone().requires_grad_()
    out, wanted = synapse(x), functional.linear(y, *twin)
    assert out.shape == (steps, batch, *synapse.output_shape((n_in,)))
    torch.testing.assert_close(out, wanted)
    if steps == 0:
        return
    g = torch.randn_like(out)
    out.backward(g)
    wanted.backward(g)
    torch.testing.assert_close(x.grad, y.grad)
    for ours, theirs in zip(synapse.parameters(), twin, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_every_step_is_mapped_alike():
    synapse = ns.Linear(3, 2)
    x = torch.randn(5, 2, 3)
    for t in range(5):
        torch.testing.assert_close(synapse(x)[t], x[t] @ synapse.weight.T)


def test_weights_start_in_the_range_of_torch():
    synapse = ns.Linear(100, 500, bias=True)
    bound = 1 / math.sqrt(100)
    for values in (synapse.weight, synapse.bias):
        assert values.abs().max() <= bound
        assert values.abs().mean().item() == pytest.approx(bound / 2, rel=0.1)


def test_a_wrong_shape_is_refused_with_both_shapes():
    with pytest.raises(ShapeError) as caught:
        ns.Linear(3, 2)(torch.ones(4, 5, 7))
    assert str(caught.value) == "Linear: spikes must be [T, B, 3]; got [T, B, 7]."


def test_a_missing_axis_is_refused_with_the_order_of_axes():
    with pytest.raises(
        ShapeError, match=r"Linear: x must be \[T, B, ...\]; got \[4, 3\]. Time comes first, then the batch."
    ):
        ns.Linear(3, 2)(torch.ones(4, 3))


@pytest.mark.parametrize(
    ("sizes", "name", "shown"), [((0, 2), "n_in", "0"), ((3, 2.0), "n_out", "2.0"), ((True, 2), "n_in", "True")]
)
def test_sizes_must_be_whole_numbers(sizes, name, shown):
    with pytest.raises(InputError) as caught:
        ns.Linear(*sizes)
    assert str(caught.value) == f"Linear: {name} must be an integer from 1; got {shown}."


def test_it_says_what_it_is():
    assert repr(ns.Linear(3, 2, bias=True)) == "Linear(3, 2, bias=True)"


def test_sizes_may_be_integers_of_numpy_and_nothing_else() -> None:
    assert ns.Linear(np.int64(3), np.uint8(2)).weight.shape == (2, 3)
    assert ns.Conv2d(np.int32(1), 2, np.int64(3)).kernel == (3, 3)
    for value in (3.0, True, np.bool_(True), np.float64(3)):
        with pytest.raises(InputError, match="n_in must be an integer from 1"):
            ns.Linear(value, 2)  # type: ignore[arg-type]
