"""The benchmarks run, say what they should, and see through a measurement that cannot be."""

from __future__ import annotations

import json

import pytest
import torch

import neurosim as ns
from benchmarks import lif_layer, sltt_memory, timing
from benchmarks.__main__ import main


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    assert main(["--quick", "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_the_machine_is_described(figures):
    assert {"date", "processor", "cores", "threads", "load", "torch"} <= set(figures["machine"])


def test_a_lif_layer_is_timed_against_the_eager_loop(figures):
    found = figures["lif-layer"]
    assert {"neurosim", "eager loop"} <= set(found["contenders"])
    assert set(found["contenders"]) | set(found["not_installed"]) == {
        "neurosim",
        "eager loop",
        "SpikingJelly",
        "snnTorch",
        "Norse",
    }
    assert found["floor"]["bytes"] == 5 * 10 * 4 * 32 * 4
    for each in found["contenders"].values():
        assert 0 < each["fastest_s"] <= each["p10_s"] <= each["median_s"] <= each["p90_s"]
        assert each["calls"] == 16
    assert found["contenders"]["neurosim"]["spikes_that_agree"] == 1.0


def test_the_memory_of_sltt_does_not_grow_with_the_run(figures):
    found = figures["sltt-memory"]
    assert found["longest_over_shortest"]["SLTT"] <= 1.05
    assert found["longest_over_shortest"]["BPTT"] == pytest.approx(3, rel=0.05)


def test_tables_hold_every_contender(figures):
    lif, memory = lif_layer.table(figures["lif-layer"]), sltt_memory.table(figures["sltt-memory"])
    assert all(name in lif for name in (*figures["lif-layer"]["contenders"], "memory floor"))
    assert all(name in memory for name in figures["sltt-memory"]["peak_bytes"])


@pytest.mark.parametrize("rule", [ns.SLTT(), ns.SLTT(chunk=1), ns.SLTT(k=5)], ids=repr)
def test_sltt_holds_over_long_runs_what_it_holds_at_10_steps(rule):
    sizes = (20, 16, 10)
    assert sltt_memory.peak(rule, 200, sizes) <= 1.05 * sltt_memory.peak(rule, 10, sizes)


def test_the_count_of_activations_is_right():
    x = torch.ones(1000, requires_grad=True)
    with sltt_memory.activations(x) as count:
        y = (x * 2).exp()  # exp keeps its result; the product keeps nothing of its own
        assert (count.now, count.peak) == (4000, 4000)
        z = y * y  # the same memory, kept twice more
        assert count.now == 4000
        z.sum().backward()
    assert (count.now, count.peak) == (0, 4000)


def test_a_time_below_the_floor_stops_the_benchmark(monkeypatch, capsys):
    real = lif_layer.interleaved

    def impossible(contenders, *rest, **more):
        found = real(contenders, *rest, **more)
        return {name: timing.Times((1e-12,)) if name == "neurosim" else times for name, times in found.items()}

    monkeypatch.setattr(lif_layer, "interleaved", impossible)
    assert main(["lif-layer", "--quick"]) == 1
    assert "lif-layer is wrong: neurosim took 1.00e-12 s; moving 25600 bytes takes" in capsys.readouterr().err


def test_contenders_that_do_something_else_stop_the_benchmark(monkeypatch, capsys):
    monkeypatch.setattr(lif_layer.peers, "available", lambda dt, tau: ({"other": torch.zeros_like}, {}))
    assert main(["lif-layer", "--quick"]) == 1
    assert "lif-layer is wrong: other agrees with the eager loop at 0." in capsys.readouterr().err


def test_turns_are_taken_and_sorted():
    calls = []
    contenders = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    times = timing.interleaved(contenders, rounds=5, calls=2)
    assert len(calls) == 2 * (2 + 5 * 3)
    assert all(list(t.seconds) == sorted(t.seconds) and len(t.seconds) == 10 for t in times.values())


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["nothing"])
    assert "no benchmark 'nothing'; there are lif-layer, sltt-memory" in capsys.readouterr().err
