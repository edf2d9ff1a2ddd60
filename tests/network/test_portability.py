"""What exporters say of several input ports and of values for each trial: handled, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import neurosim as ns
from neurosim import cores
from neurosim.energy import count_operations
from neurosim.errors import ExportError, NeurosimError
from neurosim.hardware.lava import to_lava
from neurosim.hardware.loihi import describe, loihi_neurons
from neurosim.hardware.placement import place
from neurosim.network.portability import several_ports, values_per_trial
from tests.user_cores import coba


def with_ports() -> ns.Network:
    edges = [
        ns.Edge("x", "cells", ns.Linear(6, 4), port="ge"),
        ns.Edge("x", "cells", ns.Linear(6, 4), port="gi"),
        ns.Edge("cells", "out", ns.Linear(4, 2)),
    ]
    return ns.Network({"x": ns.Input(6), "cells": ns.layer(coba)(dt=1e-3), "out": ns.LIF(dt=1e-3)}, edges)


def with_trials(learn: tuple[str, ...] = (), make: Any = ns.LIF, **values: Any) -> ns.Network:
    choices = values or {"tau_mem": torch.tensor([[10e-3], [20e-3], [30e-3]])}
    if learn:
        choices["learn"] = learn
    return ns.Sequential(ns.Linear(6, 4), make(dt=1e-3, **choices), names=("cells",))


def nir(net: ns.Network) -> Any:
    pytest.importorskip("nir")
    from neurosim.exchange.nir import to_nir

    return to_nir(net)


def snntorch(net: ns.Network) -> Any:
    from neurosim.exchange.peers.to_torch import stages

    return stages(net, "snnTorch")


def quantised(net: ns.Network) -> Any:
    from neurosim.hardware.quantise import quantise

    return quantise(net, torch.zeros(5, 3, 6))


def netx(net: ns.Network) -> Any:
    pytest.importorskip("h5py")
    from neurosim.hardware.netx import write_netx

    return write_netx(net, "never.net")


TARGETS: dict[str, Callable[[ns.Network], Any]] = {
    "lava": to_lava,
    "loihi": describe,
    "quantise": quantised,
    "netx": netx,
    "nir": nir,
    "peers": snntorch,
}


@pytest.mark.parametrize("target", TARGETS)
def test_several_ports_are_refused_by_name(target):
    message = r"node 'cells': its core 'coba' has the input ports \['ge', 'gi'\], a neuron there has one input; use a"
    with pytest.raises(NeurosimError, match=message):
        TARGETS[target](with_ports())


@pytest.mark.parametrize("learn", [(), ("tau_mem",)], ids=str)
@pytest.mark.parametrize("target", [*TARGETS, "placement"])
def test_values_of_trials_are_refused_by_name(target, learn):
    export = TARGETS.get(target, lambda net: place(net, "loihi2"))
    message = r"node 'cells': tau_mem of shape \[3, 1\] has a value for each trial of a batch; make the layer with"
    with pytest.raises(NeurosimError, match=message):
        export(with_trials(learn))


@pytest.mark.parametrize("target", ["lava", "loihi", "netx"])
def test_values_of_trials_of_integer_neurons_are_refused_by_name(target):
    net = with_trials(make=loihi_neurons, v_th=torch.tensor([[80.0], [90.0]]))
    with pytest.raises(ExportError, match=r"node 'cells': v_th of shape \[2, 1\] has a value for each trial"):
        TARGETS[target](net)
    graded = with_trials(make=ns.layer(cores.graded), v_th=torch.tensor([[80.0], [90.0]]))
    with pytest.raises(ExportError, match=r"node 'cells': v_th of shape \[2, 1\] has a value for each trial"):
        to_lava(graded)


def test_values_of_each_neuron_are_no_values_of_trials():
    net = ns.Sequential(ns.Linear(6, 4), ns.LIF(dt=1e-3, tau_mem=torch.full((4,), 0.01)), names=("cells",))
    assert values_per_trial(net) == several_ports(net) == []
    assert place(net, "loihi2").fits


def test_placement_and_operations_take_any_core():
    net = with_ports()
    placement = place(net, "loihi2")
    assert placement.fits and {population.name for population in placement.populations} == {"cells", "out"}
    x = (torch.rand(20, 3, 6) < 0.3).float()
    counts = count_operations(net, x)
    cells = counts.nodes[0]
    assert (cells.kind, cells.states, cells.additions) == ("coba", 3, net.nodes["cells"].operations().add)
    assert {edge.name for edge in counts.synapses} == {"x->cells:ge", "x->cells:gi", "cells->out"}


def test_operations_are_counted_over_the_trials_of_a_sweep():
    net = with_trials(v_th=torch.tensor([[0.5], [1.0], [1e3]]))
    x = (torch.rand(40, 3, 6) < 0.5).float()
    with torch.no_grad():
        net.edges[0].synapses[0].weight.fill_(5.0)
    assert count_operations(net, x).nodes[0].spikes == int(net(x)[0].sum()) > 0
