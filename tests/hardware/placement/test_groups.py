"""Placement on chips of one group of hidden neurons and one of output neurons."""

from __future__ import annotations

import json

import pytest
import torch

import neurosim as ns
from neurosim.errors import InputError
from neurosim.hardware.placement import place, place_groups
from neurosim.hardware.xylo import xylo_neurons

DT = 1e-3


def network(inputs: int, hidden: int, outputs: int) -> ns.Network:
    return ns.Sequential(
        ns.Linear(inputs, hidden), ns.CubaLIF(dt=DT), ns.Linear(hidden, outputs), ns.CubaLIF(dt=DT), names=["a", "b"]
    )


def test_a_small_network_fits_every_chip() -> None:
    for target in ("xylo_audio2", "xylo_imu", "xylo_audio3"):
        placement = place_groups(network(16, 100, 8), target)
        assert placement.fits and placement.heading().startswith("It fits: 100 of ")
        assert json.loads(placement.to_json())["fits"]


@pytest.mark.parametrize(
    ("net", "target", "limit", "needed", "allowed"),
    [
        ((17, 100, 8), "xylo_audio2", "inputs", 17, 16),
        ((16, 1001, 8), "xylo_audio2", "hidden_neurons", 1001, 1000),
        ((16, 100, 9), "xylo_audio2", "output_neurons", 9, 8),
        ((16, 497, 8), "xylo_imu", "hidden_neurons", 497, 496),
        ((16, 129, 8), "xylo_audio3", "neurons_with_input", 129, 128),
    ],
)
def test_each_limit_is_named_with_what_would_make_it_fit(
    net: tuple[int, int, int], target: str, limit: str, needed: int, allowed: int
) -> None:
    placement = place_groups(network(*net), target)
    assert not placement.fits
    misfit = next(each for each in placement.misfits if each.limit == limit)
    assert (misfit.needed, misfit.allowed) == (needed, allowed) and misfit.remedies
    assert "It does not fit" in placement.table() and f"would fit: {misfit.remedies[0]}" in placement.table()


def test_what_would_make_it_fit_does() -> None:
    nodes = {"in": ns.Input(16), "a": ns.CubaLIF(dt=DT), "b": ns.CubaLIF(dt=DT), "c": ns.CubaLIF(dt=DT)}
    nodes |= {"out": ns.CubaLIF(dt=DT)}
    edges = [
        ns.Edge("in", "a", ns.Linear(16, 128)),
        ns.Edge("a", "b", ns.Linear(128, 500)),
        ns.Edge("b", "c", ns.Linear(500, 128)),
        ns.Edge("c", "out", ns.Linear(128, 10)),
    ]
    placement = place_groups(ns.Network(nodes, edges, output="out"), "xylo_audio3")
    assert placement.fits and placement.use["hidden_neurons"] == 756


def test_weights_of_zero_reach_nothing_and_two_ports_are_two_currents() -> None:
    net = network(16, 200, 8)
    with torch.no_grad():
        net.edges[0].synapses[0].weight[100:] = 0.0
        net.edges[1].synapses[0].weight[:, 120:] = 0.0
    placement = place_groups(net, "xylo_audio3")
    assert (placement.use["neurons_with_input"], placement.use["neurons_to_outputs"]) == (100, 120)
    nodes = {"in": ns.Input(4), "a": xylo_neurons(dt=DT), "out": xylo_neurons(dt=DT, most=1)}
    edges = [
        ns.Edge("in", "a", ns.Linear(4, 5), port="i"),
        ns.Edge("a", "a", ns.Linear(5, 5), port="i2"),
        ns.Edge("a", "out", ns.Linear(5, 2), delay=DT, port="i"),
    ]
    two = ns.Network(nodes, edges, output="out")
    assert place_groups(two, "xylo_audio3").fits
    assert [misfit.limit for misfit in place_groups(two, "xylo_imu").misfits] == ["synaptic_currents"]


def test_chips_of_another_kind_are_refused_with_what_takes_them() -> None:
    with pytest.raises(InputError, match=r"place the network with place\(\)"):
        place_groups(network(4, 4, 2), "loihi1")
    with pytest.raises(InputError, match=r"takes place_groups\(\)"):
        place(network(4, 4, 2), "xylo_imu")
