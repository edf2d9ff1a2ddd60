"""What the decorator of a core accepts and refuses in a step: each error names the core and what to write instead."""

from __future__ import annotations

import math
import operator
import random

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.language import absolute, exp, log, maximum, minimum, sqrt, tanh, where

REFUSED = {
    "math": (lambda v, k: math.exp(v), r"math.exp\(\) and the like cannot take it.*exp, log, sqrt"),
    "float": (lambda v, k: float(v), "a neuron's value is not a plain number"),
    "int": (lambda v, k: int(v), "a neuron's value is not a plain number"),
    "round": (lambda v, k: round(v, 2), "a neuron's value is not a plain number"),
    "math.floor": (lambda v, k: math.floor(v), "a neuron's value is not a plain number"),
    "numpy": (lambda v, k: np.exp(v), "cannot use numpy.exp. A step function may use arithmetic"),
    "and": (
        lambda v, k: where((v > 0) & (v < 1), v, k),
        r"cannot join comparisons .*where\(a, where\(b",
    ),
    "or": (lambda v, k: where((v > 0) | (v < 1), v, k), "cannot join comparisons"),
    "not": (lambda v, k: where(~(v > 0), v, k), "cannot join comparisons"),
    "if": (lambda v, k: v if v > 0 else k, r"cannot branch.*maximum\(a, b\)"),
    "max": (lambda v, k: max(v, 0.0), r"cannot branch.*maximum\(a, b\)"),
    "equal": (lambda v, k: where(v == 0, v, k), "not with == or !="),
    "unequal": (lambda v, k: where(v != 0, v, k), "not with == or !="),
    "remainder": (lambda v, k: v % 2, r"no %, //.*x - n \* floor\(x / n\)"),
    "quotient": (lambda v, k: v // 2, r"no %, //.*floor\(x / n\)"),
    "power of a number": (lambda v, k: 2.0**v, r"exp\(x \* log\(n\)\)"),
    "index": (lambda v, k: v[0], "cannot be indexed or iterated over"),
    "iteration": (lambda v, k: sum(v), "cannot be indexed or iterated over"),
    "method": (lambda v, k: v.clamp(min=0.0), r"cannot use x.clamp. Write minimum\(maximum\(x, low\), high\)"),
    "torch.sigmoid": (lambda v, k: torch.sigmoid(v), r"cannot use torch.sigmoid. Write logistic\(x\)"),
    "torch.clamp": (lambda v, k: torch.clamp(v, 0.0, 1.0), r"cannot use torch.clamp. Write minimum"),
    "torch.floor": (lambda v, k: torch.floor(v), r"cannot use torch.floor. Write floor\(x\) of neurosim.language"),
    "torch.matmul": (lambda v, k: torch.matmul(v, v), r"cannot use torch.matmul. A step function may"),
    "torch.rand_like": (lambda v, k: torch.rand_like(v), "cannot use torch.rand_like"),
    "torch.exp of a number": (lambda v, k: v * torch.exp(k), "torch.exp does not take plain numbers, and k may be one"),
    "torch.maximum": (
        lambda v, k: torch.maximum(v, 0.0),
        "fails on symbols with TypeError: maximum.* floor, trunc, maximum, minimum",
    ),
    "torch.where of numbers": (
        lambda v, k: torch.where(v > 0, k, 0.5),
        "torch.where does not take plain numbers",
    ),
    "torch.where of a spike": (lambda v, k: torch.where(ns.atan()(v), v, k), "torch.where needs a comparison"),
    "tensor": (lambda v, k: torch.tensor(2.0) * v, r"got Tensor .*Write float\(x\) for a tensor of one number"),
    "random": (lambda v, k: v * random.random(), "the output differs between two calls of the step"),
    "numpy's random": (lambda v, k: v + np.random.rand(), "the output differs between two calls of the step"),
    "torch's random": (lambda v, k: v + torch.rand(()).item(), "A random number comes from a source of the network"),
    "missing result": (lambda v, k: None, "a step function may use numbers and its own arguments; got NoneType None"),
    "wrong type": (lambda v, k: v + "1", "got str '1'"),
    "raw error": (lambda v, k: operator.add(1, "1") * v, "the step fails on symbols with TypeError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_decorator_refuses(name):
    compute, message = REFUSED[name]

    def mine(i, v, *, k):
        return compute(v, k), v + i

    with pytest.raises(InputError, match=rf"^core mine: .*{message}"):
        ns.core(parameters={"k": 2.0})(mine)


def test_a_lambda_has_no_name():
    with pytest.raises(InputError, match="a core is called as its step function; <lambda> has no name"):
        ns.core()(lambda i, v: (i, v))


SAME = {
    "torch.exp": (lambda x, y: torch.exp(x), lambda x, y: exp(x)),
    "torch.log": (lambda x, y: torch.log(x), lambda x, y: log(x)),
    "torch.sqrt": (lambda x, y: torch.sqrt(x), lambda x, y: sqrt(x)),
    "torch.tanh": (lambda x, y: torch.tanh(x), lambda x, y: tanh(x)),
    "torch.abs": (lambda x, y: torch.abs(x - 1.0), lambda x, y: absolute(x - 1.0)),
    "abs": (lambda x, y: abs(x - 1.0), lambda x, y: absolute(x - 1.0)),
    "torch.maximum": (lambda x, y: torch.maximum(x, y), lambda x, y: maximum(x, y)),
    "torch.minimum": (lambda x, y: torch.minimum(x, y), lambda x, y: minimum(x, y)),
    "torch.where": (lambda x, y: torch.where(x > y, x, 0.5), lambda x, y: where(x > y, x, 0.5)),
    "torch.mul": (lambda x, y: torch.mul(x, 2.0), lambda x, y: 2.0 * x),
    "torch.div": (lambda x, y: torch.div(x, y), lambda x, y: x / y),
    "torch.neg": (lambda x, y: torch.neg(x), lambda x, y: -x),
    "numpy's number": (lambda x, y: np.float64(0.25) * x + np.float32(2.0), lambda x, y: 0.25 * x + 2.0),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SAME)
def test_functions_of_torch_are_ours_where_they_compute_the_same(name, dtype):
    theirs, ours = SAME[name]
    results = []
    for compute in (theirs, ours):

        def mine(i, v, *, compute=compute):
            u = compute(i, 0.5 * v + 1.0)
            return u, u

        def step(i, v):
            return mine(i, v)

        layer = ns.layer(ns.core()(step))(dt=1e-3)
        for run in (layer.run, layer.run_reference):
            torch.manual_seed(0)
            i = (torch.rand(5, 2, 3, dtype=dtype) + 0.5).requires_grad_()
            out, state, *_ = run(i)
            (g,) = torch.autograd.grad(out.square().sum() + state.v.sum(), i)
            results.append((out, state.v, g))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.dtype is dtype
            torch.testing.assert_close(a, b, rtol=2e-6 if dtype is torch.float32 else 1e-14, atol=0)


def test_a_name_that_comes_later_is_checked_at_the_first_run():
    @ns.core()
    def early(i, v):
        return later(i), v  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NameError, match="later"):
        ns.layer(early)(dt=1e-3)(torch.ones(2, 1, 1))


@pytest.mark.parametrize(
    ("compute", "k", "message"),
    [
        (lambda v, k: v * (1.0 / k), 0.0, r"computes div\(1.0, k\), which is div\(1, 0\) for k = 0 and not a number"),
        (lambda v, k: v * log(k), -1.0, r"computes log\(k\), which is log\(-1\) for k = -1"),
        (lambda v, k: v * exp(k), 1000.0, r"computes exp\(k\), which is exp\(1000\)"),
    ],
)
def test_a_number_that_cannot_be_computed_is_refused_by_name(compute, k, message):
    @ns.core(parameters={"k": 1.0})
    def mine(i, v, *, k):
        return i, compute(v, k)

    layer = ns.layer(mine)(dt=1e-3, k=k)
    with pytest.raises(InputError, match=rf"core mine: the step {message}"):
        layer(torch.ones(2, 1, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_choice_between_two_numbers_has_their_values_in_the_reference_too(dtype):
    @ns.core(parameters={"a": 0.3, "b": 0.7})
    def mine(i, v, *, a, b):
        return where(i > 0.0, a, b) + v, where(i > 0.0, 0.1, 0.9)

    layer, i = ns.layer(mine)(dt=1e-3), torch.randn(6, 2, 3, dtype=dtype)
    for (out, state, *_), (expected, expected_state, *_) in [(layer.run(i), layer.run_reference(i))]:
        assert out.dtype is expected.dtype is expected_state.v.dtype is dtype
        assert torch.equal(out, expected) and torch.equal(state.v, expected_state.v)
    assert where(torch.tensor([True, False]), 0.25, 0.75).tolist() == [0.25, 0.75]
