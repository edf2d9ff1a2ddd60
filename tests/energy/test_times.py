"""Traffic and times of placed networks, against numbers computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import neurosim as ns
from neurosim.energy import LatencyReport, chip_latency, count_operations, count_traffic, energy
from neurosim.errors import FileError, InputError
from neurosim.hardware import Target, load_target
from neurosim.hardware.placement import place
from neurosim.network import Network

# Two neurons a core, one core a tile, two tiles a row; each time has a decade of its own, in ns.
CHIP = """
name = "mine"
title = "My chip"
kind = "chip"
summary = "A chip for tests."
spikes = "binary"
energy_not_public = "it does not exist"

[limits]
cores = {value = 4, unit = "1", source = "invented for a test"}
neurons_per_core = {value = 2, unit = "1", source = "invented for a test"}

[mesh]
columns = {value = 2, unit = "1", source = "invented for a test"}
barrier_tiles = {value = [1, 4], unit = "1", source = "invented for a test"}

[time]
synaptic_operation = {value = 1, unit = "ns", source = "invented for a test"}
neuron_update = {value = 10, unit = "ns", source = "invented for a test"}
spike = {value = 100, unit = "ns", source = "invented for a test"}
message_out = {value = 1, unit = "us", source = "invented for a test"}
message_in = {value = 10, unit = "us", source = "invented for a test"}
hop_within_tile = {value = 7, unit = "ns", source = "invented for a test"}
hop_east_west = {value = 30, unit = "ns", source = "invented for a test"}
hop_north_south = {value = 50, unit = "ns", source = "invented for a test"}
barrier = {value = [1, 3], unit = "us", source = "invented for a test"}
"""
NS = 1e-9
DATA = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]])  # input 0 fires, then both


def chip(folder: Path, text: str = CHIP) -> Target:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_target(path)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return chip(tmp_path_factory.mktemp("chip"))


def two_layers() -> Network:
    """Input 0 fires a0 and a1, input 1 fires a2 and a3; b0 has a synapse from each of them, b1 from a0 only."""
    net = ns.Sequential(
        ns.Linear(2, 4), ns.LIF(dt=1e-3), ns.Linear(4, 2), ns.LIF(dt=1e-3, reset="value"), names=("a", "b")
    )
    first, second = (edge.synapses[0].get_parameter("weight") for edge in net.edges)
    with torch.no_grad():
        first.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]) * 1000)
        second.copy_(torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]]) * 1000)
    return net


def column(net: Network, x: Tensor, target: Target):
    (found,) = chip_latency(net, x, target).columns
    return found


def test_traffic_by_step_and_core(mine: Target) -> None:
    net = two_layers()
    traffic = count_traffic(net, DATA, place(net, mine))
    assert traffic.steps == 4 and traffic.samples == 1 and traffic.data_steps == 2
    assert traffic.updates.tolist() == [2, 2, 2]
    assert traffic.spikes[:, 0].tolist() == [[0, 0, 0], [2, 0, 0], [2, 2, 2], [0, 0, 2]]
    assert traffic.sent[:, 0].tolist() == [[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 0, 0]]
    assert traffic.received[:, 0].tolist() == [[1, 0, 0], [1, 1, 2], [0, 0, 4], [0, 0, 0]]
    assert traffic.events[:, 0].tolist() == [[2, 0, 0], [2, 2, 3], [0, 0, 5], [0, 0, 0]]
    # Tiles at (0, 0), (1, 0) and, in the row that is numbered backwards, (1, 1).
    assert traffic.routes.tolist() == [[0, 2], [1, 2]]
    assert traffic.messages == {"a": 6, "b": 0}
    assert traffic.hops == {"a": (4 * 1, 4 * 1 + 2 * 1), "b": (0, 0)}


def test_times_by_hand(mine: Target) -> None:
    found = column(two_layers(), DATA, mine)
    assert found.steps == 4 and not found.refused and not found.unknown
    busy = (10_002, 20_003, 40_005, 220)
    assert found.least == pytest.approx((sum(busy) + 4 * 1_000) * NS)
    both = (20 + 10_002, 2_220 + 20_003, 2_220 + 40_005, 220)
    way, barrier = 7 + 30 + 50, 3_000
    assert found.most == pytest.approx((sum(both) + 4 * (way + barrier)) * NS)
    assert found.longest_step == pytest.approx((both[2] + way + barrier) * NS)
    expected = {"neuron updates": 20, "spikes": 200, "messages sent": 0, "messages received": 70_000}
    assert found.parts == pytest.approx(
        {name: t * NS for name, t in expected.items()} | {"synapses": 10 * NS, "barrier": 4e-6}
    )
    assert sum(found.parts.values()) == pytest.approx(found.least)
    assert (found.core, found.population, found.share) == (2, "b", 0.75)
    assert found.dominant == "messages received"


def test_times_are_means_over_the_samples(mine: Target) -> None:
    net = two_layers()
    silent = torch.zeros_like(DATA)
    apart = [column(net, x, mine) for x in (DATA, silent)]
    both = column(net, torch.cat((DATA, silent), 1), mine)
    for name in ("least", "most"):
        assert getattr(both, name) == pytest.approx(sum(getattr(one, name) for one in apart) / 2)
    assert both.longest_step == apart[0].longest_step
    assert apart[1].least == pytest.approx(4 * (20 + 1_000) * NS)


def test_counts_do_not_depend_on_the_chunk(mine: Target) -> None:
    net = two_layers()
    placement = place(net, mine)
    whole, parts = (count_traffic(net, DATA, placement, chunk=chunk) for chunk in (None, 1))
    assert whole.hops == parts.hops and whole.messages == parts.messages
    for name in ("spikes", "sent", "received", "events"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_events_are_the_effective_operations(kind: str) -> None:
    if kind == "linear":
        net = ns.Sequential(ns.Linear(30, 40), ns.LIF(dt=1e-3), ns.Linear(40, 5), ns.LIF(dt=1e-3), names=("a", "b"))
        x = (torch.rand(6, 2, 30) < 0.3).float()
    else:
        net = ns.Sequential(
            ns.Input((2, 9, 9)),
            ns.Conv2d(2, 4, 3, stride=2, padding=1),
            ns.LIF(dt=1e-3),
            ns.Conv2d(4, 3, 3),
            ns.LIF(dt=1e-3),
            names=("a", "b"),
        )
        x = (torch.rand(4, 2, 2, 9, 9) < 0.3).float()
    with torch.no_grad():
        for edge in net.edges:
            edge.synapses[0].get_parameter("weight").mul_(20)
    traffic = count_traffic(net, x, place(net, "loihi1"))
    operations = count_operations(net, x)
    assert operations.nodes[0].spikes > 0
    assert traffic.events.sum() == operations.accumulates
    assert traffic.spikes.sum() == operations.spikes
    assert (
        traffic.sent.sum()
        == traffic.received.sum() - sum(s.events for s in operations.synapses[:1] if kind == "linear")
        or kind == "convolution"
    )


def test_hops_are_those_of_the_placement_where_all_neurons_fire() -> None:
    net = ns.Sequential(ns.Linear(2, 3000), ns.LIF(dt=1e-3), ns.Linear(3000, 40), ns.LIF(dt=1e-3), names=("a", "b"))
    with torch.no_grad():
        net.edges[0].synapses[0].get_parameter("weight").fill_(1000.0)
    placement = place(net, "loihi1")
    traffic = count_traffic(net, torch.ones(2, 1, 2), placement)
    x, y, _ = placement.hops["a"]
    assert traffic.hops["a"] == pytest.approx((2 * 3000 * x, 2 * 3000 * y))
    assert sum(traffic.hops["a"]) > 0


def test_a_loop_takes_the_step_of_its_delay(mine: Target) -> None:
    nodes = {"x": ns.Input(2), "a": ns.LIF(dt=1e-3)}
    loop = lambda delay: Network(  # noqa: E731
        nodes, [ns.Edge("x", "a", ns.Linear(2, 2)), ns.Edge("a", "a", ns.Linear(2, 2), delay=delay)]
    )
    net = loop(1e-3)
    assert count_traffic(net, DATA, place(net, mine)).steps == 3


def test_a_cycle_that_is_too_fast_is_refused(mine: Target) -> None:
    nodes = {"x": ns.Input(2), "a": ns.LIF(dt=1e-3), "b": ns.LIF(dt=1e-3)}
    edges = [
        ns.Edge("x", "a", ns.Linear(2, 2)),
        ns.Edge("a", "b", ns.Linear(2, 2)),
        ns.Edge("b", "a", ns.Linear(2, 2), delay=1e-3),
    ]
    net = Network(nodes, edges, output="b")
    found = column(net, DATA, mine).refused
    assert found.startswith("cycle ") and "its delays are 1 step(s) in all, but its 2 connections" in found
    with pytest.raises(InputError, match="Give its edges longer delays"):
        count_traffic(net, DATA, place(net, mine))


def test_what_a_file_does_not_state_is_unknown() -> None:
    report = chip_latency(two_layers(), DATA, ("loihi1", "loihi1_board"))
    assert report["loihi1"].unknown == ("spike", "message_out", "message_in")
    assert report["loihi1_board"].unknown == ("hop_within_tile",)
    assert "loihi1 states no time of spike, message_out, message_in: counted as 0." in str(report)


def test_targets_without_times_are_refused_with_the_reason() -> None:
    wide = ns.Sequential(ns.Linear(300, 2), ns.LIF(dt=1e-3), names=("out",))
    report = chip_latency(wide, torch.ones(2, 1, 300), ("loihi2", "truenorth", "horowitz45", "xylo_imu", "spinnaker"))
    assert "Intel has published no time per operation" in report["loihi2"].refused
    assert report["truenorth"].refused.startswith("the network does not fit: a fan-in of 300")
    assert report["horowitz45"].refused == "horowitz45.toml states no time of an operation."
    assert "no published time was found" in report["xylo_imu"].refused
    assert report["spinnaker"].least == report["spinnaker"].most == pytest.approx(3e-3)
    held = json.loads(report.to_json())["targets"]
    assert held["loihi2"]["least_s"] is None and held["loihi2"]["refused"]
    assert held["spinnaker"]["sources"]["step"]["value"] == pytest.approx(1e-3)


def test_graded_values_on_a_chip_of_binary_spikes_are_named(mine: Target) -> None:
    net = two_layers()
    spikes, graded = chip_latency(net, DATA, mine), chip_latency(net, DATA / 2, mine)
    assert spikes["mine"].graded == () and graded["mine"].graded == ("input",)
    assert "mine: input sends graded values, which the spikes of this target cannot be" in str(graded)
    assert graded["mine"].least == spikes["mine"].least


def test_several_chips_have_no_time(tmp_path: Path) -> None:
    target = chip(tmp_path, CHIP.replace("cores = {value = 4", "cores = {value = 2"))
    net = two_layers()
    traffic = count_traffic(net, DATA, place(net, target, chips=2))
    assert traffic.hops["a"] == (0, 0), "tiles of different chips have no distance"
    (found,) = chip_latency(net, DATA, target, [traffic]).columns
    assert found.refused == "2 chips are needed, and no time between chips is stated."


def test_the_traffic_of_another_run_is_refused(mine: Target) -> None:
    net, small = two_layers(), ns.Sequential(ns.Linear(2, 4), ns.LIF(dt=1e-3), names=("a",))
    traffic = count_traffic(small, DATA, place(small, mine))
    with pytest.raises(InputError, match="the traffic on mine is of another network or run"):
        chip_latency(net, DATA, mine, [traffic])
    with pytest.raises(InputError, match="the traffic on mine is of another network or run"):
        chip_latency(small, DATA[:1], mine, [traffic])
    with pytest.raises(InputError, match=r"the traffic on mine is of \{'a': 4\}, the counts are of"):
        energy(count_operations(net, DATA), "loihi1", [traffic])
    with pytest.raises(InputError, match="is of 1 samples of 2 steps, the counts are of 1 of 1"):
        energy(count_operations(small, DATA[:1]), "loihi1", [traffic])
    with pytest.raises(InputError, match="the placement on mine is of"):
        count_traffic(net, DATA, traffic.placement)
    wide = ns.Sequential(ns.Linear(2, 40), ns.LIF(dt=1e-3), names=("a",))
    with pytest.raises(InputError, match="does not fit mine"):
        count_traffic(wide, DATA, place(wide, mine))


def test_the_table_is_aligned_and_the_columns_found_by_name(mine: Target) -> None:
    report = chip_latency(two_layers(), DATA, (mine, "loihi2"))
    lines = report.table().splitlines()
    assert lines[1].split()[:3] == ["target", "per", "inference"]
    assert "74.2 µs to 87 µs" in lines[3] and "2 (b), 75% of steps" in lines[3] and "messages received, 94%" in lines[3]
    assert "barriers" in lines[1] and "4 µs" in lines[3]
    assert "refused" in lines[4]
    with pytest.raises(InputError, match="no column 'other' in this report"):
        report["other"]
    assert isinstance(report, LatencyReport)


@pytest.mark.parametrize("targets", [(), ("loihi1", "loihi1")])
def test_targets_are_given_once_each(targets: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="at least one target and each once"):
        chip_latency(two_layers(), DATA, targets)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("neuron_update = {value = 10", "neuron_update = {value = -10", r"time.neuron_update.value is -1e-08 s"),
        ("synaptic_operation =", "synapse =", "time.synaptic_operation is missing"),
        ("spike =", "spikes =", "unknown key time.spikes"),
        ("spike = {value = 100,", "spike = {value = [100],", "time.spike.value must be one number"),
        ("barrier = {value = [1, 3]", "barrier = {value = [3, 1]", "time.barrier.value must be ascending"),
        ("barrier = {value = [1, 3]", "barrier = {value = 1", "one number for each of mesh"),
        ("barrier_tiles = {value = [1, 4]", "barrier_tiles = {value = [2, 4]", "ascending integers from 1"),
        ("barrier_tiles = {value = [1, 4]", "barrier_tiles = {value = [1, 1]", "ascending integers from 1"),
        (
            'unit = "us", source = "invented for a test"}\nmessage_in',
            'unit = "pJ", source = "x"}\nmessage_in',
            "unit 'pJ'",
        ),
        ("[time]", "time_not_public = 'no'\n[other]", "unknown key"),
        ("[time]\n", "[time]\nstep = {value = 1, unit = 'ms', source = 'x'}\n", "unknown key time.barrier"),
        ('spikes = "binary"', 'spikes = "binary"\ntime_not_public = "no"', "not both"),
    ],
)
def test_faulty_times_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in CHIP
    with pytest.raises(FileError, match=message):
        chip(tmp_path, CHIP.replace(old, new))


def test_messages_and_hops_are_priced_where_there_is_traffic(tmp_path: Path) -> None:
    prices = {"synaptic_operation": 1, "message": 10, "hop_east_west": 100, "hop_north_south": 1000}
    energies = "".join(f"[energy.{key}]\nvalue={n}\nunit='pJ'\nsource='invented'\n" for key, n in prices.items())
    priced = 'model = "per_operation"\nexcluded = ["mesh hops", "x"]'
    text = CHIP.replace('energy_not_public = "it does not exist"', priced)
    target = chip(tmp_path, text + energies)
    net = two_layers()
    operations = count_operations(net, DATA)
    plain = energy(operations, target)["mine"]
    placed = energy(operations, target, [count_traffic(net, DATA, place(net, target))])["mine"]
    assert plain.layers["a"]["messages"] == pytest.approx(60e-12, rel=1e-12, abs=0) and "hops" not in plain.layers["a"]
    assert placed.layers["a"]["messages"] == pytest.approx(6 * 10e-12, rel=1e-12, abs=0)
    assert placed.layers["a"]["hops"] == pytest.approx((4 * 100 + 6 * 1000) * 1e-12, rel=1e-12, abs=0)
    assert placed.layers["b"]["hops"] == 0 and placed.target.excluded == ("x",)
    assert placed.notes[-1] == "messages and hops of the placement on 3 cores; inputs and other chips have distance 0."
