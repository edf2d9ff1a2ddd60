"""BPTT and SLTT against loops written by hand; what holds for every rule is in tests/rule_battery.py."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.learning import (
    BPTT,
    DECOLLE,
    SLTT,
    CrossEntropy,
    CrossEntropyMSE,
    DecolleLIF,
    LocalReadouts,
    Loss,
    MaxMembrane,
    Rule,
)
from neurosim.synapses import Dropout
from tests.learning.rules.small_networks import CHUNKS, DT, atan_spike, batch, close, gradients, network
from tests.rule_list import INPUTS, data


def by_hand(net: Any, x: Tensor, y: Tensor, decay: float, *, cut: bool) -> list[Tensor]:
    """Gradients from a loop that knows nothing of neurosim but the weights; with `cut`, one backward per step."""
    weights = [parameter.detach().clone().requires_grad_() for parameter in net.parameters()]
    v = [torch.zeros(x.shape[1], w.shape[0], dtype=x.dtype) for w in weights]
    whole = torch.zeros((), dtype=x.dtype)
    for x_t in x:
        z = x_t
        for k, w in enumerate(weights):
            u = decay * (v[k].detach() if cut else v[k]) + z @ w.T
            z = atan_spike(u - 1)
            v[k] = u * (z.detach() == 0)
        step = F.cross_entropy(z, y) / len(x)
        if cut:
            step.backward()
        else:
            whole = whole + step
    if not cut:
        whole.backward()
    return [w.grad for w in weights if w.grad is not None]


@contextmanager
def bytes_held() -> Iterator[Callable[[], int]]:
    """Count the tensors that autograd keeps for the backward pass; yields a function that gives the peak in bytes."""
    live, peak = 0, 0

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

    def pack(tensor: Tensor) -> Kept:
        nonlocal live, peak
        size = tensor.numel() * tensor.element_size()
        live += size
        peak = max(peak, live)
        kept = Kept(tensor)
        weakref.finalize(kept, free, size)
        return kept

    def free(size: int) -> None:
        nonlocal live
        live -= size

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        yield lambda: peak


@pytest.mark.parametrize("decay", [0.0909, 0.9])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_sltt_is_the_loop_that_detaches_at_every_step(decay: float, chunk: int) -> None:
    net, (x, y) = network(decay), batch(11)
    assert close(gradients(SLTT(chunk=chunk), net, x, y), by_hand(net, x, y, decay, cut=True))


def test_bptt_is_the_loop_that_keeps_the_graph() -> None:
    net, (x, y) = network(0.9), batch(11)
    assert close(gradients(BPTT(), net, x, y), by_hand(net, x, y, 0.9, cut=False))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_no_gradient_crosses_a_loop_or_a_delay(chunk: int) -> None:
    decay, tau = 0.8, -DT / math.log(0.8)
    nodes: dict[str, Any] = {
        "input": ns.Input(20),
        "hidden": ns.LIF(tau_mem=tau, r=1 / (1 - decay), dt=DT, spike=ns.atan(2.0)),
        "out": ns.LIF(tau_mem=tau, r=1 / (1 - decay), dt=DT, spike=ns.atan(2.0)),
    }
    edges = [
        ns.Edge("input", "hidden", ns.Linear(20, 16)),
        ns.Edge("hidden", "hidden", ns.Linear(16, 16)),
        ns.Edge("hidden", "out", ns.Linear(16, 5)),
        ns.Edge("hidden", "out", ns.Linear(16, 5), delay=3 * DT, name="late"),
    ]
    net = ns.Network(nodes, edges).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0, 0.4)
    x, y = batch(11)
    first, loop, direct, late = weights = [w.detach().clone().requires_grad_() for w in net.parameters()]
    v, u_out = torch.zeros(4, 16, dtype=x.dtype), torch.zeros(4, 5, dtype=x.dtype)
    sent = [torch.zeros(4, 16, dtype=x.dtype)] * 3
    for x_t in x:
        u = decay * v.detach() + x_t @ first.T + sent[-1].detach() @ loop.T
        z = atan_spike(u - 1)
        v = u * (z.detach() == 0)
        u_out = decay * u_out.detach() + z @ direct.T + sent[-3].detach() @ late.T
        z_out = atan_spike(u_out - 1)
        u_out = u_out * (z_out.detach() == 0)
        (F.cross_entropy(z_out, y) / len(x)).backward()
        sent.append(z)
    expected = [w.grad for w in weights if w.grad is not None]
    assert len(expected) == 4
    assert close(gradients(SLTT(chunk=chunk), net, x, y), expected)


def test_sltt_is_not_bptt_where_state_carries_on() -> None:
    net, (x, y) = network(0.9), batch(11)
    assert not close(gradients(SLTT(), net, x, y), gradients(BPTT(), net, x, y), 1e-3)


@pytest.mark.parametrize("chunk", [1, 8])
def test_sltt_equals_bptt_for_one_step(chunk: int) -> None:
    net, (x, y) = network(0.9), batch(1)
    assert close(gradients(SLTT(chunk=chunk), net, x, y), gradients(BPTT(), net, x, y))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_sltt_equals_bptt_for_neurons_that_forget(chunk: int) -> None:
    net, (x, y) = network(0.0), batch(11)
    assert close(gradients(SLTT(chunk=chunk), net, x, y), gradients(BPTT(), net, x, y))


@pytest.mark.parametrize("decay", [0.2, 0.95])
def test_the_readout_gradient_is_always_that_of_bptt(decay: float) -> None:
    net, (x, y) = network(decay, plain_readout=True), batch(11)
    *hidden, readout = gradients(SLTT(), net, x, y)
    *exact_hidden, exact_readout = gradients(BPTT(), net, x, y)
    assert close([readout], [exact_readout])
    assert not close(hidden, exact_hidden, 1e-3)


class LossAtStep(Loss):
    """Cross-entropy of one step of T and nothing else, in calls of any length."""

    per_step = True

    def __init__(self, step: int, steps: int) -> None:
        self.step, self.steps, self.seen = step, steps, 0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        here = self.step - self.seen
        self.seen += len(output)
        value = output.sum() * 0
        if 0 <= here < len(output):
            value = value + F.cross_entropy(output[here], target) * self.steps / len(output)
        return value

    def prediction(self, output: Tensor) -> Tensor:
        return output.sum(0).argmax(1)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_late_loss_and_a_silent_late_input_give_the_first_layer_no_gradient(chunk: int) -> None:
    net, (x, y) = network(0.9), batch(8)
    x[-1] = 0
    first, *_ = gradients(SLTT(chunk=chunk), net, x, y, LossAtStep(7, 8))
    assert bool((first == 0).all())
    assert float(gradients(BPTT(), net, x, y, LossAtStep(7, 8))[0].abs().max()) > 1e-6
    x, y = batch(8)
    assert float(gradients(SLTT(chunk=chunk), net, x, y, LossAtStep(7, 8))[0].abs().max()) > 1e-6


def test_the_likeness_to_bptt_falls_with_the_decay() -> None:
    x, y = batch(6, samples=64)
    likeness = []
    for decay in (0.09, 0.2, 0.5, 0.8, 0.95):
        found = []
        for seed in range(4):
            net = network(decay, plain_readout=True, seed=seed)
            ours, exact = gradients(SLTT(), net, x, y)[0], gradients(BPTT(), net, x, y)[0]
            found.append(float(F.cosine_similarity(ours.flatten(), exact.flatten(), dim=0)))
        likeness.append(sum(found) / len(found))
    assert likeness == sorted(likeness, reverse=True)
    assert likeness[0] > 0.99 > likeness[-1] > 0.5


def peak(rule: Rule, steps: int) -> int:
    net, (x, y) = network(0.9), batch(steps)
    with bytes_held() as held:
        rule.gradients(net, x, y, CrossEntropy(), torch.Generator().manual_seed(0))
    assert held() > 0
    return held()


@pytest.mark.parametrize(("rule", "steps"), [(SLTT(), 1000), (SLTT(k=10), 1000), (SLTT(chunk=1), 200)], ids=repr)
def test_sltt_holds_the_same_memory_for_few_and_many_steps(rule: SLTT, steps: int) -> None:
    assert peak(rule, steps) <= 1.05 * peak(rule, 10)


def test_bptt_holds_memory_in_proportion_to_steps() -> None:
    # Less what does not grow: the weights.
    fixed = 2 * peak(BPTT(), 10) - peak(BPTT(), 20)
    assert (peak(BPTT(), 160) - fixed) / (peak(BPTT(), 20) - fixed) == pytest.approx(8, rel=0.02)


def test_chunks_do_not_change_value_output_or_gradient() -> None:
    net, (x, y) = network(0.9), batch(21)
    value, output = SLTT(chunk=1).gradients(net, x, y, CrossEntropyMSE())
    one = gradients(SLTT(chunk=1), net, x, y, CrossEntropyMSE())
    for chunk in (2, 8, 21, 50):
        other_value, other_output = SLTT(chunk=chunk).gradients(net, x, y, CrossEntropyMSE())
        assert torch.equal(output, other_output)
        assert float(value) == pytest.approx(float(other_value), rel=1e-12)
        assert close(gradients(SLTT(chunk=chunk), net, x, y, CrossEntropyMSE()), one)


def test_value_and_output_are_those_of_the_plain_forward_run() -> None:
    net, (x, y) = network(0.9), batch(13)
    z, _ = net(x)
    expected = CrossEntropy()(z, y)
    for rule in (BPTT(), SLTT(), SLTT(k=3)):
        value, output = rule.gradients(net, x, y, CrossEntropy())
        assert torch.equal(output, z.detach())
        assert float(value) == pytest.approx(float(expected.detach()), rel=1e-12)
        assert not value.requires_grad and not output.requires_grad


@pytest.mark.parametrize("chunk", [1, 8])
def test_sltt_k_of_all_steps_is_sltt(chunk: int) -> None:
    net, (x, y) = network(0.9), batch(12)
    assert close(gradients(SLTT(k=12, chunk=chunk), net, x, y), gradients(SLTT(), net, x, y))


def test_sltt_k_is_the_sum_of_the_steps_drawn_over_all_steps() -> None:
    net, (x, y) = network(0.9), batch(9)
    drawn = torch.randperm(9, generator=torch.Generator().manual_seed(3))[:4].tolist()
    # Each step's share of SLTT's gradient: the loss of one step, divided by T.
    shares = [[g / 9 for g in gradients(SLTT(), net, x, y, LossAtStep(step, 9))] for step in drawn]
    expected = [torch.stack(parts).sum(0) for parts in zip(*shares, strict=True)]
    for chunk in CHUNKS:
        rule = SLTT(k=4, chunk=chunk)
        assert close(gradients(rule, net, x, y, generator=torch.Generator().manual_seed(3)), expected)


def test_sltt_k_draws_every_step_equally_often_and_by_its_generator_only() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor([SLTT(k=2)._draw(5, generator) for _ in range(5000)], dtype=torch.float64)
    assert bool((draws.sum(1) == 2).all())
    assert draws.mean(0).tolist() == pytest.approx([0.4] * 5, abs=0.03)
    net, (x, y) = network(0.9), batch(9)
    before = torch.get_rng_state()
    once = gradients(SLTT(k=2), net, x, y, generator=torch.Generator().manual_seed(5))
    assert torch.equal(before, torch.get_rng_state())
    again = gradients(SLTT(k=2), net, x, y, generator=torch.Generator().manual_seed(5))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def test_gradients_are_added_to_those_already_there() -> None:
    for rule in (BPTT(), SLTT()):
        net, (x, y) = network(), batch(5)
        once = gradients(rule, net, x, y)
        rule.gradients(net, x, y, CrossEntropy())
        assert close([p.grad for p in net.parameters()], [2 * g for g in once])


def test_rules_are_values() -> None:
    assert SLTT(k=2) == SLTT(k=2) != SLTT(k=3) and BPTT() == BPTT()
    assert repr(SLTT(k=2)) == "SLTT(k=2, chunk=8)"
    with pytest.raises(AttributeError):
        SLTT().k = 3  # type: ignore[misc]


def test_a_loss_of_all_steps_is_refused_by_name() -> None:
    net, (x, y) = network(), batch(5)
    with pytest.raises(
        InputError, match=r"SLTT\(k=None, chunk=8\) needs a loss that is a mean over steps; MaxMembrane\(\)"
    ):
        SLTT().gradients(net, x, y, MaxMembrane())
    with pytest.raises(InputError, match=r"Use CrossEntropy\(\) or CrossEntropyMSE\(\).*or the rule BPTT\(\)"):
        SLTT().gradients(net, x, y, MaxMembrane())


@pytest.mark.parametrize("arguments", [{"k": 0}, {"k": -1}, {"k": 2.0}, {"k": True}, {"chunk": 0}, {"chunk": None}])
def test_numbers_of_steps_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"is a number of steps, an integer from 1"):
        SLTT(**arguments)


def test_more_steps_drawn_than_there_are_is_refused() -> None:
    net, (x, y) = network(), batch(5)
    with pytest.raises(InputError, match=r"SLTT\(k=6\) draws 6 steps, the input has only T = 5\. Lower k\."):
        SLTT(k=6).gradients(net, x, y, CrossEntropy())


@pytest.mark.parametrize("rule", [BPTT(), SLTT()], ids=repr)
def test_an_input_without_steps_is_refused(rule: Rule) -> None:
    with pytest.raises(ShapeError, match=r"x is \[0, 4, 20\]; a tensor \[T, B, \.\.\.\] with at least one step"):
        rule.gradients(network(), torch.zeros(0, 4, 20), torch.zeros(4, dtype=torch.int64), CrossEntropy())


def dropping_local():
    times = dict(tau_syn=2e-3, tau_mem=4e-3)
    torch.manual_seed(2)
    edges = (Dropout(0.4), ns.Linear(INPUTS, 16, bias=True), DecolleLIF(dt=1e-3, **times), Dropout(0.3))
    net = ns.Sequential(ns.Input(INPUTS), *edges, ns.Linear(16, 3), DecolleLIF(dt=1e-3, **times)).double()
    return LocalReadouts(net, 3)


def dropping():
    torch.manual_seed(2)
    lif = ns.LIF(dt=1e-3, tau_mem=5e-3, r=8.0)
    parts = (Dropout(0.4), ns.Linear(INPUTS, 16), lif, Dropout(0.3), ns.Linear(16, 3), ns.LI(dt=1e-3))
    return ns.Sequential(ns.Input(INPUTS), *parts).double()


@pytest.mark.parametrize(
    ("make", "rule"),
    [(dropping, ns.SLTT), (dropping, ns.OTTT), (dropping_local, DECOLLE)],
    ids=["sltt", "ottt", "decolle"],
)
def test_dropout_has_one_mask_for_all_chunks_of_a_batch(make, rule):
    found = []
    for chunk in (1, 4, 100):
        net = make()
        torch.manual_seed(5)
        value, output = rule(chunk=chunk).gradients(net, *data(), ns.CrossEntropy())
        found.append([value, output, *(p.grad for p in net.parameters())])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-12)
    assert any(bool(each.any()) for each in found[0][2:])
