"""Plasticity of inhibitory synapses against its closed form, and the balance that it brings about."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.circuit import Poisson
from neurosim.errors import InputError
from neurosim.plasticity import InhibitorySTDP
from neurosim.synapses.connectivity import AllToAll, OneToOne


def train(step: int, length: int = 200) -> torch.Tensor:
    spikes = torch.zeros(length, 1, 1, dtype=torch.float64)
    spikes[step] = 1.0
    return spikes


@pytest.mark.parametrize("bounds", [(-1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("later", [-60, -5, -1, 0, 1, 5, 60])
def test_one_pair_strengthens_by_the_symmetric_window_less_the_cost_of_a_presynaptic_spike(later, bounds):
    low, high = bounds
    rule = InhibitorySTDP(low, high, rate=0.01, target=8.0, tau=25e-3, coincident=True)
    factors, _ = rule.factors(train(80), train(80 + later), 1e-3)
    change = float(rule.change(torch.tensor([[(low + high) / 2]], dtype=torch.float64), factors))
    pair = math.exp(-abs(later) / 25) * (2 if later == 0 else 1)  # a tie counts on both sides
    strength = change if high else -change
    assert strength == pytest.approx(0.01 * (pair - 2 * 8.0 * 25e-3), abs=1e-15)


def test_a_tie_is_no_pair_where_spikes_of_a_step_are_none():
    rule = InhibitorySTDP(rate=0.01, coincident=False)
    factors, _ = rule.factors(train(80), train(80), 1e-3)
    change = float(rule.change(torch.tensor([[0.5]], dtype=torch.float64), factors))
    assert change == pytest.approx(-0.01 * rule.alpha, abs=1e-15)


def test_the_mean_change_of_independent_spikes_is_zero_at_the_target_rate():
    generator = torch.Generator().manual_seed(1)
    rule, w = InhibitorySTDP(rate=1.0, target=10.0), torch.zeros(20, 20, dtype=torch.float64)
    for rate in (5.0, 10.0, 20.0):
        pre, post = ((torch.rand(1500, 8, 20, generator=generator) < r * 1e-3).double() for r in (10.0, rate))
        factors, _ = rule.factors(pre, post, 1e-3)
        found = float(rule.change(w, factors).mean())
        spikes, mean = float(pre.mean(1).sum() / 20), float(post.mean())
        wanted = spikes * (2 * mean / (1 - math.exp(-1 / 20)) - 2 * 10.0 * 0.02)  # of the trace on the grid
        assert found == pytest.approx(wanted, abs=0.03 * spikes)
        assert wanted / spikes == pytest.approx(0.4 * (rate / 10.0 - 1), abs=0.05)


def test_excitatory_neurons_with_different_drive_come_to_the_target_rate():
    # Vogels et al. 2011, figure 1: inhibition grows until each neuron fires at the target rate.
    drive, target = np.linspace(150.0, 400.0, 10), 10.0
    net = ns.Network(
        {"drive": Poisson(drive, 10), "I": Poisson(20.0, 200), "E": ns.LIF(size=10, tau_mem=20e-3)},
        [
            ns.Edge("drive", "E", ns.Drawn(OneToOne(), weight=8.0)),
            ns.Edge("I", "E", ns.Drawn(AllToAll(), weight=-0.03125), delay=1e-3),
        ],
        dt=1e-3,
    )
    rule = InhibitorySTDP(-8.0, 0.0, rate=0.005, target=target)
    early = ns.simulate(net, seconds=2.0, seed=1, plasticity={"I->E": InhibitorySTDP(-8.0, 0.0, rate=1e-9)})
    run = ns.simulate(net, seconds=60.0, seed=1, plasticity={"I->E": rule})
    before, after = (
        np.bincount(events.neuron[events.step >= start], minlength=10) / (events.T - start) * 1e3
        for events, start in ((early.spikes["E"], 0), (run.spikes["E"], 30_000))
    )
    assert before.min() > 1.5 * target and before.max() > 1.8 * before.min()
    # Inhibitory spikes delay the next ones, so that a few more are needed.
    assert after.mean() == pytest.approx(target, rel=0.04)
    assert np.abs(after / target - 1).max() < 0.15
    strength = -run.state.plastic["I->E"].weight.view(200, 10).mean(0)
    assert torch.equal(strength.argsort(), torch.arange(10))  # more drive, more inhibition


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(w_min=-1.0), "one side of 0"),
        (dict(mu=1.0), "mu must be 0"),
        (dict(target=0.0), "target must be a number above 0"),
        (dict(rate=-1.0), "rate must be a number above 0"),
    ],
)
def test_impossible_numbers_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        InhibitorySTDP(**arguments)
