"""Layers of SiLIF and C-SiLIF neurons: where their parameters start, that they learn, and bad sizes."""

from __future__ import annotations

import math

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError, UnitError
from neurosim.models import csilif_neurons, silif_neurons

DT = 4e-3


def test_rates_start_in_the_ranges_of_the_authors() -> None:
    torch.manual_seed(0)
    neurons = dict(silif_neurons(2000, dt=DT).named_parameters())
    for name, low, high in (("log_tau_mem", 10.0, 250.0), ("log_tau_adapt", 2.5, 10.0)):
        rate = -neurons[name].detach()
        assert math.log(low) < rate.min() < math.log(1.1 * low) and math.log(0.9 * high) < rate.max() < math.log(high)
    step = csilif_neurons(2000, dt=DT).coefficient("decay").double().log() / -0.5
    assert 1e-3 < step.min() < 1.1e-3 and 0.45 < step.max() < 0.5


@pytest.mark.parametrize("make", [silif_neurons, csilif_neurons])
def test_every_parameter_gets_a_gradient_and_stays_in_its_range(make: object) -> None:
    torch.manual_seed(0)
    net = ns.Sequential(ns.Linear(20, 32), make(32, dt=DT), ns.Linear(32, 5), ns.LI(dt=DT))
    learned = {name: p for name, p in net.named_parameters() if "neurons" in name or "silif" in name}
    x, y = (torch.rand(40, 8, 20) < 0.5).float(), torch.randint(0, 5, (8,))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.5)
    ns.fit(net, [(20.0 * x, y)], loss=ns.MeanMembrane(), epochs=3, optimizer=optimizer)
    assert len(learned) >= 4
    for name, value in learned.items():
        assert value.grad is not None and bool(value.isfinite().all()), name
    assert 0.0 < float(net(x)[0].detach().abs().sum()) < math.inf


def test_bad_arguments_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="silif_neurons: size must be an integer from 1; got 0"):
        silif_neurons(0, dt=DT)
    with pytest.raises(UnitError, match="csilif_neurons"):
        csilif_neurons(4, dt=4.0)
