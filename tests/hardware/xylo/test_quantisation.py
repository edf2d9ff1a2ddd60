"""A trained network in Xylo's integers: exact where the grid allows it, bounded elsewhere, refused by name."""

from __future__ import annotations

import importlib.util

import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, InputError, NeurosimError, NothingCompared
from neurosim.hardware.quantise import fixed
from neurosim.hardware.xylo import dash_time_constant, evolve, quantise_xylo, to_xylo
from neurosim.hardware.xylo.mapping import chip_input
from neurosim.hardware.xylo.verification import compare
from neurosim.verdicts import verify_all

DT = 1e-3


def neurons(dash_mem: int = 4, dash_syn: int = 3, r: float = 4.0, **choices: object) -> ns.Neuron:
    taus = dict(tau_mem=dash_time_constant(dash_mem, DT), tau_syn=dash_time_constant(dash_syn, DT))
    return ns.CubaLIF(**{"dt": DT, "r": r, "reset": "subtract", **taus, **choices})


def network(**choices: object) -> ns.Network:
    torch.manual_seed(0)
    nodes = {"in": ns.Input(16), "hidden": neurons(**choices), "out": neurons()}
    edges = [
        ns.Edge("in", "hidden", ns.Linear(16, 20)),
        ns.Edge("hidden", "hidden", ns.Linear(20, 20)),
        ns.Edge("hidden", "out", ns.Linear(20, 4)),
    ]
    return ns.Network(nodes, edges, output="out")


@pytest.fixture
def x() -> torch.Tensor:
    return (torch.rand(80, 2, 16, generator=torch.Generator().manual_seed(1)) < 0.3).float()


def test_spikes_are_those_of_the_network_one_step_late_but_few(x: torch.Tensor) -> None:
    net = network()
    quantised = quantise_xylo(net, x)
    assert dict(quantised.latency) == {"hidden": 0, "out": 1}
    assert (quantised.choices["hidden"].dash_mem, quantised.choices["hidden"].dash_syn) == (4, 3)
    ours, theirs = (each.run(x, None, ["hidden", "out"]).recorded for each in (net, quantised.net))
    assert ours["hidden"].sum() > 80
    # A spike that moves by a step differs twice: the numbers of spikes agree better.
    assert abs(ours["hidden"].sum() - theirs["hidden"].sum()) < 0.05 * ours["hidden"].sum()
    late = (ours["out"][:-1] != theirs["out"][1:]).sum()
    assert late < (ours["out"] != theirs["out"]).sum()
    assert all(choice.mismatch < 0.3 for choice in quantised.choices.values())
    assert "hidden" in quantised.summary()


def test_the_integer_network_is_a_configuration_and_computes_what_it_does(x: torch.Tensor) -> None:
    net = quantise_xylo(network(), x).net
    export = to_xylo(net)
    result = compare(net, export, x, evolve(export.configuration, chip_input(net, export, x)))
    assert result.agrees and result.order_matters == 0


def test_a_time_constant_between_two_dashes_is_searched(x: torch.Tensor) -> None:
    choice = quantise_xylo(network(tau_mem=11e-3), x).choices["hidden"]
    assert choice.dash_mem in (3, 4) and choice.tried > 20
    several = torch.linspace(8e-3, 30e-3, 20)
    dashes = quantise_xylo(network(tau_mem=several), x).choices["hidden"].dash_mem
    assert isinstance(dashes, torch.Tensor) and dashes.shape == (20,) and dashes[-1] > dashes[0]


def test_synaptic_time_constants_of_each_neuron_scale_its_own_weights(x: torch.Tensor) -> None:
    taus = torch.tensor([dash_time_constant(1, DT)] * 10 + [dash_time_constant(4, DT)] * 10, dtype=torch.float64)
    net = network(tau_syn=taus)
    quantised = quantise_xylo(net, x)
    choice = quantised.choices["hidden"]
    assert isinstance(choice.dash_syn, torch.Tensor) and choice.dash_syn.tolist() == [1] * 10 + [4] * 10
    gain = 4.0 * 2.0**-4 * choice.scale  # (1 - alpha_mem) r
    expected = net.edges[0].synapses[0].weight * gain / (1.0 - 2.0**-choice.dash_syn)[:, None]
    found = quantised.net.edges[0].synapses[0].weight
    assert (found - expected).abs().max() <= 0.5 * 2 ** choice.shifts["in->hidden"] + 1e-3


def test_training_on_the_grid_changes_the_integers_and_keeps_them_integers(x: torch.Tensor) -> None:
    on_grid = quantise_xylo(network(), x, trained=True).net
    before = fixed(on_grid)
    plain = quantise_xylo(network(), x).net
    assert torch.equal(before(x)[0], plain(x)[0]), "nothing was trained yet"
    optimizer = torch.optim.SGD(on_grid.parameters(), lr=0.5)
    z, _ = on_grid(x)
    (z.sum(0) - 20.0).square().mean().backward()
    gradients = [p.grad for p in on_grid.parameters()]
    assert len(gradients) == 3 and all(g is not None and g.abs().sum() > 0 for g in gradients)
    optimizer.step()
    after = fixed(on_grid)
    assert torch.equal(after(x)[0], on_grid(x)[0].detach())
    assert not torch.equal(after.edges[0].synapses[0].weight, before.edges[0].synapses[0].weight)
    to_xylo(after)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (ns.Sequential(ns.Linear(16, 4), ns.LIF(dt=DT), names=["out"]), "node 'out': its model is 'lif'.*use CubaLIF"),
        (ns.Sequential(ns.Linear(16, 4), ns.CubaLIF(dt=DT), names=["out"]), "the chip subtracts its threshold"),
        (ns.Sequential(ns.Linear(16, 4, bias=True), neurons(), names=["out"]), "train without bias"),
        (ns.Sequential(ns.Linear(16, 4), neurons(reset_amount=0.5), names=["out"]), "with a reset_amount"),
    ],
)
def test_what_the_chip_has_not_is_refused_by_name(net: ns.Network, message: str, x: torch.Tensor) -> None:
    with torch.no_grad():
        for synapse in net.synapses.modules():
            if isinstance(synapse, ns.Linear) and synapse.bias is not None:
                synapse.bias.fill_(0.5)
    with pytest.raises(ExportError, match=f"Xylo cannot hold this network:(.|\n)*{message}"):
        quantise_xylo(net, x)


def test_paths_of_different_lengths_are_refused(x: torch.Tensor) -> None:
    def chain(delay: float) -> ns.Network:
        nodes = {"in": ns.Input(16), "a": neurons(), "b": neurons(), "out": neurons()}
        edges = [
            ns.Edge("in", "a", ns.Linear(16, 5)),
            ns.Edge("a", "b", ns.Linear(5, 5), delay=delay),
            ns.Edge("a", "out", ns.Linear(5, 2), delay=delay),
            ns.Edge("b", "out", ns.Linear(5, 2), delay=delay),
        ]
        return ns.Network(nodes, edges, output="out")

    with pytest.raises(ExportError, match="meet those of other paths 1 steps"):
        quantise_xylo(chain(0.0), x)
    with pytest.warns(NothingCompared):
        assert dict(quantise_xylo(chain(DT), 0 * x).latency) == {"a": 0, "b": 0, "out": 0}


def test_data_that_are_no_spikes_are_refused(x: torch.Tensor) -> None:
    with pytest.raises(InputError, match="must be spikes or integers"):
        quantise_xylo(network(), x + 0.5)
    for wrong in (-1.0, 16.0):
        with pytest.raises(InputError, match=f"numbers of spikes from 0 to 15.*; got {wrong:g}"):
            quantise_xylo(network(), torch.where(x > 0, wrong, 0.0))
    with pytest.raises(InputError, match=r"x for 'in' is empty, \[0, 2, 16\]"):
        quantise_xylo(network(), x[:0])
    with pytest.raises(InputError, match=r"must be in floating point; got torch\.bool"):
        quantise_xylo(network(), x.bool())


def test_a_threshold_is_what_the_scale_makes_of_it(x: torch.Tensor) -> None:
    """A scale at which the threshold leaves its 16 bits would shorten the weights alone."""
    net = network()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 1e-6
    with pytest.warns(NothingCompared):
        quantised = quantise_xylo(net, x)
    for name, choice in quantised.choices.items():
        assert abs(quantised.net.neurons()[name].value("v_th") - choice.scale) <= 0.5


@pytest.mark.parametrize(("dash", "dt"), [(0, DT), (16, DT), (2.5, DT), (True, DT), ("3", DT), (3, 0.0), (3, -DT)])
def test_a_wrong_dash_or_step_is_refused(dash: int, dt: float) -> None:
    with pytest.raises(NeurosimError, match=r"dash must be an integer from 1 to 15; got|dt must be a number in \(0"):
        dash_time_constant(dash, dt)


@pytest.mark.skipif(importlib.util.find_spec("xylosim") is None, reason="xylosim is not installed")
def test_the_verdict_is_bounded_for_a_trained_network_and_exact_for_its_integers(x: torch.Tensor) -> None:
    net = network()
    verdict = verify_all(net, x, targets=["xylo"])["xylo"]
    assert verdict.outcome == "bounded" and verdict.differing == 0 and verdict.judge.startswith("xylosim")
    assert verdict.bound is not None and 0.0 < verdict.bound < 0.1
    assert verify_all(quantise_xylo(net, x).net, x, targets=["xylo"])["xylo"].outcome == "exact"
