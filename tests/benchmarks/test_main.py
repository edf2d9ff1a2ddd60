"""Every benchmark runs and says what it should; asking for what is not there is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from benchmarks import conv_step, fresh, lif_layer, machine, memory, recurrent_step, shd_step, train_step
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.compare import PRODUCTS
from benchmarks.fresh import FreshError
from benchmarks.libraries import CONTENDERS
from neurosim.errors import FileError

COMPARISONS = (train_step, lif_layer, conv_step, recurrent_step, shd_step)


def quick(tmp_path, name: str) -> dict[str, Any]:
    """Run one benchmark in small and return what it writes."""
    path = tmp_path / "figures.json"
    assert main([name, "--quick", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["quick"] is True
    assert {"date", "processor", "cores", "threads", "load", "torch", *machine.PEERS} <= set(found["machine"])
    return found[name]


@pytest.mark.parametrize("benchmark", COMPARISONS, ids=lambda each: each.NAME)
def test_a_comparison_holds_all_that_is_asked_for(benchmark, tmp_path, capsys):
    found = quick(tmp_path, benchmark.NAME)
    shown = capsys.readouterr().out
    for case in found["cases"]:
        contenders, omitted = case["contenders"], case["omitted"]
        assert {"neurosim", "plain loop", PRODUCTS} <= set(contenders)
        assert set(contenders) | set(omitted) == {*CONTENDERS, PRODUCTS}
        assert not set(contenders) & set(omitted)
        assert case["best_peer"] in set(contenders) - {"neurosim", "neurosim, triangle", PRODUCTS}
        assert contenders[case["best_peer"]]["times_as_fast_as_best_peer"] == 1.0
        assert all(0.001 < rate < 0.5 for rate in case["layer_rates"])
        assert {"flops", "input_flops", "bytes", "product_flops_per_s", "copy_bytes_per_s"} == set(case["floor"])
        for name, each in contenders.items():
            assert 0 < each["fastest_s"] <= each["p10_s"] <= each["median_s"] <= each["p90_s"]
            assert each["calls"] == 2
            assert each["peak_bytes"] is None
            assert each["floor_s"] > 0
            assert name in shown
            if name != PRODUCTS:
                assert each["spikes_that_agree"] >= 0.999
                assert 0 < each["gradient_cosine"] < 1.0001
        # What has the same surrogate and the same reset has the same gradient.
        for name in {"neurosim", "SpikingJelly", "sinabs"} & set(contenders):
            assert contenders[name]["gradient_cosine"] == pytest.approx(1, abs=1e-4), name
        assert ("synthetic stand-in" in case["work"]) == (benchmark is conv_step)
        assert all(why in shown for why in omitted.values())


def test_small_networks_beside_a_loop(tmp_path, capsys):
    found = quick(tmp_path, "small-steps")["cases"]
    assert [set(each) for each in found.values()] == [{"neurosim", "plain loop"}] * 2 + [{"neurosim"}]
    shown = capsys.readouterr().out
    for case, contenders in found.items():
        assert case in shown
        assert all(0 < each["fastest_s"] <= each["median_s"] for each in contenders.values())


def test_memory_is_measured_for_every_rule(tmp_path, capsys):
    found = quick(tmp_path, "memory")
    assert set(fresh.RULES) <= set(found["contenders"])
    assert set(found["contenders"]) | set(found["omitted"]) == {*fresh.RULES, *memory.PEERS}
    for each in found["contenders"].values():
        assert list(each) == ["4", "8"]
        for point in each.values():
            assert point["peak_bytes"] >= 0
            assert point["median_s"] > 0
    assert "last/first" in capsys.readouterr().out


def test_a_second_batch_size_compiles_nothing(tmp_path, capsys):
    found = quick(tmp_path, "cold-start")
    ours = found["contenders"]["neurosim"]
    assert ours["compiled_first"] > 0
    assert ours["compiled_second"] == 0
    assert 0 < ours["import_and_build_s"] < ours["first_step_s"]
    assert ours["second_size_s"] > 0
    assert found["contenders"]["plain loop"]["compiled_second"] is None
    assert set(found["contenders"]) | set(found["omitted"]) == set(CONTENDERS)
    assert "plain loop" in capsys.readouterr().out


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["nothing"])
    assert "no benchmark 'nothing'; there are train-step, lif-layer, " in capsys.readouterr().err


def test_a_folder_without_recordings_is_refused(tmp_path, capsys):
    assert main(["conv-step", "--quick", "--data", str(tmp_path)]) == 2
    assert f"conv-step: {tmp_path} holds 0 N-MNIST recordings" in capsys.readouterr().err


@pytest.mark.parametrize("error", [FreshError("the process broke"), FileError("the disk is full")])
def test_a_failure_is_one_line(error, monkeypatch, capsys):
    def measure(options):
        raise error

    monkeypatch.setattr(BENCHMARKS["memory"], "measure", measure)
    assert main(["memory"]) == (1 if isinstance(error, FreshError) else 2)
    assert str(error) in capsys.readouterr().err


def test_what_was_found_is_kept_when_a_later_one_fails(tmp_path, monkeypatch):
    def measure(options):
        raise FreshError("the process broke")

    monkeypatch.setattr(BENCHMARKS["rules"], "measure", lambda options: {"rules": {}})
    monkeypatch.setattr(BENCHMARKS["rules"], "table", lambda result: "")
    monkeypatch.setattr(BENCHMARKS["memory"], "measure", measure)
    path = tmp_path / "figures.json"
    assert main(["rules", "memory", "--quick", "--json", str(path)]) == 1
    found = json.loads(path.read_text())
    assert "rules" in found
    assert "memory" not in found


def test_sizes_are_those_of_the_published_benchmarks(monkeypatch):
    asked: list[tuple[str, dict[str, Any]]] = []

    def record(task, options, **_):
        asked.append((task, dict(options)))
        return {}

    for benchmark in COMPARISONS:
        monkeypatch.setattr(benchmark, "compare", record)
        benchmark.measure(conv_step.Options())
    assert asked == [
        *(("feedforward", {"rate": rate}) for rate in (0.01, 0.05, 0.1, 0.2)),
        *(("dense", {"width": width}) for width in (512, 4096)),
        ("conv", {"data": None}),
        *(("recurrent", {"steps": steps}) for steps in (100, 1000)),
        ("feedforward", {"steps": 256, "batch": 256, "sizes": (128, 128, 128, 20)}),
    ]
    assert math.isclose(sum(options.get("rate", 0) for _, options in asked), 0.36)
