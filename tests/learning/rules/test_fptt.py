"""FPTT: what it becomes without its regulariser, and what its multipliers are at each minimum."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import neurosim as ns
from benchmarks.activations import activations
from neurosim.errors import InputError
from neurosim.learning.rules.fptt import FPTT
from tests.learning.rules.small_networks import atan_spike, batch, network

DECAY = 0.8


def test_without_regulariser_it_is_online_gradient_descent():
    net, (x, y) = network(DECAY), batch(13)
    weights = [p.detach().clone().requires_grad_() for p in net.parameters()]
    trainer = FPTT(torch.optim.SGD(net.parameters(), 0.3), alpha=0.0, ramp=True, clip=None)
    value, output = trainer.sequence(net, x, y, ns.CrossEntropy())
    v, total = [torch.zeros(x.shape[1], len(w), dtype=x.dtype) for w in weights], 0.0
    for k, step in enumerate(x, start=1):
        z = step
        for n, w in enumerate(weights):
            u = DECAY * v[n].detach() + z @ w.T
            z = atan_spike(u - 1)
            v[n] = u * (z.detach() == 0)
        assert torch.equal(output[k - 1], z.detach())
        error = F.cross_entropy(z, y)
        total += float(error.detach()) / len(x)
        found = torch.autograd.grad(k / len(x) * error, weights)
        with torch.no_grad():
            for w, g in zip(weights, found, strict=True):
                w -= 0.3 * g
    assert abs(total - float(value)) < 1e-12
    for w, p in zip(weights, net.parameters(), strict=True):
        assert torch.allclose(w, p, rtol=0, atol=1e-13)
    assert not any(dual.any() for dual in trainer.dual)


class Solver(torch.optim.Optimizer):
    """Sets the parameter to the minimum of 1/2 p' H p - b' p - dual' p + alpha/2 |p - mean|^2."""

    def __init__(self, p, h, b):
        super().__init__([p], {})
        self.p, self.h, self.b = p, h, b

    def step(self, closure=None):
        # What the trainer adds to the loss is in the gradient: grad = H p - b + alpha (p - mean) - dual.
        g = self.p.grad
        with torch.no_grad():
            self.p -= torch.linalg.solve(self.h + self.alpha * torch.eye(len(self.p), dtype=self.p.dtype), g)


def solved(alpha=0.1, beta=0.5):
    torch.manual_seed(0)
    root = torch.randn(5, 5, dtype=torch.float64)
    h, b = root @ root.T + torch.eye(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    p = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))
    solver = Solver(p, h, b)
    solver.alpha = alpha
    return p, h, b, FPTT(solver, alpha=alpha, beta=beta, clip=None)


def test_at_each_minimum_the_multiplier_is_the_gradient():
    p, h, b, trainer = solved()
    for k in range(6):
        shifted = b + 0.3 * k  # each step has a loss of its own
        trainer.optimizer.b = shifted
        mean, dual = trainer.mean[0].clone(), trainer.dual[0].clone()
        trainer.step(0.5 * p @ h @ p - shifted @ p)
        now = p.detach()
        assert torch.allclose(trainer.dual[0], h @ now - shifted, rtol=0, atol=1e-12)
        assert torch.allclose(trainer.dual[0], dual - 0.1 * (now - mean), rtol=0, atol=1e-14)
        assert torch.allclose(trainer.mean[0], 0.5 * mean + 0.5 * now - 0.5 / 0.1 * trainer.dual[0], rtol=0, atol=1e-12)


def test_at_a_fixed_point_the_average_is_the_minimum_and_the_multiplier_0():
    p, h, b, trainer = solved(alpha=1.0)
    for _ in range(400):
        trainer.step(0.5 * p @ h @ p - b @ p)
    lowest = torch.linalg.solve(h, b)
    assert torch.allclose(p.detach(), lowest, rtol=0, atol=1e-9)
    assert torch.allclose(trainer.mean[0], lowest, rtol=0, atol=1e-9)
    assert trainer.dual[0].abs().max() < 1e-9


def test_the_gradient_runs_through_a_chunk_and_no_further():
    net, (x, y) = network(DECAY), batch(12)
    whole = network(DECAY)
    trainer = FPTT(torch.optim.SGD(net.parameters(), 0.1), alpha=0.0, ramp=False, chunk=12, clip=None)
    trainer.sequence(net, x, y, ns.CrossEntropy())
    ns.BPTT().gradients(whole, x, y, ns.CrossEntropy())
    torch.optim.SGD(whole.parameters(), 0.1).step()
    for a, b in zip(net.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-14)


def test_the_average_is_what_is_evaluated():
    net, (x, y) = network(DECAY), batch(12)
    trainer = FPTT(torch.optim.Adamax(net.parameters(), 3e-3))
    trainer.sequence(net, x, y, ns.CrossEntropy())
    here = [p.detach().clone() for p in net.parameters()]
    with trainer.averaged():
        assert all(torch.equal(p, m) for p, m in zip(net.parameters(), trainer.mean, strict=True))
        assert not all(torch.equal(p, h) for p, h in zip(net.parameters(), here, strict=True))
    assert all(torch.equal(p, h) for p, h in zip(net.parameters(), here, strict=True))
    trainer.end_epoch()
    assert all(torch.equal(p, m) for p, m in zip(net.parameters(), trainer.mean, strict=True))


def test_clipping_holds_for_the_whole_step():
    net, (x, y) = network(DECAY), batch(1)
    before = [p.detach().clone() for p in net.parameters()]
    trainer = FPTT(torch.optim.SGD(net.parameters(), 1.0), clip=1e-3)
    trainer.sequence(net, x, y, ns.CrossEntropy())
    moved = sum(float((p - b).square().sum().detach()) for p, b in zip(net.parameters(), before, strict=True)) ** 0.5
    assert 0.9e-3 < moved < 1.001e-3


def peak(steps):
    net, (x, y) = network(DECAY), batch(steps)
    trainer = FPTT(torch.optim.Adamax(net.parameters(), 3e-3))
    with activations(x, *net.parameters()) as count:
        trainer.sequence(net, x, y, ns.CrossEntropy())
    return count.peak


def test_its_memory_does_not_grow_with_time():
    assert peak(200) <= 1.05 * peak(20)


def test_it_learns():
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(10, 20), ns.LIF(dt=1e-3, tau_mem=5e-3, r=6.0), ns.Linear(20, 2), ns.LI(dt=1e-3))
    y = torch.arange(32) % 2
    x = (torch.rand(12, 32, 10) < torch.where(y[:, None] == 1, 0.6, 0.1)).float()
    trainer = FPTT(torch.optim.Adamax(net.parameters(), 1e-2))
    first, _ = trainer.sequence(net, x, y, ns.CrossEntropy())
    for _ in range(15):
        trainer.sequence(net, x, y, ns.CrossEntropy())
        trainer.end_epoch()
    assert ns.evaluate(net, [(x, y)])["loss"] < 0.8 * float(first)


def test_unsupported_use_is_refused_by_name():
    net, (x, y) = network(DECAY), batch(3)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(InputError, match=r"FPTT\(chunk=0\)"):
        FPTT(optimizer, chunk=0)
    with pytest.raises(InputError, match=r"FPTT\(alpha=-1\): a finite number from 0 up"):
        FPTT(optimizer, alpha=-1)
    with pytest.raises(InputError, match=r"FPTT\(beta=0\): a number above 0"):
        FPTT(optimizer, beta=0)
    with pytest.raises(InputError, match=r"FPTT\(clip=0\)"):
        FPTT(optimizer, clip=0)
    with pytest.raises(InputError, match="mean over steps"):
        FPTT(optimizer).sequence(net, x, y, ns.MaxMembrane())
