"""IIR-SNN: the neuron of the authors' program, thresholds from currents, one step as a binary network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neurosim as ns
from neurosim.errors import InputError, NetworkError
from neurosim.learning import RateCrossEntropy
from neurosim.models.iir import hidden, limit_leaks, output, set_thresholds
from tests.models.iir_networks import network, settled


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return (z > 0).to(z.dtype)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * 0.3 * (1 - z.abs()).clamp(min=0)


def by_hand(i: Tensor, leak: Tensor, threshold: Tensor) -> Tensor:
    """The five lines of the method, in the order of the authors' program."""
    m, spikes = torch.zeros_like(i[0]), []
    for current in i:
        m = leak * m + current
        z = m / threshold - 1.0
        spikes.append(_Fire.apply(z))
        reset = threshold * (z > 0).to(i.dtype)
        m = m - reset
    return torch.stack(spikes)


def test_spikes_and_gradients_are_those_of_the_equations() -> None:
    layer = hidden().double()
    with torch.no_grad():
        layer.leak.fill_(0.9)
        layer.v_th.fill_(0.7)
    i = torch.randn(12, 5, 7, dtype=torch.float64, requires_grad=True)
    weights = torch.randn_like(i)
    z, _ = layer(i)
    found = torch.autograd.grad((z * weights).sum(), [i, layer.leak, layer.v_th])
    leak, threshold = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.9, 0.7))
    leak.data.copy_(layer.leak.data), threshold.data.copy_(layer.v_th.data)
    wanted_z = by_hand(i, leak, threshold)
    wanted = torch.autograd.grad((wanted_z * weights).sum(), [i, leak, threshold])
    assert torch.equal(z, wanted_z) and 0.1 < z.mean() < 0.5
    for a, b in zip(found, wanted, strict=True):
        assert b.abs().max() > 0.1
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_derivatives_of_one_step() -> None:
    layer = hidden().double()
    with torch.no_grad():
        layer.v_th.fill_(0.5)
    i = torch.tensor([[[0.4]]], dtype=torch.float64, requires_grad=True)
    z, _ = layer(i)
    to_current, to_threshold = torch.autograd.grad(z.sum(), [i, layer.v_th])
    slope = 0.3 * (1 - abs(0.4 / 0.5 - 1))
    assert float(to_current) == pytest.approx(slope / 0.5, rel=1e-12)
    assert float(to_threshold) == pytest.approx(-slope * 0.4 / 0.5**2, rel=1e-12)


def test_a_membrane_at_the_threshold_does_not_fire() -> None:
    z, _ = hidden()(torch.tensor([[[1.0, 1.001]]]))
    assert z.flatten().tolist() == [0.0, 1.0]


def test_the_output_is_summed_and_neither_leaks_nor_is_divided() -> None:
    i = torch.randn(6, 4, 3)
    z, _ = output()(i)
    assert torch.equal(z, i)
    target = torch.tensor([0, 1, 2, 0])
    assert torch.equal(RateCrossEntropy()(z, target), nn.functional.cross_entropy(i.sum(0), target))


def test_at_one_step_the_leak_changes_nothing() -> None:
    net, x = settled(), torch.randn(5, 40, 16, dtype=torch.float64)
    one, five = net(x[:1])[0], net(x)[0]
    with torch.no_grad():
        for name in ("one", "two"):
            net.nodes[name].leak.fill_(0.1)
    assert torch.equal(net(x[:1])[0], one)
    assert not torch.equal(net(x)[0], five)


def test_at_one_step_the_net_is_one_with_binary_activations() -> None:
    net, x = settled(), torch.randn(1, 40, 16, dtype=torch.float64)
    a = x[0]
    for name, edge in zip(("one", "two"), net.edges, strict=False):
        (linear,) = edge.synapses
        a = (a @ linear.weight.T + linear.bias > net.nodes[name].v_th).double()
        assert 0.05 < a.mean() < 0.8
    (linear,) = net.edges[2].synapses
    torch.testing.assert_close(net(x)[0][0], a @ linear.weight.T + linear.bias, rtol=1e-12, atol=1e-12)


def test_thresholds_are_percentiles_of_the_current_and_not_of_the_membrane() -> None:
    net, x = settled(), torch.randn(5, 60, 16, dtype=torch.float64)
    leaks = [net.nodes[name].leak.item() for name in ("one", "two")]
    found = set_thresholds(net, x, 90.0)
    a = x
    for name, edge in zip(("one", "two"), net.edges, strict=False):
        (linear,) = edge.synapses
        current = (a @ linear.weight.T + linear.bias).detach()
        wanted = max(np.percentile(step.numpy(), 90) for step in current)
        assert found[name] == pytest.approx(wanted, rel=1e-9) == float(net.nodes[name].v_th.detach())
        a = by_hand(current, torch.tensor(1.0), torch.tensor(wanted))  # leak 1 while thresholds are found
    assert [net.nodes[name].leak.item() for name in ("one", "two")] == leaks


def test_leaks_are_held_at_one_and_not_from_below() -> None:
    net = network()
    with torch.no_grad():
        net.nodes["one"].leak.fill_(1.3)
        net.nodes["two"].leak.fill_(-0.4)
    limit_leaks(net)
    assert [net.nodes[name].leak.item() for name in ("one", "two")] == [1.0, -0.4]


def test_samples_of_a_call_have_dropout_masks_of_their_own() -> None:
    net = settled(dropout=0.5)
    x = torch.randn(1, 8, 16, dtype=torch.float64)
    assert not torch.equal(net(x)[0], net(x)[0])


def test_leaks_are_restored_after_a_refusal() -> None:
    net = settled()
    with pytest.raises(NetworkError, match="must be above 0"):
        set_thresholds(net, torch.zeros(2, 4, 16, dtype=torch.float64), 1.0)
    assert [net.nodes[name].leak.item() for name in ("one", "two")] == [pytest.approx(0.8), pytest.approx(0.7)]


def test_wrong_input_is_refused_by_name() -> None:
    net, x = network(), torch.randn(2, 4, 16, dtype=torch.float64)
    with pytest.raises(InputError, match="percentile must be"):
        set_thresholds(net, x, 0.0)
    plain = ns.Sequential(ns.Linear(16, 3), ns.LIF(dt=1e-3)).double()
    with pytest.raises(NetworkError, match="no hidden"):
        set_thresholds(plain, x)
    late = ns.Network(
        nodes={"input": ns.Input(16), "one": hidden()}, edges=[ns.Edge("input", "one", ns.Linear(16, 3), delay=1e-3)]
    ).double()
    with pytest.raises(NetworkError, match="have a delay"):
        set_thresholds(late, x)
