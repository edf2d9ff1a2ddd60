"""The torch operator: its registrations, and what autograd, autocast and no_grad make of it."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import neurosim as ns
from neurosim.errors import InputError
from neurosim.kernels.common.policy import forced
from neurosim.kernels.neurons.operator import Call, run_core

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def arguments(layer, train=True, dtype=torch.float32):
    layer = layer.to(DEVICE)
    key, forward, backward = layer._prepared(train, True, ())
    i = (torch.randn(5, 2, 3, dtype=dtype, device=DEVICE) * 4).requires_grad_(train)
    state = [torch.randn(2, 3, dtype=dtype, device=DEVICE, requires_grad=train) for _ in layer.core.state]
    varying = layer._varying_coefficients().values()
    coefficients = [t.to(dtype).expand(2, 3).contiguous().detach().requires_grad_(train) for t in varying]
    return Call(key, [i], state, coefficients, forward, backward)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("learn", [(), ("tau_mem", "v_th"), ("tau_mem", "v_th", "v_reset", "r")])
def test_opcheck_of_the_forward_operator(learn, train):
    torch.library.opcheck(run_core.forward_operator, arguments(ns.LIF(dt=1e-3, size=3, learn=learn), train))


def test_opcheck_of_the_backward_operator():
    call = arguments(ns.ALIF(dt=1e-3, size=3, learn=("beta",)))
    with torch.no_grad():
        outputs = run_core.forward(call)
        saved = run_core.save(call, outputs)
    saved = saved._replace(coefficients=[t.detach() for t in saved.coefficients])
    torch.library.opcheck(run_core.backward_operator, (*saved, [], [outputs.out, *outputs.state]))


def test_autocast_runs_in_single_precision():
    layer, i = ns.LIF(dt=1e-3), torch.randn(30, 2, 3) * 4
    expected, state = layer(i)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, after = layer(i)
        half, half_state = layer(i.bfloat16())
    assert z.dtype is torch.float32 and torch.equal(z, expected) and torch.equal(after.v, state.v)
    assert half.dtype is torch.bfloat16 and half_state.v.dtype is torch.float32
    assert torch.equal(half.float(), layer(i.bfloat16().float())[0])


def test_without_gradients_nothing_is_kept_for_them():
    layer, i = ns.LIF(dt=1e-3, size=3, learn=("tau_mem",)), torch.randn(30, 2, 3) * 4
    z, state = layer(i)
    assert z.requires_grad and state.v.requires_grad
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            quiet, after = layer(i)
        assert not quiet.requires_grad and torch.equal(quiet, z) and torch.equal(after.v, state.v)


def test_a_frozen_layer_on_plain_data_has_no_gradient():
    z, _ = ns.LIF(dt=1e-3)(torch.randn(5, 2, 3))
    assert not z.requires_grad


def test_gradients_that_are_none_count_as_zero():
    layer, i = ns.CubaLIF(dt=1e-3), torch.randn(9, 2, 3, requires_grad=True)
    z, state = layer(i)
    (only_state,) = torch.autograd.grad(state.v.sum(), i, retain_graph=True)
    (with_zero,) = torch.autograd.grad(state.v.sum() + 0.0 * z.sum() + 0.0 * state.j.sum(), i)
    assert torch.equal(only_state, with_zero) and only_state.abs().sum() > 0


def test_a_gradient_of_a_gradient_is_refused():
    i = torch.randn(9, 2, 3, requires_grad=True)
    layer = ns.LIF(dt=1e-3)
    (plain,) = torch.autograd.grad(layer(i)[0].sum(), i)
    (once,) = torch.autograd.grad(layer(i)[0].sum(), i, create_graph=True)
    assert torch.equal(once, plain)
    with pytest.raises(InputError, match="no gradient of a gradient"):
        once.sum().backward()
    key, forward, backward = layer._prepared(True, True, ())
    out, *_ = run_core.forward_operator(key, [i], [torch.zeros(2, 3)], [], forward, backward)
    (once,) = torch.autograd.grad(out.sum(), i, create_graph=True)
    with pytest.raises(RuntimeError, match="run_core_backward"):
        once.sum().backward()


def test_direct_call_and_operator_agree():
    layer = ns.ALIF(dt=1e-3, size=3, learn=("tau_mem", "beta"))
    i = torch.randn(40, 2, 3)

    def results():
        x = i.clone().requires_grad_()
        z, state = layer(x)
        found = torch.autograd.grad(
            (z * torch.arange(40.0)[:, None, None]).sum() + state.a.sum(), [x, *layer.parameters()]
        )
        return z, *state, *found

    direct = results()
    with forced(operators=True):
        assert all(map(torch.equal, direct, results()))


def test_the_graph_may_be_walked_twice():
    i = torch.randn(9, 2, 3, requires_grad=True)
    loss = (ns.LIF(dt=1e-3)(i)[0] * torch.arange(9.0)[:, None, None]).sum()
    first = torch.autograd.grad(loss, i, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, i)[0])


def test_what_is_kept_is_guarded_against_being_written_to():
    i = (torch.randn(9, 2, 3) * 4).requires_grad_()
    layer = ns.LIF(dt=1e-3)
    expected = torch.autograd.grad(layer(i)[0].sum(), i)[0]
    z, _, values, *_ = layer.run(i, record=("u",))
    values["u"].zero_()
    z.detach().zero_()
    assert torch.equal(torch.autograd.grad(z.sum(), i)[0], expected)


def test_shapes_and_types_in_half_precision_on_an_accelerator():
    layer = ns.ALIF(dt=1e-3, size=3, learn=("beta",))
    key, forward, backward = layer._prepared(True, True, ())
    with FakeTensorMode():
        i = torch.empty(5, 2, 3, dtype=torch.bfloat16, device="cuda")
        state = [torch.empty(2, 3, device="cuda") for _ in layer.core.state]
        coefficients = [torch.empty(2, 3, device="cuda")]
        out, *rest = run_core.forward_operator(key, [i], state, coefficients, forward, backward)
        assert out.dtype is torch.bfloat16 and {t.dtype for t in rest} == {torch.float32}
        g_i, *others = run_core.backward_operator(key, coefficients, backward, rest[2:], [], [out, *rest[:2]])
        assert g_i.dtype is torch.bfloat16 and {t.dtype for t in others} == {torch.float32}
