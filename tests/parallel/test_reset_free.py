"""The reset-free leaky integrator is the lif core without reset, however it is computed, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import neurosim as ns
from benchmarks.parallel_in_time import blocked_scan, doubling_scan
from neurosim.parallel import PSN, ResetFreeLeaky
from tests import battery

DT = 1e-3


def test_the_first_spike_comes_at_the_same_time_at_any_dt():
    for dt in (1e-3, 1e-4):
        z, _ = ResetFreeLeaky(dt=dt, tau_mem=20e-3)(torch.full((round(0.1 / dt), 1, 1), 1.5, dtype=torch.float64))
        first = int(z.flatten().nonzero()[0])
        assert (first + 1) * dt == pytest.approx(20e-3 * torch.log(torch.tensor(3.0)).item(), abs=dt)
        assert z.flatten()[first:].all(), "above its threshold it fires at every step"


def _both(i, **choices):
    layer, lif = ResetFreeLeaky(dt=DT, **choices), ns.LIF(dt=DT, reset=None, **choices)
    return layer, lif, battery.gradients(layer, layer, i, None), battery.gradients(lif, lif, i, None)


def test_it_is_the_lif_core_without_reset_bit_for_bit():
    i = torch.randn(60, 4, 5) * 4
    layer, _, (z, state, found), (z_lif, state_lif, found_lif) = _both(
        i, tau_mem=7e-3, v_th=0.8, r=1.3, size=5, learn=("tau_mem", "v_th", "r")
    )
    assert 0.02 < z.mean() < 0.9
    assert torch.equal(z, z_lif) and torch.equal(state[0], state_lif[0])
    assert set(found) == set(found_lif)
    assert all(torch.equal(found[name], found_lif[name]) for name in found)
    assert layer.reset is None


def test_a_reset_changes_its_output():
    i = torch.randn(500, 1, 20) * 4
    free, reset = ResetFreeLeaky(dt=DT)(i)[0].mean(), ns.LIF(dt=DT)(i)[0].mean()
    assert free > 1.3 * reset


@pytest.mark.parametrize(("steps", "block"), [(1, 16), (16, 16), (17, 16), (300, 16), (600, 4)])
def test_a_scan_gives_the_same_membrane_and_gradient(steps, block):
    i = torch.randn(steps, 1, 3, dtype=torch.float64, requires_grad=True)
    v = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    layer = ns.LI(dt=DT, tau_mem=9e-3)
    alpha = float(layer.decay("tau_mem"))
    expected, _ = layer(i, (v,))
    weights = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (i, v), weights)
    recorded = ResetFreeLeaky(dt=DT, tau_mem=9e-3).run(i, (v,), ["v"]).recorded["v"]
    assert torch.equal(recorded, expected)
    for scan in (lambda x, s: blocked_scan(x, s, alpha, block), lambda x, s: doubling_scan(x, s, alpha)):
        found = scan((1 - alpha) * i[:, 0], v[0])[:, None]
        assert torch.allclose(found, expected, rtol=0, atol=1e-13)
        for got, want in zip(torch.autograd.grad(found, (i, v), weights), wanted, strict=True):
            assert torch.allclose(got, want, rtol=0, atol=1e-12)


def test_a_psn_with_the_matrix_of_the_decay_is_the_same():
    steps, i = 50, torch.randn(50, 3, 4, dtype=torch.float64) * 4
    layer, psn = ResetFreeLeaky(dt=DT, v_th=0.7), PSN(steps, dt=DT).double()
    alpha, t = layer.decay("tau_mem"), torch.arange(steps, dtype=torch.float64)
    with torch.no_grad():
        psn.weight.copy_(torch.tril((1 - alpha) * alpha ** (t[:, None] - t)))
        psn.v_th.fill_(0.7)
    z, _, values, *_ = layer.run(i, record=["v"])
    z_psn, _, values_psn, *_ = psn.run(i, record=["h"])
    assert torch.allclose(values["v"], values_psn["h"], rtol=0, atol=1e-13)
    assert torch.equal(z, z_psn) and 0.02 < z.mean() < 0.9


def test_its_kind_is_not_lif():
    layer = ResetFreeLeaky(dt=DT)
    net = ns.Sequential(ns.Linear(2, 3), layer)
    assert [*net.nodes] == ["input", "reset_free_leaky1"]
    assert "lif" not in repr(layer).lower()
    assert dataclasses.asdict(layer.operations()) == {**dict.fromkeys(("div", "select", "function"), 0)} | {
        "add": 2,
        "mul": 2,
        "compare": 1,
        "state": 1,
    }
