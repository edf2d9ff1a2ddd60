"""Neurons reach the rate they are to hold, whatever drives them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.errors import InputError, ShapeError, UnitError
from neurosim.plasticity.homeostasis import SynapticScaling, ThresholdHomeostasis

GAINS = torch.tensor([1.5, 3.0, 6.0])  # a range of 4


def network() -> tuple[ns.Network, Tensor]:
    """Return three neurons, each driven through one weight, and the weights."""
    synapse = ns.Linear(3, 3)
    with torch.no_grad():
        synapse.weight.copy_(torch.diag(GAINS))
    return ns.Sequential(synapse, ns.LIF(v_th=torch.ones(3), dt=1e-3), names=("out",)), synapse.weight


@pytest.mark.parametrize(("rule", "rate"), [(ThresholdHomeostasis, 5e-3), (SynapticScaling, 2e-3)])
def test_the_rate_converges_to_its_target_over_a_fourfold_range_of_drive(rule, rate):
    net, _ = network()
    homeostasis, state = rule(net, {"out": 20.0}, rate=rate, tau=1.0), None
    first = None
    for _ in range(400):
        z, state = net(torch.ones(500, 1, 3), state if state is None else state.detach())
        z = z.detach()
        homeostasis.learn({"out": z})
        first = z.mean((0, 1)) / 1e-3 if first is None else first
    assert float(first.max() / first.min()) > 3
    settled = net(torch.ones(5000, 1, 3), state)[0].detach().mean((0, 1)) / 1e-3
    torch.testing.assert_close(settled, torch.full((3,), 20.0), rtol=0.03, atol=0)


def test_the_steps_are_those_of_the_equations():
    net, weight = network()
    by_threshold = ThresholdHomeostasis(net, {"out": 100.0}, rate=1e-3, tau=0.2, lowest=0.5)
    by_weight = SynapticScaling(net, {"out": 100.0}, rate=1e-3, tau=0.2)
    seen = torch.zeros(10, 2, 3)
    seen[:4, 0, 0], seen[:, :, 1] = 1.0, 1.0  # 200 Hz in the mean over samples, 1000 Hz, silence
    for rule in (by_threshold, by_weight):
        rule.learn({"out": seen})
        torch.testing.assert_close(rule.rates["out"], torch.tensor([200.0, 1000.0, 0.0]))
    threshold = net.neurons()["out"].value("v_th")
    torch.testing.assert_close(threshold, torch.tensor([1.1, 1.9, 0.9]))
    torch.testing.assert_close(weight.diag(), GAINS * torch.tensor([0.9, 0.1, 1.1]))
    by_threshold.learn({"out": torch.zeros(10, 2, 3)})
    kept = torch.exp(torch.tensor(-10e-3 / 0.2))
    torch.testing.assert_close(by_threshold.rates["out"], kept * torch.tensor([200.0, 1000.0, 0.0]))
    torch.testing.assert_close(threshold[2], torch.tensor(0.8))


def test_a_threshold_and_a_factor_have_a_lowest_value():
    net, weight = network()
    ThresholdHomeostasis(net, {"out": 900.0}, rate=1.0, lowest=0.5).learn({"out": torch.zeros(5, 1, 3)})
    assert net.neurons()["out"].value("v_th").tolist() == [0.5] * 3
    SynapticScaling(net, {"out": 1.0}, rate=1.0).learn({"out": torch.ones(5, 1, 3)})
    assert weight.abs().max() == 0


def test_unsupported_values_are_refused():
    net, _ = network()
    shared = ns.Sequential(ns.Linear(3, 3), ns.LIF(dt=1e-3), names=("out",))
    with pytest.raises(InputError, match=r"'out' share one threshold or have none; use v_th=torch.ones\(3\)"):
        ThresholdHomeostasis(shared, {"out": 20.0}, rate=1e-3)
    with pytest.raises(InputError, match=r"'in' is not a spiking population; this network has \['out'\]"):
        ThresholdHomeostasis(net, {"in": 20.0}, rate=1e-3)
    with pytest.raises(InputError, match="between 0 and 1000 Hz"):
        ThresholdHomeostasis(net, {"out": 2000.0}, rate=1e-3)
    with pytest.raises(InputError, match="rate must be a number above 0"):
        SynapticScaling(net, {"out": 20.0}, rate=-1.0)
    with pytest.raises(UnitError, match="tau"):
        SynapticScaling(net, {"out": 20.0}, rate=1e-3, tau=0.0)
    with pytest.raises(InputError, match=r"edges must name one edge onto 'out', of \['input->out'\]; got 'x'"):
        SynapticScaling(net, {"out": 20.0}, rate=1e-3, edges={"out": "x"})
    with pytest.raises(InputError, match=r"'input->out': plastic synapses must be one .*; got Linear, Flatten"):
        two = ns.Sequential(ns.Linear(3, 3), ns.Flatten(), ns.LIF(dt=1e-3), names=("out",))
        SynapticScaling(two, {"out": 20.0}, rate=1e-3)
    rule = SynapticScaling(net, {"out": 20.0}, rate=1e-3)
    with pytest.raises(InputError, match="the spikes of 'out' are needed"):
        rule.learn({})
    with pytest.raises(ShapeError, match=r"must be \[T, B, 3\]; got \[3\]"):
        rule.learn({"out": torch.zeros(3)})
