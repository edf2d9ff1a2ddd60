"""C programs of networks of integers: compiled, run, and compared with the simulator in every state."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.errors import ExportError, InputError, TargetRunError
from neurosim.hardware.c import (
    MACHINES,
    CProgram,
    c_program,
    compiling,
    nanoseconds,
    report_c,
    size_of,
    verify_c,
    write_c,
)
from neurosim.hardware.integers import integer_network, simulated, spikes_of, traces_of
from neurosim.hardware.xylo import dash_time_constant, quantise_xylo
from tests.hardware.integers.cases import NETWORKS, data, delayed_and_recurrent, dense, graded, linear, spikes
from tests.hardware.loihi.cases import draw, network

Make = Callable[[], ns.Network]
needs_gcc = pytest.mark.skipif(bool(MACHINES["gcc"].missing), reason="gcc is not installed")
needs_arm = pytest.mark.skipif(
    bool(MACHINES["cortex-m4"].missing), reason="gcc-arm-none-eabi or qemu-system-arm is not installed"
)


@needs_gcc
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_every_state_is_the_simulators(make: Make) -> None:
    net = make()
    result = verify_c(net, data(net))
    assert result.agrees, result.summary()
    assert result.compared and result.sent


@needs_gcc
@pytest.mark.parametrize("seed", range(4))
def test_random_networks(seed: int) -> None:
    case = draw(np.random.default_rng(seed), 40, 24)
    x = {name: torch.from_numpy(values).unsqueeze(1) for name, values in case.inputs.items()}
    result = verify_c(network(case), x)
    assert result.agrees and result.compared == case.neuron_steps


@needs_gcc
def test_a_network_quantised_to_xylo_and_currents_that_leave_its_16_bits() -> None:
    taus = dict(tau_mem=dash_time_constant(4, 1e-3), tau_syn=dash_time_constant(3, 1e-3))
    torch.manual_seed(0)
    neurons = (ns.CubaLIF(dt=1e-3, r=4.0, reset="subtract", **taus) for _ in range(2))
    real = ns.Sequential(ns.Linear(16, 20), next(neurons), ns.Linear(20, 4), next(neurons), names=["hidden", "out"])
    x = spikes(16).float()
    net = quantise_xylo(real, x).net
    result = verify_c(net, x)
    assert result.agrees and result.sent, result.summary()
    with torch.no_grad():
        net.edges[0].synapses[0].get_parameter("weight").sign_().mul_(127 * 2**7)
    assert simulated(net, integer_network(net, target="C"), x).states["hidden"]["i_syn"].max() == 32767 - 32767 // 8
    result = verify_c(net, x)
    assert result.agrees and result.sent, result.summary()


@needs_gcc
def test_graded_inputs() -> None:
    x = torch.randint(-9, 10, (40, 2, 12), generator=torch.Generator().manual_seed(0)).double()
    result = verify_c(dense(), x, input_range=(-9, 9))
    assert result.agrees and result.sent


@needs_gcc
@pytest.mark.skipif(bool(MACHINES["clang"].missing), reason="clang is not installed")
def test_clang_agrees_and_warns_of_nothing() -> None:
    net = delayed_and_recurrent()
    assert verify_c(net, data(net), machine="clang").agrees


@needs_arm
@pytest.mark.parametrize("make", [delayed_and_recurrent, graded, NETWORKS["convolution"]])
def test_a_cortex_m4_agrees(make: Make) -> None:
    net = make()
    result = verify_c(net, data(net), machine="cortex-m4")
    assert result.agrees and result.sent
    assert size_of(c_program(integer_network(net, target="C")), "cortex-m4").flash > 0


@needs_gcc
@pytest.mark.parametrize(
    ("make", "right", "wrong"),
    [
        (dense, " / 4096", " >> 12"),
        (NETWORKS["shifted"], ": -1 - (-1 - ", ": 0 - (0 - "),
        (delayed_and_recurrent, "_now + 3u", "_now + 2u"),
    ],
)
def test_a_wrong_program_is_seen(make: Make, right: str, wrong: str) -> None:
    net = make()
    integers = integer_network(net, target="C")
    program = c_program(integers)
    assert right in program.source
    assert _differing(net, program) == 0
    assert _differing(net, dataclasses.replace(program, source=program.source.replace(right, wrong))) > 0


def _differing(net: ns.Network, program: CProgram, x: torch.Tensor | None = None) -> int:
    integers = integer_network(net, target="C")
    x = data(net) if x is None else x
    values = compiling.traced(program, spikes_of(integers, x).transpose(1, 0, 2), "gcc", 60.0)
    counts = simulated(net, integers, x).differing(traces_of(integers, values))
    return sum(sum(each.values()) for each in counts.values())


@needs_gcc
def test_a_voltage_at_the_threshold_sends_nothing() -> None:
    from neurosim.hardware.loihi import loihi_neurons

    net = ns.Sequential(linear(1, 1, 50, 50), loihi_neurons(dt=1e-3, v_th=100, size=1), names=["out"]).double()
    x = torch.ones(5, 1, 1)
    program = c_program(integer_network(net, target="C"))
    assert " > 6400" in program.source and _differing(net, program, x) == 0
    wrong = dataclasses.replace(program, source=program.source.replace(" > 6400", " >= 6400"))
    assert _differing(net, wrong, x) > 0


@needs_gcc
def test_what_is_written_compiles_under_strict_flags_and_checks_itself(tmp_path: Path) -> None:
    cases: list[tuple[str, Make, tuple[int, int]]] = [
        ("one", delayed_and_recurrent, (0, 1)),
        ("for", graded, (-3, 3)),
        ("wide", dense, (0, 2**31 - 1)),
    ]
    for name, make, values in cases:
        net, folder = make(), tmp_path / name
        x = data(net) if values[0] == 0 else torch.randint(-3, 4, (40, 2, 12)).double()
        program = write_c(net, folder, x, name=name, input_range=values)
        own, vectors = program.name, folder / f"{program.name}_vectors.h"
        assert {path.name for path in folder.iterdir()} == {f"{own}.h", f"{own}.c", vectors.name, "main.c"}

        def status(folder: Path = folder, own: str = own) -> int:
            command = ["gcc", *compiling.STRICT, "-o", "check", "main.c", f"{own}.c"]
            subprocess.run(command, cwd=folder, check=True, timeout=60)
            return subprocess.run([folder / "check"], timeout=60, check=False).returncode

        assert status() == 0
        text = vectors.read_text()
        first = text.index("{", text.index(f"{own}_sent[")) + 1
        vectors.write_text(text[:first] + text[first:].replace("0", "1", 1))  # another output in the first step
        assert status() == 1


def test_the_source_has_no_heap_no_floating_point_and_no_library() -> None:
    for make in NETWORKS.values():
        program = c_program(integer_network(make(), target="C"))
        code = re.sub(r"/\*.*?\*/", "", program.source + program.header, flags=re.DOTALL)
        assert re.findall(r"#include (.*)", code) == ['"network.h"', "<stdint.h>"]
        assert not re.search(r"\b(malloc|free|float|double|mem\w+)\b|\d\.\d|\bmain\b", code)


@needs_gcc
def test_sizes_and_operations() -> None:
    net = dense()
    program = c_program(integer_network(net, target="C"))
    assert program.constant_bytes == 12 * 9  # weights of 8 bits
    assert program.state_bytes == 9 * (2 + 4 + 4)  # sums of 16 bits, u and v
    report = report_c(net, data(net))
    gcc = next(each for each in report.sizes if each.machine == "gcc")
    assert gcc.flash > program.constant_bytes and gcc.ram >= program.state_bytes
    assert f"{gcc.flash:,} bytes of flash" in report.summary()
    assert nanoseconds(program, np.zeros((1, 5, 12), np.int64)) > 0.0


def test_nothing_is_written_for_a_network_that_c_cannot_hold(tmp_path: Path) -> None:
    net = ns.Sequential(ns.Linear(4, 2), ns.LIF(dt=1e-3), names=["out"])
    with pytest.raises(ExportError, match="C cannot hold this network in integers"):
        write_c(net, tmp_path / "folder", torch.zeros(3, 1, 4))
    assert list(tmp_path.iterdir()) == []


@needs_gcc
@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), None])
def test_a_wrong_timeout_is_refused(timeout: Any) -> None:
    with pytest.raises(InputError, match="timeout must be a positive number of seconds; got"):
        verify_c(dense(), data(dense())[:2], timeout=timeout)


def test_a_missing_compiler_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(TargetRunError, match=r"gcc, size not found.*apt-get install gcc"):
        verify_c(dense(), spikes(12))
    with pytest.raises(InputError, match="machine must be one of gcc, clang, cortex-m4; got 'avr'"):
        verify_c(dense(), spikes(12), machine="avr")
