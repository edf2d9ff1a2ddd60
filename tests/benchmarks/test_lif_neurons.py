"""The neurons of a layer alone are timed against the eager loop, the peers and the memory."""

from __future__ import annotations

import pytest
import torch

from benchmarks import lif_neurons, timing
from benchmarks.__main__ import main
from benchmarks.libraries import UnavailableError
from benchmarks.options import Options


@pytest.fixture(scope="module")
def found():
    return lif_neurons.measure(Options(quick=True))


def test_a_lif_layer_is_timed_against_the_eager_loop(found):
    assert {"neurosim", "eager loop"} <= set(found["contenders"])
    assert set(found["contenders"]) | set(found["omitted"]) == {"neurosim", "eager loop", *lif_neurons.PEERS}
    assert found["floor"]["bytes"] == 5 * 10 * 4 * 32 * 4
    for each in found["contenders"].values():
        assert 0 < each["fastest_s"] <= each["p10_s"] <= each["median_s"] <= each["p90_s"]
        assert each["calls"] == 16
    assert found["contenders"]["neurosim"]["spikes_that_agree"] == 1.0


def test_the_table_holds_every_contender(found):
    assert all(name in lif_neurons.table(found) for name in (*found["contenders"], "memory floor"))


def test_a_time_below_the_floor_stops_the_benchmark(monkeypatch, capsys):
    real = lif_neurons.interleaved

    def impossible(contenders, *rest, **more):
        times = real(contenders, *rest, **more)
        return {name: timing.Times((1e-12,)) if name == "neurosim" else each for name, each in times.items()}

    monkeypatch.setattr(lif_neurons, "interleaved", impossible)
    assert main(["lif-neurons", "--quick"]) == 1
    assert "lif-neurons is wrong: neurosim took 1.00e-12 s; moving 25600 bytes takes" in capsys.readouterr().err


def test_contenders_that_do_something_else_stop_the_benchmark(monkeypatch, capsys):
    monkeypatch.setattr(lif_neurons, "build", lambda name, layers: torch.zeros_like)
    assert main(["lif-neurons", "--quick"]) == 1
    assert "lif-neurons is wrong: SpikingJelly agrees with the eager loop at only 0." in capsys.readouterr().err


def test_a_missing_library_is_named(monkeypatch):
    def build(name, layers):
        raise UnavailableError(f"not installed: {name}")

    monkeypatch.setattr(lif_neurons, "build", build)
    alone = lif_neurons.measure(Options(quick=True))
    assert set(alone["contenders"]) == {"neurosim", "eager loop"}
    assert "Norse         omitted: not installed: Norse" in lif_neurons.table(alone)
