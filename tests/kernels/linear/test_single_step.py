"""A single step of a small layer is one dense product and one step of the neurons: the same as the definition."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.kernels.common.policy import forced
from neurosim.kernels.linear import policy, single_step
from neurosim.kernels.linear.arguments import Call

MAKERS = {
    "lif": lambda: ns.LIF(dt=1e-3, r=4.0, spike=ns.triangle()),
    "learned": lambda: ns.LIF(dt=1e-3, r=4.0, tau_mem=torch.linspace(5e-3, 20e-3, 7), learn=("tau_mem",)),
    "alif": lambda: ns.ALIF(dt=1e-3, r=4.0),
    "li": lambda: ns.LI(dt=1e-3),
}


def made(name: str, *, bias: bool) -> ns.Network:
    torch.manual_seed(0)
    return ns.Sequential(ns.Linear(5, 7, bias=bias), MAKERS[name]()).double()


def definition(net: ns.Network, x: torch.Tensor, state: tuple[torch.Tensor, ...]):
    (synapse,), (node,) = next(iter(net.synapses.values())), net.populations().values()
    out, after, *_ = node.run_reference(torch.nn.functional.linear(x, synapse.weight, synapse.bias), state)
    return [out, *after]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", list(MAKERS))
def test_it_is_the_definition_with_all_its_gradients(name, bias, monkeypatch):
    net = made(name, bias=bias)
    (label, node), x = next(iter(net.populations().items())), torch.rand(1, 3, 5, dtype=torch.float64)
    state = [torch.rand(3, 7, dtype=torch.float64).requires_grad_() for _ in node.initial_state(torch.zeros(1, 3, 7))]
    x.requires_grad_()
    calls = []
    run = single_step.run
    monkeypatch.setattr(single_step, "run", lambda call: calls.append(call) or run(call))
    start = net.initial_state(x.detach())
    start.nodes[label] = type(start.nodes[label])(*state)
    out, after = net(x, start)
    assert len(calls) == 1
    found, wanted = [out, *after.nodes[label]], definition(net, x, tuple(state))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    shares = [torch.randn_like(t) for t in wanted]
    leaves = [x, *state, *net.parameters()]
    ours = torch.autograd.grad(found, leaves, shares, allow_unused=True)
    theirs = torch.autograd.grad(wanted, leaves, shares, allow_unused=True)
    assert any(g is not None and bool(g.any()) for g in ours)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, torch.zeros_like(leaves[0]) if b is None else b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("through_time", [False, True])
def test_a_run_step_by_step_is_the_run_in_one(through_time):
    net, x = made("alif", bias=True), torch.rand(9, 3, 5, dtype=torch.float64)
    label = next(iter(net.populations()))
    names = (f"{label}.v", f"{label}.u")
    weights = list(net.parameters())
    whole, last, values, *_ = net.run(x, None, names, through_time=through_time)
    state, pieces, seen = None, [], []
    for step in x.split(1):
        out, state, now, *_ = net.run(step, state, names, through_time=through_time)
        state = state if through_time else state.detach()
        pieces.append(out)
        seen.append(now)
    torch.testing.assert_close(torch.cat(pieces), whole)
    for name in names:
        torch.testing.assert_close(torch.cat([now[name] for now in seen]), values[name])
    for a, b in zip(state.nodes[label], last.nodes[label], strict=True):
        torch.testing.assert_close(a, b)
    share = torch.randn_like(whole)
    found = torch.autograd.grad(torch.cat(pieces), weights, share)
    for a, b in zip(found, torch.autograd.grad(whole, weights, share), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_no_samples_make_no_spikes():
    net = made("lif", bias=True)
    out, state = net(torch.empty(1, 0, 5, dtype=torch.float64))
    assert out.shape == (1, 0, 7) and state.nodes["lif1"].v.shape == (0, 7)


def test_it_runs_one_small_step_alone():
    call = Call("", torch.empty(1, 4, 3), torch.empty(2, 3), None, (), (), (), ())
    assert policy.is_single_step(call)
    assert not policy.is_single_step(call._replace(x=torch.empty(2, 4, 3)))
    assert not policy.is_single_step(call._replace(x=torch.empty(1, policy.SMALL // 6 + 1, 3)))
    with forced(operators=True):
        assert not policy.is_single_step(call)


def test_without_gradients_it_gives_the_same():
    net, x = made("alif", bias=True), torch.rand(1, 3, 5, dtype=torch.float64)
    wanted, after = net(x)
    with torch.no_grad():
        found, state = net(x)
    assert torch.equal(found, wanted)
    for a, b in zip(state.nodes["alif1"], after.nodes["alif1"], strict=True):
        assert torch.equal(a, b)


def test_autocast_leaves_single_precision():
    net, x = made("lif", bias=True).float(), torch.rand(1, 3, 5)
    plain, state = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, after = net(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(after.nodes["lif1"].v, state.nodes["lif1"].v, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, plain)


def test_a_gradient_of_a_gradient_is_refused():
    net, x = made("lif", bias=False), torch.rand(1, 3, 5, dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(net(x)[0].sum(), x, create_graph=True)
    with pytest.raises(InputError, match="no gradient of a gradient"):
        g.sum().backward()


def test_the_gradient_of_a_step_may_be_left_out_where_nobody_asks():
    net, x = made("li", bias=False), torch.rand(1, 3, 5, dtype=torch.float64)
    net.requires_grad_(False)
    out, _ = net(x)
    assert not out.requires_grad
