"""What a network computes beside its tensors, and how two networks differ."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import neurosim as ns
from neurosim.models import LiquidNeurons
from neurosim.network.description import describe, differences
from neurosim.parallel import PSN
from neurosim.synapses import BatchNorm, Dropout

DT = 1e-3


def network(dt=DT, delay=2e-3, first=None, port_free=None, out=None, **neuron):
    return ns.Network(
        nodes={"input": ns.Input(4), "a": ns.LIF(dt=dt, **neuron), "out": out or ns.LI(dt=dt)},
        edges=[ns.Edge("input", "a", first or ns.Linear(4, 3)), ns.Edge("a", "out", ns.Linear(3, 2), delay=delay)],
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau_mem": 5e-3}, "nodes.a: tau_mem was 0.02, now it is 0.005"),
        ({"tau_mem": 20e-3 + 1e-12}, "nodes.a: tau_mem was 0.02"),
        ({"v_th": 2.0}, "nodes.a: v_th was 1.0, now it is 2.0"),
        ({"reset": "subtract"}, "nodes.a: reset was 'value', now it is 'subtract'"),
        ({"reset": None}, "nodes.a: reset was 'value', now it is None"),
        ({"detach_reset": False}, "nodes.a: detach_reset was True, now it is False"),
        ({"spike": ns.triangle()}, "nodes.a: spike was 'atan"),
        ({"spike": ns.atan(3.0)}, "nodes.a: spike was 'atan"),
        ({"dt": 2e-3}, "dt was 0.001, now it is 0.002"),
        ({"delay": 4e-3}, "edges was"),
        ({"out": ns.LIF(dt=DT)}, "nodes.out: core was 'leaky_integrator', now it is 'lif'"),
        ({"first": (ns.Linear(4, 3), Dropout(0.3))}, "synapses.input->a.1: it was not there, now it is Dropout"),
    ],
)
def test_what_differs_is_named(options, message):
    found = differences(describe(network()), describe(network(**options)))
    assert found and any(text.startswith(message) for text in found)


def test_what_trains_is_not_described():
    net = network(first=(ns.Linear(4, 3), BatchNorm(3)), size=3, learn=("tau_mem", "v_th"))
    before = describe(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)
    net(torch.rand(5, 2, 4))
    net.eval()
    assert differences(before, describe(net)) == []
    assert differences(before, describe(net.double())) == []


def test_constants_of_synapses_and_other_populations_are_described():
    def convolutional(stride, p, steps, beta):
        parts = (ns.Conv1d(1, 2, 3, stride=stride), PSN(steps, dt=DT), Dropout(p), ns.Flatten(), ns.Linear(8, 4))
        return ns.Sequential(ns.Input((1, 10)), *parts, LiquidNeurons(4, dt=DT, beta=beta), names=["a", "b"])

    first = describe(convolutional(2, 0.1, 7, 1.8))
    assert differences(first, describe(convolutional(2, 0.1, 7, 1.8))) == []
    assert any("p was 0.1" in text for text in differences(first, describe(convolutional(2, 0.2, 7, 1.8))))
    assert any("steps was 7" in text for text in differences(first, describe(convolutional(2, 0.1, 8, 1.8))))
    assert any("beta was 1.8" in text for text in differences(first, describe(convolutional(2, 0.1, 7, 2.0))))
    assert any(
        "stride" in text for text in differences(describe(ns.Conv1d(1, 2, 3)), describe(ns.Conv1d(1, 2, 3, stride=2)))
    )


def test_modules_around_a_network_are_described():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.drop, self.calls = network(), nn.Dropout(0.5), 0

    a, b = Counting(), Counting()
    b.calls = 7
    assert differences(describe(a), describe(b)) == []
    b.drop = nn.Dropout(0.2)
    assert any(text.startswith("drop: arguments was 'p=0.5") for text in differences(describe(a), describe(b)))
