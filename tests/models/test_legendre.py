"""Legendre memory and L2MU: matrices, delay line, the transposed matrix of the program, the cell in a plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import cont2discrete

import neurosim as ns
from neurosim.errors import InputError, ShapeError
from neurosim.models import LegendreMemory, l2mu, l2mu_as_lif, legendre_matrices

DT = 5e-3


@pytest.mark.parametrize(("order", "theta"), [(4, 7.0), (6, 100.0), (7, 10.0)])
def test_matrices_are_held_over_a_step(order: int, theta: float) -> None:
    i, j = np.indices((order, order))
    a = (2 * i + 1) / theta * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    b = ((2 * np.arange(order) + 1) * (-1.0) ** np.arange(order) / theta)[:, None]
    held, drive, *_ = cont2discrete((a, b, np.eye(order), np.zeros((order, 1))), 1.0)
    found, own = legendre_matrices(order, theta)
    assert np.abs(found - held).max() < 1e-12 and np.abs(own - drive[:, 0]).max() < 1e-12
    if order == 6:
        assert np.abs(np.linalg.eigvals(found)).max() == pytest.approx(0.960, abs=5e-4)


def test_a_constant_is_the_first_polynomial_alone() -> None:
    one = torch.ones(400, 2, dtype=torch.float64)
    last = LegendreMemory(4, 7.0).double()(one)[-1]
    assert (last - torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)).abs().max() < 1e-12
    wrong = LegendreMemory(4, 7.0, variant="code").double()(one)[-1, 0]
    assert wrong.tolist() == pytest.approx([-0.56, 0.16, 0.36, -0.48], abs=0.01)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_delay_line_holds_the_window_and_the_transposed_matrix_does_not(share: float) -> None:
    t, rng = np.arange(3000), np.random.default_rng(0)
    u = sum(
        np.sin(2 * np.pi * f * t + p) for f, p in zip(rng.uniform(5e-4, 8e-3, 8), rng.uniform(0, 6, 8), strict=True)
    )
    x, lag = torch.from_numpy(u)[:, None], round(share * 100)
    for variant, good in (("paper", True), ("code", False)):
        memory = LegendreMemory(6, 100.0, variant=variant).double()
        past = memory.past(memory(x), share)[500:, 0]
        expected = x[500 - lag : 3000 - lag, 0]
        error = float((past - expected).square().mean().sqrt() / expected.square().mean().sqrt())
        assert error <= 0.015 if good else error > 1.0


def test_a_window_goes_on_from_its_state() -> None:
    memory, u = LegendreMemory(5, 20.0).double(), torch.randn(40, 3, dtype=torch.float64)
    whole = memory(u)
    assert torch.equal(whole[25:], memory(u[25:], whole[24]))
    with pytest.raises(ShapeError, match=r"state must be \[3, 5\]; got \[5\]"):
        memory(u, torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_the_cell_is_that_of_the_paper(variant: str) -> None:
    torch.manual_seed(0)
    net = l2mu(9, 4, hidden=14, memory=6, order=3, theta=5.0, variant=variant).double()
    weight = {edge.name: edge.synapses[0].weight.detach() for edge in net.edges}
    torch.nn.init.normal_(net.edges[2].synapses[0].weight, std=0.3)  # 0 at first
    with torch.no_grad():
        for name in ("input->h", "h->h", "m->h", "h->output"):
            weight[name] *= 2.0
    x = (torch.rand(60, 2, 9) < 0.3).double()
    found = net.run(x, record=["u", "m", "h"])
    blocks = {name: torch.block_diag(*weight[name]) for name in ("m->m", "u->m")}
    a, _ = legendre_matrices(3, 5.0)
    assert torch.allclose(weight["m->m"][0], torch.from_numpy(a if variant == "paper" else a.T))
    bias = net.edges[-1].synapses[0].bias.detach()
    neurons = {
        name: [float(net.nodes[name].value(p).detach()) for p in ("beta", "v_th")] for name in ("u", "m", "h", "output")
    }
    v: dict[str, Any] = dict.fromkeys(neurons, 0.0)
    s = {name: torch.zeros(2, n, dtype=torch.float64) for name, n in (("u", 6), ("m", 18), ("h", 14), ("output", 4))}

    def fire(name: str, current: torch.Tensor) -> None:
        beta, threshold = neurons[name]
        u = beta * v[name] + current
        s[name] = (u > threshold).double()
        v[name] = u - threshold * s[name]

    for t in range(60):
        fire("u", x[t] @ weight["input->u"].T + s["h"] @ weight["h->u"].T + s["m"] @ weight["m->u"].T)
        fire("m", s["m"] @ blocks["m->m"].T + s["u"] @ blocks["u->m"].T)
        fire("h", x[t] @ weight["input->h"].T + s["h"] @ weight["h->h"].T + s["m"] @ weight["m->h"].T)
        fire("output", s["h"] @ weight["h->output"].T + bias)
        for name in ("u", "m", "h"):
            assert torch.equal(found.recorded[name][t], s[name]), (name, t)
        assert torch.equal(found.out[t], s["output"])
    assert all(0.01 < found.recorded[name].mean() < 0.95 for name in ("u", "m", "h"))


def test_the_matrices_stay_and_all_else_learns() -> None:
    torch.manual_seed(0)
    net = l2mu(9, 4, hidden=14, memory=6, order=3, theta=5.0)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    batches = [((torch.rand(30, 8, 9) < 0.3).float(), torch.arange(8) % 4)] * 3
    ns.fit(net, batches, loss=ns.RateCrossEntropy(), epochs=3, progress=False, wake=False)
    fixed = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert len(fixed) == 2
    for name, value in net.named_parameters():
        assert torch.equal(value, before[name]) is (name in fixed), name


def test_as_lif_it_sends_the_same_spikes_and_is_exported() -> None:
    from neurosim.exchange.nir import verify_nir

    torch.manual_seed(0)
    net = l2mu(9, 4, hidden=14, memory=6, order=3, theta=5.0, reset="value")
    x = (torch.rand(40, 2, 9) < 0.3).float()
    lif = l2mu_as_lif(net)
    with torch.no_grad():
        assert torch.equal(lif(x)[0], net(x)[0])
    check = verify_nir(lif, x)
    assert check.agrees
    with pytest.raises(InputError, match="'lif1' is no population of l2mu but lif"):
        l2mu_as_lif(ns.Sequential(ns.Linear(2, 2), ns.LIF(dt=DT)))


def test_bad_arguments_are_refused_by_name() -> None:
    for call, message in (
        (lambda: legendre_matrices(0, 5.0), "order must be an integer from 1; got 0"),
        (lambda: legendre_matrices(3, -1.0), "theta must be a positive number of steps; got -1.0"),
        (lambda: LegendreMemory(3, 5.0, variant="both"), "variant='both'"),
        (lambda: LegendreMemory(3, 5.0).past(torch.zeros(3), 1.5), r"share must be in \[0, 1\]; got 1.5"),
        (lambda: l2mu(9, 4, memory=0), "memory must be an integer from 1; got 0"),
    ):
        with pytest.raises(InputError, match=message):
            call()
