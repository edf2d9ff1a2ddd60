"""Liquid neurons: their equations step by step, gradients, and what a network makes of them."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, InputError, NetworkError, ShapeError
from neurosim.hardware.lava.mapping import map_network
from neurosim.learning import FPTT
from neurosim.models import LiquidNeurons, LiquidNeuronsState


def made(neurons: int = 5, **choices) -> LiquidNeurons:
    torch.manual_seed(0)
    return LiquidNeurons(neurons, dt=1e-3, **choices).double()


def currents(steps: int = 30, neurons: int = 5) -> torch.Tensor:
    return 1.5 * torch.rand(steps, 3, neurons, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_equations_step_by_step():
    pool, i = made(), currents()
    w_m, b_m, w_t, b_t = (p.detach() for p in (*pool.membrane.parameters(), *pool.threshold.parameters()))
    z, state, seen, *_ = pool.run(i, None, ("v", "a", "u", "alpha", "rho"))
    v, a, fired = (torch.zeros(3, 5, dtype=torch.float64) for _ in range(3))
    for t in range(30):
        alpha = 1 / (1 + torch.exp(-(torch.cat((i[t], v), 1) @ w_m.T + b_m)))
        rho = 1 / (1 + torch.exp(-(torch.cat((i[t], a), 1) @ w_t.T + b_t)))
        a = rho * a + (1 - rho) * fired
        u = (1 - alpha) * v + alpha * i[t]
        fired = (u > 0.1 + 1.8 * a).double()
        v = u * (1 - fired)
        assert torch.equal(z[t], fired)
        for name, wanted in (("v", v), ("a", a), ("u", u), ("alpha", alpha), ("rho", rho)):
            torch.testing.assert_close(seen[name][t], wanted, rtol=1e-12, atol=1e-12)
    assert 0.05 < z.mean() < 0.95
    torch.testing.assert_close(state.v, v, rtol=1e-12, atol=1e-12)
    assert torch.equal(state.z, fired)


def test_with_zero_weights_the_neurons_are_leaky_with_a_constant_leak():
    pool = made(beta=0.0, v_th=1.0)
    lif = ns.LIF(dt=1e-3, tau_mem=10e-3).double()
    alpha = 1.0 - lif.decay("tau_mem")
    with torch.no_grad():
        pool.membrane.weight.zero_()
        pool.membrane.bias.fill_(torch.logit(torch.tensor(alpha, dtype=torch.float64)))
    i = 3.0 * currents(200)
    assert torch.equal(pool(i)[0], lif(i)[0])


def test_a_split_run_equals_the_run_in_one():
    pool, i = made(), currents()
    whole, last = pool(i)
    first, state = pool(i[:11])
    second, after = pool(i[11:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole)
    for a, b in zip(after, last, strict=True):
        torch.testing.assert_close(a, b)
    nothing, same, seen, *_ = pool.run(i[:0], state, ("u",))
    assert nothing.shape == seen["u"].shape == (0, 3, 5) and torch.equal(same.v, state.v)


def test_gradients_cross_time_or_do_not():
    pool, i = made(), currents(4).requires_grad_()
    for through, crosses in ((True, True), (False, False)):
        (g,) = torch.autograd.grad(pool.run(i, through_time=through).state.v.sum(), i)
        assert bool(g[:3].any()) == crosses and bool(g[3].any())


def test_it_learns_in_a_network_by_steps():
    torch.manual_seed(0)
    net = ns.Sequential(
        ns.Linear(4, 6), ns.Recurrent(LiquidNeurons(6, dt=1e-3), ns.Linear(6, 6)), ns.Linear(6, 2), ns.LI(dt=1e-3)
    )
    x, y = torch.rand(12, 8, 4), torch.arange(8) % 2
    x[:, :, 0] = y.float()
    before = [p.detach().clone() for p in net.parameters()]
    trainer = FPTT(torch.optim.Adamax(net.parameters(), 1e-2))
    values = [float(trainer.sequence(net, x, y, ns.CrossEntropy())[0]) for _ in range(10)]
    assert values[-1] < values[0]
    assert all(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_exporters_and_readers_of_cores_refuse_it_by_name():
    net = ns.Sequential(ns.Linear(4, 6), LiquidNeurons(6, dt=1e-3), ns.Linear(6, 2), ns.LI(dt=1e-3))
    with pytest.raises(ExportError, match="is a LiquidNeurons, for which Lava has no process"):
        map_network(net)
    pytest.importorskip("nir")
    from neurosim.exchange.nir import to_nir

    with pytest.raises(ExportError, match="LiquidNeurons"):
        to_nir(net)
    with pytest.raises(NetworkError, match="LiquidNeurons"):
        net.neurons()


def test_unsupported_use_is_refused_by_name():
    with pytest.raises(InputError, match="neurons"):
        LiquidNeurons(0, dt=1e-3)
    with pytest.raises(InputError, match="beta must be a number from 0"):
        LiquidNeurons(3, dt=1e-3, beta=-1.0)
    with pytest.raises(InputError, match="v_th must be a number from 0"):
        LiquidNeurons(3, dt=1e-3, v_th=True)
    with pytest.raises(InputError, match=r"i is torch.float32, the layers are torch.float64"):
        made()(currents().float())
    with pytest.raises(ShapeError, match=r"must be a tuple of v, a and z .* got int"):
        made()(currents(), 5)
    with pytest.raises(ShapeError, match=r"must be a tuple of v, a and z .* got Tensor"):
        made()(currents(), torch.zeros(3, 3, 5, dtype=torch.float64))
    with pytest.raises(ShapeError, match="i must be"):
        made()(torch.zeros(2, 1, 4, dtype=torch.float64))
    with pytest.raises(InputError, match="cannot record"):
        made().run(currents(), None, ("w",))
    with pytest.raises(ShapeError, match="state must be a tuple"):
        made()(currents(), LiquidNeuronsState(*(torch.zeros(2, 5, dtype=torch.float64) for _ in range(3))))
