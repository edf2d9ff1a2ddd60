"""Convolutions against torch's, over sizes, strides, paddings, dilations and groups."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

import neurosim as ns
from neurosim.errors import InputError, ShapeError

CONV = {1: (ns.Conv1d, functional.conv1d), 2: (ns.Conv2d, functional.conv2d)}


@st.composite
def settings_of(draw, axes):
    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    groups = draw(st.sampled_from((1, 2, 3)))
    channels = (groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2)))
    return channels, groups, each(1, 3), each(1, 3), each(0, 2), each(1, 2), each(1, 8), draw(st.booleans())


@pytest.mark.parametrize("axes", [1, 2])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_values_gradients_and_shapes_are_those_of_torch(axes, data):
    (c_in, c_out), groups, kernel, stride, padding, dilation, places, bias = data.draw(settings_of(axes))
    reach = zip(places, padding, dilation, kernel, strict=True)
    assume(all(n + 2 * p >= d * (k - 1) + 1 for n, p, d, k in reach))
    make, theirs = CONV[axes]
    synapse = make(c_in, c_out, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias)
    x = torch.randn(2, 3, c_in, *places, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    weight = synapse.weight.detach().clone().requires_grad_()
    offset = synapse.bias.detach().clone().requires_grad_() if bias else None
    out = synapse(x)
    wanted = theirs(y.flatten(0, 1), weight, offset, stride, padding, dilation, groups).unflatten(0, (2, 3))
    assert out.shape[2:] == synapse.output_shape((c_in, *places))
    torch.testing.assert_close(out, wanted)
    g = torch.randn_like(out)
    out.backward(g)
    wanted.backward(g)
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(synapse.weight.grad, weight.grad)
    if bias:
        torch.testing.assert_close(synapse.bias.grad, offset.grad)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_kernel_that_does_not_fit_is_refused_where_torch_refuses_it(data):
    _, _, kernel, stride, padding, dilation, places, _ = data.draw(settings_of(2))
    synapse = ns.Conv2d(1, 1, kernel, stride=stride, padding=padding, dilation=dilation)
    try:
        wanted = functional.conv2d(torch.ones(1, 1, *places), synapse.weight, None, stride, padding, dilation).shape[1:]
    except RuntimeError:
        with pytest.raises(ShapeError, match=r"at least the kernel"):
            synapse.output_shape((1, *places))
    else:
        assert synapse.output_shape((1, *places)) == wanted


def test_no_steps_and_no_samples_keep_the_shape():
    synapse = ns.Conv2d(2, 3, 3)
    assert synapse(torch.ones(0, 4, 2, 5, 5)).shape == (0, 4, 3, 3, 3)
    assert synapse(torch.ones(4, 0, 2, 5, 5)).shape == (4, 0, 3, 3, 3)


@pytest.mark.parametrize(
    ("synapse", "x", "said"),
    [
        (lambda: ns.Conv2d(2, 3, 3), (1, 1, 3, 5, 5), "Conv2d: spikes must be [T, B, 2, H, W]; got [T, B, 3, 5, 5]."),
        (lambda: ns.Conv2d(2, 3, 3), (1, 1, 2, 5), "Conv2d: spikes must be [T, B, 2, H, W]; got [T, B, 2, 5]."),
        (lambda: ns.Conv1d(2, 3, 3), (1, 1, 5, 5), "Conv1d: spikes must be [T, B, 2, L]; got [T, B, 5, 5]."),
        (
            lambda: ns.Conv1d(2, 3, 3),
            (1, 1, 2, 2),
            "Conv1d: spikes must be [T, B, 2, at least the kernel [3] after padding]; got [T, B, 2, 2].",
        ),
    ],
)
def test_wrong_shapes_are_refused(synapse, x, said):
    with pytest.raises(ShapeError) as caught:
        synapse()(torch.ones(x))
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((2, 3, 3), {"groups": 2}, "Conv2d: groups must divide c_in=2 and c_out=3; got 2."),
        ((2, 3, (3, 3, 3)), {}, "Conv2d: kernel must be an integer or 2 of them; got (3, 3, 3)."),
        ((2, 3, 3), {"padding": "same"}, "Conv2d: padding must be an integer or 2 of them; got 'same'."),
        ((2, 3, 3), {"stride": 0}, "Conv2d: stride must be an integer from 1; got 0."),
        ((2, 3, 3), {"padding": (0, -1)}, "Conv2d: padding must be an integer from 0; got -1."),
        ((0, 3, 3), {}, "Conv2d: c_in must be an integer from 1; got 0."),
    ],
)
def test_wrong_settings_are_refused(arguments, options, said):
    with pytest.raises(InputError) as caught:
        ns.Conv2d(*arguments, **options)
    assert str(caught.value) == said


def test_it_says_what_it_is():
    shown = repr(ns.Conv1d(2, 4, 3, stride=2, groups=2))
    assert shown == "Conv1d(2, 4, kernel=(3,), stride=(2,), padding=(0,), dilation=(1,), groups=2, bias=False)"
