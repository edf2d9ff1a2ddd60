"""The report: columns, refusals, table, JSON, and what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import neurosim as ns
from neurosim.energy import DEFAULT_TARGETS, Operations, count_operations, energy
from neurosim.errors import FileError, InputError
from neurosim.hardware import load_target


@pytest.fixture
def counts() -> Operations:
    net = ns.Sequential(
        ns.Linear(20, 12, bias=True), ns.LIF(dt=1e-3), ns.Linear(12, 4), ns.LIF(dt=1e-3), names=("hidden", "out")
    )
    with torch.no_grad():
        for edge in net.edges:
            edge.synapses[0].get_parameter("weight").abs_().mul_(8)
    return count_operations(net, (torch.rand(15, 3, 20) < 0.3).float())


def test_energy_is_per_inference(counts: Operations) -> None:
    column = energy(counts, "truenorth")["truenorth"]
    assert column.total == pytest.approx(counts.accumulates * 26e-12 / 3)
    assert column.layer("hidden") == pytest.approx(counts.synapses[0].effective * 26e-12 / 3)
    assert energy(counts + counts, "truenorth")["truenorth"].total == pytest.approx(column.total)


def test_layers_and_components_add_up_to_the_total(counts: Operations) -> None:
    for column in energy(counts).columns:
        if not column.refused:
            assert sum(column.layer(name) for name in ("hidden", "out")) == pytest.approx(column.total)
            assert sum(column.components().values()) == pytest.approx(column.total)


def test_loihi2_is_refused_with_the_reason_and_never_given_a_figure(counts: Operations, tmp_path: Path) -> None:
    report = energy(counts, ("loihi1", "loihi2"))
    column = report["loihi2"]
    assert "Intel has published no energy per operation" in column.refused and not column.layers
    with pytest.raises(InputError, match="there is no energy for loihi2: Intel has published no"):
        _ = column.total
    (row,) = [line for line in report.table().splitlines() if line.startswith("loihi2  ")]
    assert row.split() == ["loihi2", "-", "-", "refused", "-"]
    assert "loihi2 is refused: Intel has published" in report.table()
    held = json.loads(report.to_json())["targets"]["loihi2"]
    assert held["total_J"] is None and held["layers_J"] == {} and held["refused"].startswith("Intel")


def test_the_table_is_aligned_and_has_every_target(counts: Operations) -> None:
    lines = energy(counts).table().splitlines()
    head = next(k for k, line in enumerate(lines) if line.startswith("target"))
    rows = lines[head + 2 : head + 2 + len(DEFAULT_TARGETS)]
    assert [row.split()[0] for row in rows] == list(DEFAULT_TARGETS)
    assert {len(row) for row in rows} == {len(lines[head])}
    assert lines[head].split("  ")[0] == "target" and "hidden" in lines[head] and "total" in lines[head]


def test_the_convention_never_stands_without_memory_and_int8(counts: Operations) -> None:
    text = str(energy(counts))
    assert "Break-even is T r = 5.11 spikes per synapse per inference" in text
    assert "Arithmetic alone, 45 nm arithmetic, int8" in text
    assert "With memory, 45 nm with memory, int32" in text
    assert f"T r: {float(f'{counts.spikes_per_neuron:.3g}'):g}" in text


def test_the_verdict_follows_the_figures(counts: Operations) -> None:
    report = energy(counts, ("horowitz45", "lemaire2022"))
    lines = report.verdict()
    column = report["horowitz45"]
    assert column.ann is not None
    assert column.ann == pytest.approx(((20 * 12 + 12 * 4) * 4.6 + 12 * 0.9) * 1e-12)
    expected = "lower than the ANN" if column.components()["synapses"] < column.ann else "not lower than the ANN"
    assert any(line.startswith("Arithmetic") and line.endswith(f": {expected}.") for line in lines)
    memory = report["lemaire2022"]
    assert memory.ann is not None
    assert any(f"{memory.total / memory.ann:.3g} times the ANN's" in line for line in lines)


def test_what_is_left_out_is_said(counts: Operations) -> None:
    text = energy(counts, "loihi1").table()
    assert "not measured power" in text
    assert "static power" in text and "spike input and output" in text and "mesh hops" in text


def test_graded_input_on_a_chip_of_binary_spikes_is_noted() -> None:
    net = ns.Sequential(ns.Linear(4, 3), ns.LIF(dt=1e-3), names=("out",))
    report = energy(count_operations(net, torch.rand(5, 1, 4)), ("loihi1", "gpu"))
    assert "input->out: inputs are graded, which the spikes of this target cannot be" in report["loihi1"].notes[0]
    assert report["gpu"].notes == ()
    assert "loihi1: input->out: inputs are graded" in report.table()


def test_functions_without_a_price_are_noted() -> None:
    @ns.core(state=("v",))
    def hyperbolic(i, v, *, spike, reset):
        from neurosim.language.functions import exp

        u = v + exp(i)
        z = spike(u - 1.0)
        return z, reset(u, z, to=0.0, by=1.0)

    net = ns.Sequential(ns.Linear(4, 3), ns.layer(hyperbolic)(dt=1e-3), names=("out",))
    report = energy(count_operations(net, torch.ones(5, 1, 4)), "horowitz45")
    assert report["horowitz45"].notes == ("out: divisions and functions of the neuron have no price.",)


def test_json_holds_everything_and_reads_back(counts: Operations, tmp_path: Path) -> None:
    path = tmp_path / "energy.json"
    report = energy(counts)
    text = report.to_json(path)
    held = json.loads(path.read_text(encoding="utf-8"))
    assert json.loads(text) == held
    assert held["unit"] == "J per inference"
    assert set(held["targets"]) == set(DEFAULT_TARGETS)
    assert held["targets"]["loihi1"]["total_J"] == pytest.approx(report["loihi1"].total)
    assert held["targets"]["loihi1"]["sources"]["synaptic_operation"]["source"].startswith("Davies")
    assert held["operations"]["synapses"][0]["effective"] == counts.synapses[0].effective
    assert held["operations"]["synapses"][0]["operation"] == "AC"
    assert held["operations"]["nodes"][1]["spikes"] == counts.nodes[1].spikes


def test_a_chip_of_ones_own_is_a_column_like_any_other(counts: Operations, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "Mine"\nkind = "chip"\nmodel = "per_operation"\nsummary = "s"\nspikes = "binary"\n'
        'excluded = ["all else"]\n[energy.synaptic_operation]\nvalue = 1\nunit = "nJ"\nsource = "my own measurement"\n',
        encoding="utf-8",
    )
    expected = pytest.approx(counts.accumulates * 1e-9 / 3)
    assert energy(counts, path)["mine"].total == expected
    assert energy(counts, (load_target(path), "loihi1"))["mine"].total == expected


def test_bad_requests_are_refused(counts: Operations) -> None:
    with pytest.raises(FileError, match="'loihi7'"):
        energy(counts, "loihi7")
    with pytest.raises(InputError, match=r"each once; got \['loihi1', 'loihi1'\]"):
        energy(counts, ("loihi1", "loihi1"))
    with pytest.raises(InputError, match="at least one target"):
        energy(counts, ())
    with pytest.raises(InputError, match=r"no column 'gpu' in this report. There are: loihi1"):
        _ = energy(counts, "loihi1")["gpu"]
