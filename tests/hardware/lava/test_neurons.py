"""Neurons of every process that Lava has, exported, run and compared with the simulator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.hardware.lava import to_lava, verify
from neurosim.hardware.lava.exchange import Request
from neurosim.hardware.lava.populations import PROCESSES
from neurosim.hardware.lava.probes import VARIABLES
from neurosim.hardware.lava.runner import run_graph
from neurosim.hardware.lava.verification import compare
from tests.hardware.lava.test_export import DT, LIMIT, is_exact, scaled

pytest.importorskip("lava.magma")
STEPS = 60


def spiking(seed: int = 0) -> tuple[ns.Network, torch.Tensor]:
    """One population of each kind that spikes, all but the first behind biases and another population."""
    torch.manual_seed(seed)
    kinds = {
        "refractory": ns.layer(cores.refractory_lif)(dt=DT, tau_mem=8e-3, t_ref=3e-3),
        "ternary": ns.layer(cores.ternary_lif)(dt=DT, v_low=-0.6, v_th=torch.rand(9) * 0.5 + 0.5),
        "adaptive": ns.layer(cores.atrlif)(dt=DT, v_th=0.4, step=0.2, r=2.0),
        "oscillator": ns.layer(cores.resonate_and_fire)(dt=DT, f_osc=torch.rand(9) * 60 + 30.0, tau_mem=0.2, v_th=0.3),
        "resting": ns.layer(cores.cubalif_resting)(dt=DT, v_leak=torch.rand(9) - 0.2, r=3.0),
        "izhikevich": ns.layer(cores.resonate_and_fire_izhikevich)(dt=DT, f_osc=40.0, v_th=0.5, r=0.2),
    }
    nodes = {"x": ns.Input(12), "first": ns.LIF(dt=DT, r=3.0), **kinds, "last": ns.LIF(dt=DT, r=2.0)}
    edges = [ns.Edge("x", "first", ns.Linear(12, 15))]
    for name in kinds:
        edges += [ns.Edge("first", name, ns.Linear(15, 9, bias=True)), ns.Edge(name, "last", ns.Linear(9, 14))]
    return scaled(ns.Network(nodes, edges), 9.0), (torch.rand(STEPS, 1, 12) < 0.4).float()


def test_every_neuron_that_spikes_is_exact() -> None:
    net, x = spiking()
    graph = to_lava(net).graph
    assert {p.process for p in graph.populations} == {"LIF", "LIFRefractory", "TernaryLIF", "ATRLIF", "RF", "RF_IZ"}
    is_exact(verify(net, x, timeout=LIMIT), spikes=9)


def test_membranes_are_read_out() -> None:
    torch.manual_seed(0)
    net = ns.Sequential(
        ns.Linear(6, 10, bias=True), ns.LIF(dt=DT, r=6.0), ns.Linear(10, 4, bias=True), ns.LI(dt=DT), names=["a", "out"]
    )
    scaled(net, 5.0)
    x = (torch.rand(STEPS, 2, 6) < 0.4).float()
    result = verify(net, x, timeout=LIMIT)
    assert result.agrees
    assert [(node.name, node.spikes_lava > 50, node.largest < 1e-12) for node in result.nodes] == [
        ("a", True, True),
        ("out", False, True),
    ]
    export = to_lava(net)
    run = export.run(x, record=["out"], timeout=LIMIT)
    with torch.no_grad():
        wanted, _ = export.network(x.double())
    assert float(wanted.abs().max()) > 0.1
    np.testing.assert_allclose(run.outputs["out"], wanted.numpy(), rtol=0, atol=1e-12)


def changes(v_th: float, seed: int = 0) -> tuple[ns.Network, torch.Tensor]:
    """Encode by changes, two layers of sigma-delta neurons with biases of their own, decode."""
    torch.manual_seed(seed)
    make = dict(dt=DT, v_th=v_th)
    net = ns.Sequential(
        ns.Input((1, 4, 5)),
        ns.Flatten(),
        ns.layer(cores.delta)(**make),
        ns.Linear(20, 16),
        ns.layer(cores.sigma_delta)(bias=torch.rand(16) - 0.5, **make),
        ns.Linear(16, 12, bias=True),  # beside the neurons' own
        ns.layer(cores.sigma_delta_cumulative)(bias=0.2, **make),
        ns.Linear(12, 3),
        ns.layer(cores.sigma)(dt=DT),
        names=["delta", "a", "b", "sigma"],
    )
    scaled(net, 3.0)
    with torch.no_grad():
        net.edges[2].synapses[0].bias.mul_(0.02)
    return net, torch.randn(STEPS, 2, 1, 4, 5).cumsum(0) / 5


@pytest.mark.parametrize("v_th", [0.3, 0.0])
def test_sigma_delta_networks_are_exact(v_th: float) -> None:
    net, x = changes(v_th)
    result = verify(net, x, timeout=LIMIT)
    assert result.agrees, result.summary()
    assert all(node.spikes_lava > 300 and node.largest < 1e-12 for node in result.nodes)
    # Sent are fewer values the higher the threshold is.
    sent = result.nodes[1].spikes_lava / result.nodes[1].compared
    assert sent < 0.5 if v_th else sent > 0.6


def test_what_a_monitor_sees_is_what_the_core_compares() -> None:
    net, x = spiking()
    export = to_lava(net)
    wanted = {name: PROCESSES[neuron.core].compared for name, neuron in export.network.neurons().items()}
    with torch.no_grad():
        values = export.network.run(x.double(), None, [f"{n}.{local}" for n, local in wanted.items()]).recorded
    pairs = [(p.name, variable) for p in export.graph.populations for variable in VARIABLES[p.process][0]]
    done = run_graph(export.graph, Request({"x": x.numpy()}, (), tuple(pairs)), timeout=LIMIT)
    for population in export.graph.populations:
        variables, value = VARIABLES[population.process]
        seen = {variable: done.traces[population.name, variable][:, 0] for variable in variables}
        for step in range(STEPS):
            compared = values[f"{population.name}.{wanted[population.name]}"][step, 0].numpy()
            on_lava = value(population, seen, population.latency + step)
            np.testing.assert_allclose(on_lava, compared, rtol=0, atol=1e-12, err_msg=f"{population.name} {step}")


def test_the_first_difference_tells_what_meets_the_threshold() -> None:
    net, x = spiking()
    export = to_lava(net)
    right = export.graph.population("refractory")
    wrong = dataclasses.replace(right, arguments={**right.arguments, "vth": np.asarray(right.arguments["vth"] + 0.05)})
    populations = tuple(wrong if p.name == "refractory" else p for p in export.graph.populations)
    graph = dataclasses.replace(export.graph, populations=populations)
    found = compare(dataclasses.replace(export, graph=graph), net, x, timeout=LIMIT).first_difference
    assert found is not None
    assert (found.node, found.sent_simulator, found.sent_lava) == ("refractory", 1.0, 0.0)
    assert found.v_simulator == pytest.approx(found.v_lava, abs=1e-12)
    assert found.v_th == 1.0 < found.v_simulator <= 1.05


def test_the_first_difference_of_graded_neurons_tells_both_changes() -> None:
    net, x = changes(0.3)
    export = to_lava(net)
    once = [current for current in export.graph.bias_currents if current.target == "a"]
    assert [current.once for current in once] == [True]
    graph = dataclasses.replace(
        export.graph, bias_currents=tuple(c for c in export.graph.bias_currents if c not in once)
    )
    found = compare(dataclasses.replace(export, graph=graph), net, x, timeout=LIMIT).first_difference
    assert found is not None
    assert (found.node, found.step) == ("a", 0)
    assert abs(found.v_simulator - found.v_lava) > 0.01
    assert found.sent_simulator in (0.0, found.v_simulator)
