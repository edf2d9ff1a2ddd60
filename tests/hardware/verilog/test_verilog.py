"""Verilog designs of networks of integers: simulated, and compared with the simulator in every state."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, FileError, InputError, TargetRunError
from neurosim.hardware import load_target
from neurosim.hardware.integers import integer_network, simulated, spikes_of
from neurosim.hardware.verilog import (
    FpgaPlacement,
    cycles_per_step,
    design_of,
    place_fpga,
    routing,
    tools,
    verify_verilog,
    write_verilog,
)
from neurosim.hardware.verilog.verification import simulate
from tests.hardware.integers.cases import NETWORKS, data, delayed_and_recurrent, dense, graded, spikes

Make = Callable[[], ns.Network]
# Each is simulated in about a second; `tests.hardware.verilog.verify` has all of them.
SOME = (
    "delayed_and_recurrent",
    "shifted",
    "values_of_each_neuron",
    "overlapping_windows",
    "read_out",
    "several_spikes",
    "refractory",
    "beyond_the_register",
)
needs_iverilog = pytest.mark.skipif(bool(tools.missing(["iverilog", "vvp"])), reason="iverilog is not installed")
needs_router = pytest.mark.skipif(
    bool(tools.missing(["yosys", "nextpnr-ice40"])), reason="yosys or nextpnr-ice40 is not installed"
)


@needs_iverilog
@pytest.mark.parametrize("name", SOME)
def test_every_state_and_every_byte_is_the_simulators(name: str) -> None:
    net = NETWORKS[name]()
    result = verify_verilog(net, data(net)[:20])
    assert result.agrees, result.summary()
    assert result.compared and result.sent


@needs_iverilog
def test_graded_events_in_and_out_with_loaded_weights() -> None:
    net = graded()
    x = torch.randint(-3, 4, (20, 2, 12), generator=torch.Generator().manual_seed(0)).double()
    result = verify_verilog(net, x, input_range=(-3, 3), loaded=True)
    assert result.agrees and result.sent


@needs_iverilog
@pytest.mark.parametrize(
    ("right", "wrong"),
    [("row_weight <= weight_2;", "row_weight <= weight_2 + 1;"), ("sum0_own = sum0_now + neuron", "sum0_own = neuron")],
)
def test_a_wrong_design_is_seen_by_the_bench(right: str, wrong: str) -> None:
    net = delayed_and_recurrent()
    integers = integer_network(net, target="Verilog")
    inputs, ours = spikes_of(integers, data(net)), simulated(net, integers, data(net))
    design = design_of(integers)
    assert right in design.source
    broken = dataclasses.replace(design, source=design.source.replace(right, wrong))
    bench, _ = simulate(broken, inputs, ours.outputs["out"])
    assert bench.startswith("FAILED")


@needs_iverilog
@pytest.mark.parametrize("make", [dense, delayed_and_recurrent])
def test_cycles_are_those_of_the_bench(make: Make) -> None:
    net = make()
    x = data(net)
    integers = integer_network(net, target="Verilog")
    counted = cycles_per_step(integers, design_of(integers).core, spikes_of(integers, x), simulated(net, integers, x))
    assert verify_verilog(net, x).cycles == pytest.approx(counted, rel=0.03)


@needs_iverilog
def test_what_is_written_checks_itself(tmp_path: Path) -> None:
    net = dense()
    design = write_verilog(net, tmp_path, data(net)[:10], name="my net")
    assert design.name == "my_net"
    names = {path.name for path in tmp_path.iterdir()}
    parts = ("my_net.v", "my_net_bench.v", "my_net_commands.mem", "my_net_expected.mem", "my_net_weights.mem")
    assert names == set(parts)
    subprocess.run(["iverilog", "-o", "bench", *parts[:2]], cwd=tmp_path, check=True, timeout=60)
    done = subprocess.run(["vvp", "-n", "bench"], cwd=tmp_path, check=True, timeout=60, capture_output=True, text=True)
    assert "PASSED" in done.stdout and "for 20 steps" in done.stdout


@needs_router
def test_a_network_is_placed_and_routed() -> None:
    net = dense()
    placed = place_fpga(net, "ice40up5k", data(net))
    assert placed.fits and 0 < placed.used["logic_cells"] < placed.available["logic_cells"] == 5280
    assert placed.used["block_memory"] > 0 and placed.used["large_memory"] == 0 and not placed.loaded
    assert placed.clock > 12e6 and placed.step_time == placed.cycles / placed.clock
    assert "It fits: Lattice iCE40 UltraPlus UP5K" in placed.table()


@needs_router
def test_a_design_that_does_not_fit_names_what_it_needs_and_what_helps(tmp_path: Path, root: Path) -> None:
    text = (root / "hardware_targets" / "ice40up5k.toml").read_text()
    small = tmp_path / "small.toml"
    small.write_text(text.replace('"up5k"', '"hx1k"').replace('"sg48"', '"tq144"'))
    with pytest.raises(ExportError, match=r"needs [\d,]+ logic cells \(ICESTORM_LC\); there are 1,280: use fewer bits"):
        place_fpga(delayed_and_recurrent(), small, data(delayed_and_recurrent()))
    other = tmp_path / "other.toml"
    other.write_text(text.replace('"sg48"', '"none"'))
    with pytest.raises(TargetRunError, match="nextpnr-ice40 failed"):
        place_fpga(dense(), other, data(dense()))


def test_weights_that_no_memory_holds_are_refused_before_any_tool_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    net = ns.Sequential(ns.Linear(1200, 100), *_neurons(), names=["out"])
    with torch.no_grad():
        net.edges[0].synapses[0].get_parameter("weight").copy_(torch.arange(120000).view(100, 1200) % 1021 - 510)
    with pytest.raises(ExportError, match=r"120,000 weights of 10 bits and other constants need 1,2.*fewer"):
        place_fpga(net.double(), "ice40up5k", torch.zeros(2, 1, 1200))


@pytest.mark.parametrize("wrong", [{"clock": -1.0}, {"clock": float("nan")}, {"seed": -1}, {"seed": "a"}])
def test_a_wrong_clock_or_seed_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} must be .*; got {next(iter(wrong.values()))!r}"):
        place_fpga(dense(), "ice40up5k", data(dense()), **wrong)


@needs_router
def test_a_report_that_counts_other_cells_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"utilization": {"TRELLIS_SLICE": {"used": 9}}, "fmax": {"clk": {"achieved": 9.0}}}
    monkeypatch.setattr(routing, "routed", lambda *_, **__: report)
    with pytest.raises(TargetRunError, match=r"counts no ICESTORM_DSP, .*; it has TRELLIS_SLICE\. Use"):
        place_fpga(dense(), "ice40up5k", data(dense()))


def test_a_module_may_be_called_as_a_word_of_the_language() -> None:
    integers = integer_network(dense(), target="Verilog")
    assert design_of(integers, "reg").name == "n_reg" and design_of(integers, "logic").name == "n_logic"
    with pytest.raises(InputError, match="a name must be text; got None"):
        design_of(integers, None)  # type: ignore[arg-type]


@needs_iverilog
@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), None])
def test_a_wrong_timeout_is_refused(timeout: Any) -> None:
    with pytest.raises(InputError, match="timeout must be a positive number of seconds; got"):
        verify_verilog(dense(), data(dense())[:2], timeout=timeout)


def test_a_placement_is_read_back_or_refused(tmp_path: Path) -> None:
    placed = FpgaPlacement("t", {"logic_cells": 9}, {"logic_cells": 8}, 1e7, 100.0, 5, True)
    from neurosim.files.atomic import json_text

    json_text(placed.to_dict(), tmp_path / "fpga.json")
    assert FpgaPlacement.read(tmp_path / "fpga.json") == placed and not placed.fits
    (tmp_path / "fpga.json").write_text("[]")
    with pytest.raises(FileError, match="holds no placed design"):
        FpgaPlacement.read(tmp_path / "fpga.json")


def test_what_no_target_or_tool_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ns.Sequential(ns.Linear(4, 2), ns.LIF(dt=1e-3), names=["out"])
    with pytest.raises(ExportError, match="Verilog cannot hold this network in integers"):
        write_verilog(real, tmp_path / "folder", torch.zeros(3, 1, 4))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="target 'loihi2' is no FPGA; use one such as 'ice40up5k'"):
        place_fpga(dense(), "loihi2", spikes(12))
    with pytest.raises(InputError, match="simulator must be one of iverilog, verilator; got 'vcs'"):
        verify_verilog(dense(), spikes(12), simulator="vcs")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(TargetRunError, match=r"yosys, nextpnr-ice40 not found\. On Debian: apt-get install yosys next"):
        place_fpga(dense(), "ice40up5k", spikes(12))
    with pytest.raises(TargetRunError, match=r"iverilog, vvp not found\. On Debian: apt-get install iverilog"):
        verify_verilog(dense(), spikes(12))


def test_weights_that_the_configuration_cannot_hold_are_loaded() -> None:
    from neurosim.hardware.verilog.routing import fpga_of, is_loaded

    net = ns.Sequential(ns.Linear(100, 100), *_neurons(), names=["out"])
    with torch.no_grad():
        net.edges[0].synapses[0].get_parameter("weight").copy_(torch.arange(10000).view(100, 100) % 100 - 50)
    design = design_of(integer_network(net.double(), target="Verilog"))
    assert design.core.weight_width == 7 and np.prod(design.core.memories["weights"].shape) == 10000
    assert is_loaded(design, *fpga_of("ice40up5k")) and not is_loaded(design, *fpga_of("ecp5_25k"))


def _neurons() -> list[ns.Neuron]:
    from neurosim.hardware.loihi import loihi_neurons

    return [loihi_neurons(dt=1e-3, v_th=100, size=100)]


def test_an_fpga_names_its_family_device_and_package(tmp_path: Path, root: Path) -> None:
    assert dict(load_target("ice40up5k").fpga) == {"family": "ice40", "device": "up5k", "package": "sg48"}
    text = (root / "hardware_targets" / "ice40up5k.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace('device = "up5k"\n', ""))
    with pytest.raises(FileError, match="the table 'fpga' must have the keys family, device, package"):
        load_target(mine)
    mine.write_text(text.replace('kind = "fpga"', 'kind = "chip"'))
    with pytest.raises(FileError, match=r"unknown key limits|the table 'fpga'"):
        load_target(mine)
