"""Pooling and flattening against torch's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import neurosim as ns
from neurosim.errors import InputError, ShapeError

POOLS = {
    ns.AvgPool2d: functional.avg_pool2d,
    ns.MaxPool2d: functional.max_pool2d,
    ns.SumPool2d: lambda x, k, s: functional.avg_pool2d(x, k, s) * (k[0] * k[1]),
}
sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@pytest.mark.parametrize("pool", POOLS)
@settings(deadline=None, max_examples=25)
@given(kernel=sizes, stride=st.none() | sizes, more=st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_values_gradients_and_shapes_are_those_of_torch(pool, kernel, stride, more):
    synapse = pool(kernel, stride=stride)
    x = torch.randn(2, 3, 2, kernel[0] + more[0], kernel[1] + more[1], requires_grad=True)
    y = x.detach().clone().requires_grad_()
    out = synapse(x)
    wanted = POOLS[pool](y.flatten(0, 1), kernel, stride or kernel).unflatten(0, (2, 3))
    assert out.shape[2:] == synapse.output_shape(tuple(x.shape[2:]))
    torch.testing.assert_close(out, wanted)
    g = torch.randn_like(out)
    out.backward(g)
    wanted.backward(g)
    torch.testing.assert_close(x.grad, y.grad)


def test_what_each_does_to_spikes():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(1, 1, 1, 2, 2)
    assert ns.AvgPool2d(2)(x).item() == 0.5
    assert ns.SumPool2d(2)(x).item() == 2.0
    assert ns.MaxPool2d(2)(x).item() == 1.0
    assert ns.MaxPool2d(2)(torch.zeros_like(x)).item() == 0.0


@pytest.mark.parametrize("pool", POOLS)
def test_a_population_below_the_window_is_refused(pool):
    with pytest.raises(ShapeError) as caught:
        pool((2, 3))(torch.ones(1, 1, 4, 2, 2))
    assert str(caught.value) == f"{pool.__name__}: spikes must be [T, B, C, H >= 2, W >= 3]; got [T, B, 4, 2, 2]."


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match=r"^SumPool2d: kernel must be an integer from 1; got 0\.$"):
        ns.SumPool2d(0)
    with pytest.raises(InputError, match=r"^AvgPool2d: stride must be an integer or 2 of them; got \(1,\)\.$"):
        ns.AvgPool2d(2, stride=(1,))


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 5)])
def test_flattening_keeps_the_order_of_torch(shape):
    x = torch.randn(3, 2, *shape)
    out = ns.Flatten()(x)
    assert out.shape[2:] == ns.Flatten().output_shape(shape)
    assert torch.equal(out, x.flatten(2))


def test_they_say_what_they_are():
    assert repr(ns.SumPool2d(2, stride=1)) == "SumPool2d(kernel=(2, 2), stride=(1, 1))"
