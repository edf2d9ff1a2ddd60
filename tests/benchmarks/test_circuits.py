"""The benchmark of circuits: what each simulator answers, what is computed from it, and what is omitted by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurosim as ns
from benchmarks import circuits
from benchmarks.circuit_floors import Limits, limits
from benchmarks.options import Options
from benchmarks.peers import specs
from benchmarks.peers.environments import FOLDER, python_of
from benchmarks.peers.process import Peer, PeerError
from neurosim.units import mV

CUBA = 2


class FakePeer:
    """A circuit in which each neuron sends a spike every 20 steps."""

    def __init__(self, circuit: specs.Spec) -> None:
        self.circuit = circuit
        self.built = {"version": "1", "synapses": 1000, "build": {"cpu_s": 0.5}, "build_bytes": 4000}

    def spikes(self) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        steps = 2 * round(self.circuit.seconds * 1e3 / self.circuit.dt_ms)
        step = np.repeat(np.arange(0, steps, 20), self.circuit.neurons)
        neuron = np.tile(np.arange(self.circuit.neurons), len(step) // self.circuit.neurons)
        return step, neuron, {"seconds": 2 * self.circuit.seconds, "row_bytes": 2.0}


def test_a_result_counts_events_and_medians_without_the_first_run() -> None:
    circuit = specs.spec("cuba", True)
    runs: list[dict[str, Any]] = [{"cpu_s": cpu, "wall_s": 2 * cpu, "peak_bytes": 1} for cpu in (9.0, 0.1, 0.3, 0.2)]
    runs[0]["first_result"] = {"cpu_s": 3.0}
    found = circuits._result(FakePeer(circuit), runs, circuit, Limits(1e9, 1e-9))  # type: ignore[arg-type]
    assert found["rate"] == pytest.approx(500.0) and found["cv"] == 0.0
    assert found["rates"] == pytest.approx(dict(E=500.0, I=500.0))
    assert found["cpu_per_s"] == pytest.approx(0.2 / circuit.seconds)
    assert found["wall_per_s"] == pytest.approx(0.4 / circuit.seconds)
    assert found["events_per_s"] == pytest.approx(500.0 * circuit.total_synapses)
    # 32 million events of 2 bytes at 1 GB/s take longer than as many additions of 1 ns
    assert found["share_of_limit"] == pytest.approx(500 * circuit.total_synapses * 2e-9 / found["cpu_per_s"])
    assert found["first_result_s"] == 3.0 and found["bytes_per_synapse"] == 4.0


def test_what_is_not_installed_is_omitted_by_name(tmp_path: Path) -> None:
    found, omitted = circuits._contenders(specs.spec("izhikevich", True), tmp_path)
    assert list(found) == ["neurosim"]
    assert omitted["NEST"] == "has no such circuit"
    assert omitted["Brian2 C++"] == f"not installed in {tmp_path.name}: make bench-peers"


def test_a_process_that_fails_says_why() -> None:
    what = {"network": "nothing", "quick": True, "threads": 1, "seed": 1}
    with pytest.raises(PeerError, match="KeyError: 'nothing'"):
        Peer(Path(sys.executable), "benchmarks.peers.in_neurosim", what)


@pytest.mark.parametrize("name", specs.SPECS)
def test_each_circuit_runs_in_neurosim_and_can_be_continued(name: str) -> None:
    circuit = specs.spec(name, True)
    what = {"network": name, "quick": True, "threads": 1, "seed": 1}
    peer = Peer(Path(sys.executable), "benchmarks.peers.in_neurosim", what)
    try:
        times = [peer.run(), peer.run()]
        step, neuron, answer = peer.spikes()
    finally:
        peer.close()
    assert all(each["cpu_s"] > 0 for each in times) and "first_result" in times[0]
    assert answer["seconds"] == pytest.approx(2 * circuit.seconds)
    steps = round(circuit.seconds * 1e3 / circuit.dt_ms)
    assert step.min() >= 0 and steps <= step.max() < 2 * steps
    assert neuron.min() >= 0 and neuron.max() < circuit.neurons
    assert len(np.unique(neuron)) > 15


def test_the_synapses_of_the_plastic_circuit_change() -> None:
    from benchmarks.peers.in_neurosim import NETWORKS, rules

    circuit = specs.spec("stdp", True)
    net = NETWORKS["stdp"](circuit, 1)
    run = ns.simulate(net, seconds=0.1, seed=1, plasticity=rules(circuit))
    weight = run.state.plastic["E->E:dv"].weight / mV
    assert weight.std() > 1e-3 * circuit.values["j"] and weight.min() > 0 and weight.max() < circuit.values["w_max"]
    assert rules(specs.spec("brunel", True)) == {}


@pytest.mark.parametrize("environment", ["nest", "brian2", "brainevent"])
def test_a_simulator_that_is_installed_runs_and_answers(environment: str) -> None:
    python = python_of(environment)
    if python is None:
        pytest.skip(f"no {environment} in {FOLDER.name}")
    peer = Peer(
        python, f"benchmarks.peers.in_{environment}", {"network": "cuba", "quick": True, "threads": 1, "seed": 1}
    )
    try:
        peer.run()
        step, _, answer = peer.spikes()
    finally:
        peer.close()
    assert len(step) > 100 and answer["seconds"] > 0


def test_the_benchmark_prints_statistics_beside_times(tmp_path: Path) -> None:
    result = circuits.measure(Options(quick=True, case=CUBA, peers=tmp_path, busy=True))
    (case,) = json.loads(json.dumps(result))["cases"]
    assert list(case["contenders"]) == ["neurosim"] and set(case["omitted"]) == {*circuits.CONTENDERS} - {"neurosim"}
    assert case["busy"]["two_over_one"] > 0
    shown = circuits.table(result)
    assert "cuba: Brette et al. (2007), 800 neurons" in shown
    assert "NEST omitted: not installed" in shown and "beside two busy loops" in shown


def test_limits_are_those_of_a_machine() -> None:
    found = limits(calls=1, megabytes=8)
    assert 1e8 < found.bytes_per_s < 1e13 and 1e-12 < found.addition_s < 1e-6
    assert found.seconds(1e6, 4.0) == max(4e6 / found.bytes_per_s, 1e6 * found.addition_s)


def test_synapses_of_the_fly_have_wide_degrees_and_are_sorted_by_source() -> None:
    circuit = specs.fly(quick=True)
    pre, post, weight = specs.fly_synapses(circuit, 1)
    assert len(pre) == len(post) == len(weight) == 300_000 and (np.diff(pre) >= 0).all()
    degrees = np.bincount(pre, minlength=circuit.neurons), np.bincount(post, minlength=circuit.neurons)
    assert all(each.max() > 5 * each.mean() for each in degrees)
    contacts = weight / circuit.values["w"]
    assert np.abs(contacts).max() <= 100 * (1 + 1e-6) and np.median(np.abs(contacts)) == pytest.approx(2.0, rel=0.02)
    assert ((contacts > 0) == (pre < circuit.sizes["E"])).all()
    driven = specs.fly_driven(circuit, 1)
    assert len(driven) == 20 and driven.max() < circuit.sizes["E"]


def test_the_microcircuit_has_its_published_size() -> None:
    whole = specs.pd14(scale=1.0)
    assert whole.neurons == 77_169
    assert whole.total_synapses == pytest.approx(298.88e6, rel=1e-3)
    part = specs.pd14(scale=0.1)
    assert part.total_synapses / part.neurons == pytest.approx(whole.total_synapses / whole.neurons, rel=1e-3)
