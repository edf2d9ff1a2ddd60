"""Each model against its formula, computed by hand on counts of a few operations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

import neurosim as ns
from neurosim.energy import NodeOperations, Operations, SynapseOperations, count_operations, energy
from neurosim.energy.models import (
    arithmetic,
    arithmetic_ann,
    dense,
    dense_ann,
    memory,
    memory_ann,
    model_of,
    per_operation,
)
from neurosim.errors import FileError
from neurosim.hardware import load_target, target_names

LINEAR = SynapseOperations(
    name="input->out",
    layer="out",
    kind="Linear",
    input_shape=(784,),
    output_shape=(100,),
    weights=78400,
    biases=0,
    kernel=0,
    connections=78400,
    passes=10,
    events=50,
    addressed=5000,
    effective=4000,
    graded=False,
)
CONV = dataclasses.replace(
    LINEAR,
    name="input->out",
    kind="Conv2d",
    input_shape=(2, 6, 6),
    output_shape=(4, 4, 4),
    weights=4 * 2 * 9,
    kernel=9,
    connections=4 * 16 * 2 * 9,
    events=20,
    addressed=300,
    effective=300,
)
NEURONS = NodeOperations(
    name="out",
    kind="lif",
    neurons=100,
    passes=10,
    spikes=7,
    spiking=True,
    resets=7,
    states=1,
    additions=2,
    multiplications=2,
    unpriced=0,
    out_edges=3,
)
PJ = 1e-12


def run(*synapses: SynapseOperations, node: NodeOperations = NEURONS) -> Operations:
    return Operations(synapses, (node,), steps=10, samples=1, dt=1e-3)


def access(words: float, bits: int = 32) -> float:
    return (1.09e-5 * words * bits + 13.2) * PJ


def test_a_chip_charges_operations_updates_and_spikes() -> None:
    parts = per_operation(run(LINEAR), load_target("loihi1_board"))["out"]
    assert parts["synapses"] == pytest.approx(4000 * 35.5 * PJ)
    assert parts["neurons"] == pytest.approx(1000 * 72.8 * PJ)
    assert parts["spikes"] == pytest.approx(7 * 69.3 * PJ)
    assert parts["messages"] == pytest.approx(7 * 3 * 111.0 * PJ)


def test_a_chip_charges_only_what_its_file_has() -> None:
    assert per_operation(run(LINEAR), load_target("truenorth")) == {"out": {"synapses": pytest.approx(4000 * 26 * PJ)}}
    assert set(per_operation(run(LINEAR), load_target("loihi1"))["out"]) == {"synapses", "neurons", "messages"}


def test_arithmetic_charges_accumulates_for_spikes_and_products_for_graded_input() -> None:
    target = load_target("horowitz45")
    spiking = arithmetic(run(dataclasses.replace(LINEAR, biases=100)), target)["out"]
    assert spiking["synapses"] == pytest.approx(4000 * 0.9 * PJ)
    assert spiking["bias"] == pytest.approx(1000 * 0.9 * PJ)
    assert spiking["neurons"] == pytest.approx(1000 * (2 * 0.9 + 2 * 3.7) * PJ)
    graded = arithmetic(run(dataclasses.replace(LINEAR, graded=True)), target)["out"]
    assert graded["synapses"] == pytest.approx(4000 * 4.6 * PJ)
    pooled = arithmetic(run(dataclasses.replace(LINEAR, graded=True, weights=0)), target)["out"]
    assert pooled["synapses"] == pytest.approx(4000 * 0.9 * PJ), "pooling adds, whatever it adds"
    assert arithmetic_ann(run(LINEAR), target) == pytest.approx(78400 * 4.6 * PJ)
    assert arithmetic_ann(run(LINEAR), load_target("horowitz45_int8")) == pytest.approx(78400 * 0.23 * PJ)


def test_break_even_of_the_convention_is_5_11_spikes_per_synapse() -> None:
    target = load_target("horowitz45")
    even = target.energy["multiply_accumulate"].number / target.energy["accumulate"].number
    assert round(even, 2) == 5.11
    for spikes, cheaper in ((5.11, True), (5.12, False)):
        counted = run(dataclasses.replace(LINEAR, effective=round(spikes * 78400)))
        assert (arithmetic(counted, target)["out"]["synapses"] < arithmetic_ann(counted, target)) is cheaper


def test_a_processor_charges_every_connection_at_every_step() -> None:
    target = load_target("gpu")
    parts = dense(run(LINEAR), target)["out"]
    assert parts == {"synapses": pytest.approx(78400 * 10 * 0.3e-9), "neurons": pytest.approx(1000 * 0.3e-9)}
    silent = dataclasses.replace(LINEAR, events=0, addressed=0, effective=0)
    assert dense(run(silent), target)["out"] == parts
    assert dense_ann(run(LINEAR), target) == pytest.approx(78500 * 0.3e-9)


def test_fetching_a_weight_costs_40_5_pJ_where_an_addition_costs_a_tenth() -> None:
    parts = memory(run(LINEAR), load_target("lemaire2022"))["out"]
    assert parts["weight memory"] / 5000 == pytest.approx(40.5 * PJ, abs=0.05 * PJ)
    assert parts["synapses"] / 5000 == pytest.approx(0.1 * PJ)


def test_the_memory_model_for_a_full_matrix() -> None:
    parts = memory(run(LINEAR), load_target("lemaire2022"))["out"]
    assert parts["event memory"] == pytest.approx(50 * access(64) + 7 * access(64))
    assert parts["weight memory"] == pytest.approx(50 * 100 * access(78400))
    assert parts["membrane memory"] == pytest.approx(2 * (50 * 100 + 10 * 100) * access(100))
    assert parts["synapses"] == pytest.approx(50 * 100 * 0.1 * PJ)
    assert parts["neurons"] == pytest.approx((10 * 100 * 3.2 + 7 * 0.1) * PJ)
    assert parts["addressing"] == pytest.approx(50 * 100 * 0.1 * PJ)
    assert "bias" not in parts


def test_the_memory_model_for_a_convolution_uses_the_exact_pairs() -> None:
    node = dataclasses.replace(NEURONS, neurons=64)
    parts = memory(run(CONV, node=node), load_target("lemaire2022"))["out"]
    assert parts["weight memory"] == pytest.approx(300 * access(72))
    assert parts["membrane memory"] == pytest.approx(2 * (300 + 10 * 64) * access(64))
    assert parts["addressing"] == pytest.approx((20 * 2 * 3.2 + 20 * 9 * 0.1) * PJ)


def test_the_memory_model_of_the_equal_network() -> None:
    target = load_target("lemaire2022")
    full = 784 * access(784) + 78400 * access(78400) + 78400 * 3.2 * PJ + 78400 * 0.1 * PJ + 100 * access(100)
    assert memory_ann(run(LINEAR), target) == pytest.approx(full)
    macs = 4 * 16 * 2 * 9
    conv = macs * (access(72) + access(72) + 3.2 * PJ) + (72 + 64 + 4 * 9) * 0.1 * PJ + 64 * access(64)
    assert memory_ann(run(CONV), target) == pytest.approx(conv)
    bias = 100 * (0.1 * PJ + access(100))
    assert memory_ann(run(dataclasses.replace(LINEAR, biases=100)), target) == pytest.approx(full + bias)


def test_without_events_the_memory_model_leaves_the_membranes_of_every_step() -> None:
    silent = dataclasses.replace(LINEAR, events=0, addressed=0, effective=0)
    still = dataclasses.replace(NEURONS, spikes=0, resets=0)
    parts = memory(run(silent, node=still), load_target("lemaire2022"))["out"]
    assert parts.pop("membrane memory") == pytest.approx(2 * 10 * 100 * access(100))
    assert parts.pop("neurons") == pytest.approx(10 * 100 * 3.2 * PJ)
    assert set(parts.values()) == {0.0}


def test_graded_input_is_computed_densely_at_every_step() -> None:
    target = load_target("lemaire2022")
    parts = memory(run(dataclasses.replace(LINEAR, graded=True)), target)["out"]
    assert parts["synapses"] == pytest.approx(10 * 78400 * 3.2 * PJ)
    assert parts["weight memory"] == pytest.approx(10 * 78400 * access(78400))


def test_a_neuron_with_two_states_touches_both() -> None:
    target = load_target("lemaire2022_int8")
    two = dataclasses.replace(NEURONS, states=2)
    silent = dataclasses.replace(LINEAR, events=0, addressed=0, effective=0)
    assert memory(run(silent, node=two), target)["out"]["membrane memory"] == pytest.approx(
        2 * 2 * 1000 * access(200, bits=8)
    )


@pytest.mark.parametrize("name", ["loihi1", "loihi1_board", "truenorth", "spinnaker", "spinnaker2"])
def test_a_silent_run_on_a_chip_costs_its_neuron_updates_and_nothing_else(name: str) -> None:
    net = ns.Sequential(ns.Linear(5, 4), ns.LIF(dt=1e-3), ns.Linear(4, 3), ns.LIF(dt=1e-3), names=("a", "b"))
    target = load_target(name)
    update = target.energy["neuron_update"].number if "neuron_update" in target.energy else 0.0
    for steps in (5, 10):
        joules = per_operation(count_operations(net, torch.zeros(steps, 2, 5)), target)
        total = sum(sum(parts.values()) for parts in joules.values())
        assert total == pytest.approx(steps * 2 * 7 * update)


@pytest.mark.parametrize("name", target_names())
def test_every_bundled_target_has_the_numbers_of_its_model(name: str) -> None:
    target = load_target(name)
    if target.model is not None:
        assert model_of(target).needs <= set(target.energy)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("loihi1", "[energy.synaptic_operation]", "[energy.synapse]", "energy.synaptic_operation is missing"),
        ("loihi1", "[energy.message]", "[energy.mesage]", "unknown key energy.mesage. Allowed: hop_east_west"),
        ("lemaire2022", "[parameters.queue_words]", "[parameters.queue]", "parameters.queue_words is missing"),
        ("loihi1", 'model = "per_operation"', 'model = "guess"', "key 'model' is 'guess'. Allowed: per_operation"),
    ],
)
def test_a_file_without_the_numbers_of_its_model_is_refused(
    root: Path, tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    text = (root / "hardware_targets" / f"{name}.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    counts = Operations((LINEAR,), (NEURONS,), steps=10, samples=1, dt=1e-3)
    with pytest.raises(FileError) as caught:
        energy(counts, path)
    assert message in str(caught.value) and str(path) in str(caught.value)
