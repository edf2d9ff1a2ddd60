"""SiLIF and C-SiLIF against the recursions of the paper, written with the reset of the spike before."""

from __future__ import annotations

import math

import torch

import neurosim as ns
from neurosim import cores

DT, N, T = 4e-3, 7, 400
generator = torch.Generator().manual_seed(0)


def _uniform(low: float, high: float) -> torch.Tensor:
    return low + (high - low) * torch.rand(N, dtype=torch.float64, generator=generator)


CURRENT = 4.0 * torch.randn(T, 3, N, dtype=torch.float64, generator=generator) + 2.0


def test_silif_is_the_recursion_of_the_paper() -> None:
    log_step, log_mem, log_adapt = _uniform(-1, 1), -_uniform(math.log(10), math.log(250)), -_uniform(0.9, 2.3)
    a, b = _uniform(0, 1), _uniform(0, 2)
    layer = ns.layer(cores.silif)(dt=DT, log_step=log_step, log_tau_mem=log_mem, log_tau_adapt=log_adapt, a=a, b=b)
    found, _ = layer(CURRENT)
    step = DT * log_step.exp()
    alpha, beta = (-step / log_mem.exp()).exp(), (-step / log_adapt.exp()).exp()
    u = w = s = torch.zeros(3, N, dtype=torch.float64)
    for t, i in enumerate(CURRENT):
        w = beta * w + a * u + b * s
        u = alpha * (u - s) + (1 - alpha) * (i - w)
        s = (u > 1.0).double()
        assert torch.equal(found[t], s), t
    assert 0.01 < found.mean() < 0.5


def test_csilif_is_a_complex_membrane() -> None:
    log_step, log_mem, f, r = _uniform(-1, 1), -_uniform(2, 4), _uniform(3, 60), _uniform(0, 1)
    layer = ns.layer(cores.csilif)(dt=DT, log_step=log_step, log_tau_mem=log_mem, f_mem=f, r=r)
    found, _ = layer(CURRENT)
    rate = torch.complex(-1.0 / log_mem.exp(), 2.0 * math.pi * f)
    factor = (rate * DT * log_step.exp()).exp()
    u, s = torch.zeros(3, N, dtype=torch.complex128), torch.zeros(3, N, dtype=torch.float64)
    for t, i in enumerate(CURRENT):
        u = factor * (u - 0.5 * s) + r * i
        s = (2.0 * u.real > 1.0).double()
        assert torch.equal(found[t], s), t
    assert 0.01 < found.mean() < 0.5


def test_the_step_of_a_neuron_is_a_multiple_of_that_of_the_layer() -> None:
    for core in (cores.silif, cores.csilif):
        twice = ns.layer(core)(dt=DT, log_step=math.log(2.0))(CURRENT)[0]
        assert torch.equal(twice, ns.layer(core)(dt=2 * DT)(CURRENT)[0]) and twice.any()
