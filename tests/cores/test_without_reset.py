"""Cores that NIR brings along: perfect and resting integrators, thresholds and relays without memory."""

from __future__ import annotations

import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.synapses import Identity, Scale


@pytest.mark.parametrize("core", [cores.threshold, cores.relay], ids=lambda core: core.name)
def test_without_state(core):
    layer, i = ns.layer(core)(dt=1e-3), torch.randn(40, 4, 5)
    z, state = layer(i)
    assert state == () and torch.equal(z[5:], layer(i[5:])[0])
    assert torch.equal(z, i if core is cores.relay else (i > 1.0).float())


def test_the_sum_of_a_current():
    assert ns.layer(cores.integrator)(r=0.5, dt=1e-3)(torch.ones(3, 1, 1))[0].flatten().tolist() == [0.5, 1.0, 1.5]


def test_a_resting_membrane_goes_to_its_potential_and_zero_is_the_plain_core():
    x = torch.randn(300, 2, 4) * 0.3
    rest, _ = ns.layer(cores.cuba_integrator_resting)(v_leak=-0.6, dt=1e-3)(torch.zeros(300, 1, 1))
    assert rest[-1].item() == pytest.approx(-0.6, rel=1e-5) and rest[0].item() > -0.04
    for with_rest, plain in (
        (cores.cuba_integrator_resting, cores.cuba_integrator),
        (cores.cubalif_resting, cores.cubalif),
    ):
        a, b = (ns.layer(core)(dt=1e-3, r=20.0)(x)[0] for core in (with_rest, plain))
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("neuron", [ns.layer(cores.relay), ns.layer(cores.threshold), ns.layer(cores.integrator)])
def test_in_a_network_behind_every_kind_of_edge(neuron):
    net = ns.Network(
        {"x": ns.Input(70), "n": neuron(dt=1e-3), "out": ns.LI(dt=1e-3)},
        [
            ns.Edge("x", "n", ns.Linear(70, 66, bias=True)),
            ns.Edge("n", "n", Scale(torch.rand(66) * 0.1)),
            ns.Edge("n", "out", Identity()),
            ns.Edge("n", "out", Scale(0.5), name="twice"),
        ],
    )
    x = (torch.rand(30, 2, 70) < 0.4).float()
    v, _, values, *_ = net.run(x, record=("n",))
    expected = ns.LI(dt=1e-3)(values["n"] * 1.5)[0]
    torch.testing.assert_close(v, expected)
    v.sum().backward()
    assert net.edges[0].synapses[0].weight.grad.any() or neuron.core is cores.threshold


def test_one_to_one_synapses():
    scale = Scale(torch.tensor([1.0, -2.0]), torch.tensor([0.0, 0.5]))
    assert scale(torch.ones(1, 1, 2)).tolist() == [[[1.0, -1.5]]]
    with pytest.raises(ns.NeurosimError, match=r"Scale: spikes must be \[T, B, 2\] as its weight is; got \[T, B, 3\]"):
        scale(torch.ones(1, 1, 3))
    with pytest.raises(ns.NeurosimError, match=r"as its bias is"):
        Scale(1.0, torch.ones(2))(torch.ones(1, 1, 3))
    assert Scale(2)(torch.ones(1, 1, 3, 4)).sum() == 24 and Identity()(torch.ones(1, 2, 3)).sum() == 6
