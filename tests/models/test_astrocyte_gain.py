"""The gain of an astrocyte follows its equation, stays bounded, and does nothing where there is nothing to gate."""

from __future__ import annotations

import math

import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, InputError, NetworkError, ShapeError
from neurosim.hardware.lava.mapping import map_network
from neurosim.models import GainAstrocyte


def spikes(steps: int = 60, batch: int = 3, neurons: int = 8) -> torch.Tensor:
    return (torch.rand(steps, batch, neurons, generator=torch.Generator().manual_seed(0)) < 0.3).double()


def test_the_equations_step_by_step():
    gamma, tau = torch.tensor([0.5, 3.0]).double(), torch.tensor([0.02, 0.3]).double()
    astro = GainAstrocyte(2, dt=1e-3, tau_ca=tau, gamma=gamma)
    s = spikes()
    out, _, seen, *_ = astro.run(s, None, ("a", "g"))
    a, rho = torch.zeros(3, 2, dtype=torch.float64), torch.exp(-1e-3 / tau)
    for t in range(len(s)):
        a = rho * a + (1 - rho) * s[t].view(3, 2, 4).mean(-1)
        g = 1 + gamma * a / (1 + a)
        torch.testing.assert_close(seen["a"][t], a, rtol=1e-12, atol=0)
        torch.testing.assert_close(seen["g"][t], g, rtol=1e-12, atol=0)
        torch.testing.assert_close(out[t].view(3, 2, 4), s[t].view(3, 2, 4) * g[..., None], rtol=1e-12, atol=0)


def test_the_gain_is_bounded_and_slow():
    astro = GainAstrocyte(1, dt=1e-3, tau_ca=0.5, gamma=4.0)
    seen = astro.run(torch.ones(5000, 1, 10), None, ("g",)).recorded
    g = seen["g"].flatten()
    assert (g.diff() >= 0).all() and float(g[-1]) == pytest.approx(1 + 4.0 / 2, rel=1e-3)
    half = int((g > 2.0).nonzero()[0])
    # Half of its way is made at a = 1/3.
    assert half * 1e-3 == pytest.approx(-0.5 * math.log(2 / 3), abs=2e-3)


def test_silence_and_a_gain_of_1_change_nothing():
    astro = GainAstrocyte(2, dt=1e-3, gamma=5.0)
    out, state = astro(torch.zeros(20, 2, 4))
    assert out.abs().max() == 0 and state.a.abs().max() == 0
    s = spikes()
    assert torch.equal(GainAstrocyte(2, dt=1e-3, gamma=0.0)(s)[0], s)


def test_a_split_run_equals_the_run_in_one():
    astro, s = GainAstrocyte(4, dt=1e-3), spikes()
    whole, end = astro(s)
    first, between = astro(s[:23])
    second, last = astro(s[23:], between)
    assert torch.equal(torch.cat((first, second)), whole) and torch.equal(last.a, end.a)


def test_gradients_reach_spikes_and_what_is_learned():
    astro = GainAstrocyte(2, dt=1e-3, gamma=2.0, learn=("gamma", "tau_ca")).double()
    s = spikes().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: astro(x)[0], s[:6, :1].detach().requires_grad_())
    (astro(s)[0] ** 2).sum().backward()
    assert all((p.grad != 0).all() for p in astro.parameters()) and (s.grad[:, :, 0] != 0).any()
    through = torch.autograd.grad(astro(s, through_time=False)[0][9].sum(), s)[0]
    assert through[:9].abs().max() == 0 and through[9].abs().min() > 0


def test_in_a_network_it_gates_the_synapses_behind_it():
    torch.manual_seed(0)
    parts = (ns.Flatten(), GainAstrocyte(2, dt=1e-3, gamma=3.0), ns.Linear(8, 3), ns.LI(dt=1e-3))
    net = ns.Sequential(ns.Input(8), *parts, names=("astro", "out"))
    x = spikes().float()
    v, state, seen, *_ = net.run(x, None, ("astro.g", "astro"))
    gated = x * seen["astro.g"].repeat_interleave(4, -1)
    assert torch.equal(seen["astro"], gated)
    assert torch.equal(v, ns.LI(dt=1e-3)(net.edges[1].synapses[0](gated))[0])
    assert state.nodes["astro"].a.shape == (3, 2)
    recording = ns.simulate(net, x, record=["astro.a"])
    assert recording.traces["astro.a"].shape == (60, 3, 2)


def test_exporters_and_readers_of_cores_refuse_it_by_name():
    net = ns.Sequential(
        ns.Linear(8, 8), ns.LIF(dt=1e-3), ns.Flatten(), GainAstrocyte(2, dt=1e-3), ns.Linear(8, 3), ns.LIF(dt=1e-3)
    )
    with pytest.raises(ExportError, match="is a GainAstrocyte, for which Lava has no process"):
        map_network(net)
    pytest.importorskip("nir")
    from neurosim.exchange.nir import to_nir

    with pytest.raises(ExportError, match="GainAstrocyte"):
        to_nir(net)
    with pytest.raises(NetworkError, match="GainAstrocyte"):
        net.neurons()


def test_wrong_shapes_are_refused_by_name():
    with pytest.raises(InputError, match="domains must be an integer from 1"):
        GainAstrocyte(0, dt=1e-3)
    with pytest.raises(ShapeError, match="8 neurons cannot be divided into 3 equal domains"):
        GainAstrocyte(3, dt=1e-3)(spikes())
    with pytest.raises(InputError, match=r"cannot record \['v'\]"):
        GainAstrocyte(2, dt=1e-3).run(spikes(), None, ("v",))
