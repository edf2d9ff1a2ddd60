"""The builder of operations, on one that is small enough to be known: ``out = scale x weight + sum of others``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from neurosim.errors import InputError
from neurosim.kernels.common.operator import Gradients, Needs, Operation, Operator
from neurosim.kernels.common.policy import forced


class Call(NamedTuple):
    x: Tensor
    weight: Tensor | None
    scale: float
    others: Sequence[Tensor] = ()


class Outputs(NamedTuple):
    out: Tensor
    positive: Tensor
    product: Tensor
    others: Sequence[Tensor]


class Saved(NamedTuple):
    x: Tensor
    weight: Tensor | None
    product: Tensor
    scale: float
    others: Sequence[Tensor]


seen: list[tuple[list[bool], list[Tensor | None]]] = []


def forward(call: Call) -> Outputs:
    product = call.scale * call.x * (1.0 if call.weight is None else call.weight)
    out = product + sum((other.sin() for other in call.others), torch.zeros(()))
    return Outputs(out, (call.x > 0).sum(0), product, [other.exp() for other in call.others])


def save(call: Call, outputs: Outputs) -> Saved:
    return Saved(call.x, call.weight, outputs.product, call.scale, call.others)


def backward(saved: Saved, needs: Needs, grads: Sequence[Tensor]) -> Gradients:
    g_out, *g_others = grads
    seen.append((list(needs), list(grads)))
    weight = torch.ones(()) if saved.weight is None else saved.weight
    return [
        saved.scale * g_out * weight if needs[0] else None,
        saved.scale * g_out * saved.x if needs[1] else None,
        *(g_out * o.cos() + g * o.exp() for o, g in zip(saved.others, g_others, strict=True)),
    ]


PARTS = {
    "forward": forward,
    "save": save,
    "backward": backward,
    "inputs": ("x", "weight", "others"),
    "results": ("out", "others"),
    "private": ("product",),
}
operation = Operation(Call, Outputs, Saved, **PARTS)
operator = Operator(
    "test_scaled",
    Call,
    Outputs,
    Saved,
    fake=lambda call: Outputs(
        torch.empty_like(call.x),
        call.x.new_empty(call.x.shape[1:], dtype=torch.int64),
        torch.empty_like(call.x),
        [torch.empty_like(o) for o in call.others],
    ),
    fake_gradients=lambda saved, needs, grads: [
        torch.empty_like(grads[0]),
        torch.empty_like(saved.x),
        *(torch.empty_like(o) for o in saved.others),
    ],
    **PARTS,
)


def tensors(count: int = 2) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2 + count)]


def call_of(x: Tensor, weight: Tensor | None, *others: Tensor) -> Call:
    return Call(x, weight, 0.75, others)


@pytest.fixture(params=["operation", "operator", "through torch"])
def run(request):
    seen.clear()
    with forced(operators=request.param == "through torch"):
        yield operation if request.param == "operation" else operator


def test_outputs_and_gradients_are_those_of_the_definition(run):
    given = tensors()
    outputs = run(call_of(*given))
    expected = forward(call_of(*given))
    assert type(outputs) is Outputs and len(outputs.others) == 2
    assert torch.equal(outputs.out, expected.out) and torch.equal(outputs.positive, expected.positive)
    assert not outputs.positive.requires_grad
    results = [outputs.out, *outputs.others]
    ends = [torch.randn_like(r) for r in results]
    found = torch.autograd.grad(results, given, ends)
    wanted = torch.autograd.grad([expected.out, *expected.others], given, ends)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradcheck(lambda *t: (run(call_of(*t)).out, *run(call_of(*t)).others), given)


def test_a_result_without_gradient_has_zeros(run):
    given = tensors()
    outputs = run(call_of(*given))
    outputs.others[1].sum().backward()
    _, grads = seen[-1]
    assert [g.count_nonzero().item() for g in grads] == [0, 0, 12]
    assert given[2].grad.eq(0).all() and torch.equal(given[3].grad, given[3].exp())


def test_gradients_that_nothing_needs_are_not_computed(run):
    x, weight, *others = tensors()
    run(call_of(x.detach(), weight, *others)).out.sum().backward()
    assert seen[-1][0] == [False, True] and weight.grad is not None
    run(call_of(x, None, *others)).out.sum().backward()
    assert seen[-1][0] == [True, False] and x.grad is not None


def test_without_gradients_nothing_is_saved(run, monkeypatch):
    given = tensors()
    with torch.no_grad():
        outputs = run(call_of(*given))
    assert not outputs.out.requires_grad and torch.equal(outputs.out, forward(call_of(*given)).out)


def test_there_is_no_gradient_of_a_gradient(run):
    given = tensors()
    (g,) = torch.autograd.grad(run(call_of(*given)).out.sum(), given[0], create_graph=True)
    with pytest.raises((InputError, RuntimeError), match=r"no gradient of a gradient|test_scaled_backward"):
        g.sum().backward()


def test_a_field_of_several_tensors_may_be_empty(run):
    given = tensors(0)
    outputs = run(call_of(*given))
    assert list(outputs.others) == [] and torch.equal(outputs.out, 0.75 * given[0] * given[1])
    outputs.out.sum().backward()
    torch.testing.assert_close(given[0].grad, 0.75 * given[1].detach())


def test_an_absent_gradient_is_none_where_it_is_allowed():
    received: list[Gradients] = []

    def filling(saved: Saved, needs: Needs, grads: Gradients) -> Gradients:
        received.append(grads)
        return backward(saved, needs, [torch.zeros(()) if g is None else g for g in grads])

    allowing = Operation(Call, Outputs, Saved, **{**PARTS, "backward": filling}, absent=[1])
    given = tensors()
    allowing(call_of(*given)).out.sum().backward()
    assert [g is None for g in received[0]] == [False, True, False]
    torch.testing.assert_close(given[2].grad, given[2].cos().detach())


def test_opcheck():
    given = tensors()
    torch.library.opcheck(operator.forward_operator, (*call_of(*given)[:3], list(given[2:])))


def test_vmap_of_gradients_runs_element_by_element():
    x, weight, *_ = tensors(0)
    found = torch.func.vmap(torch.func.grad(lambda a, b: operator(call_of(a, b)).out.sum()))(x, weight)
    torch.testing.assert_close(found, 0.75 * weight)
