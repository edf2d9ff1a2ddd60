"""The recipe for the microcircuit: statistics of distributions against known ones, files, published parameters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import pd14
from benchmarks.peers import specs


def test_the_statistic_of_kolmogorov_and_smirnov_equals_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=300), rng.normal(0.4, 1.3, size=211)
    assert pd14.kolmogorov_smirnov(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert pd14.kolmogorov_smirnov(a, a) == 0.0 and pd14.kolmogorov_smirnov(a, a + 100) == 1.0
    assert np.isnan(pd14.kolmogorov_smirnov(a, a[:0]))


def test_distributions_of_independent_and_of_equal_trains() -> None:
    spec = specs.pd14(quick=True)
    steps, rng = 20_000, np.random.default_rng(1)
    step, neuron = np.nonzero(rng.random((steps, spec.neurons)) < 2e-3)
    found = pd14.distributions(step, neuron, spec, steps)
    assert set(found) == {f"{name} {measure}" for name in spec.sizes for measure in pd14.MEASURES}
    assert found["L4E rate"].mean() == pytest.approx(20.0, rel=0.02)
    assert found["L4E cv"].mean() == pytest.approx(1.0, abs=0.05)
    assert len(found["L23E correlation"]) == 200 * 199 // 2
    assert found["L4E correlation"].mean() == pytest.approx(0.0, abs=0.01)
    # All neurons send the spikes of the first one.
    alike = np.repeat(step[neuron == 0], spec.neurons), np.tile(np.arange(spec.neurons), int((neuron == 0).sum()))
    assert pd14.distributions(*alike, spec, steps)["L6I correlation"].min() == pytest.approx(1.0)


def test_distributions_are_written_read_and_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    runs = [{"L4E rate": rng.normal(size=50), "L5I cv": rng.normal(size=20)} for _ in range(3)]
    pd14.save(tmp_path / "runs.npz", runs)
    read = pd14.load(tmp_path / "runs.npz")
    assert len(read) == 3 and all((a[k] == b[k]).all() for a, b in zip(runs, read, strict=True) for k in a)
    alone = pd14.compared(read)["L5I cv"]
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert alone["among_own"] == pytest.approx(
        np.mean([pd14.kolmogorov_smirnov(runs[i]["L5I cv"], runs[k]["L5I cv"]) for i, k in pairs])
    )
    assert np.isnan(alone["to_reference"]) and np.isnan(alone["among_seeds"])
    found = pd14.compared(read[:1], read)
    assert np.isnan(found["L4E rate"]["among_own"]) and found["L5I cv"]["among_seeds"] == alone["among_own"]
    assert set(found) == {"L4E rate", "L5I cv"} and found["L4E rate"]["among_seeds"] > 0
    assert found["L4E rate"]["to_reference"] == pytest.approx(
        np.mean([pd14.kolmogorov_smirnov(runs[0]["L4E rate"], other["L4E rate"]) for other in runs])
    )


def test_published_parameters_are_compared() -> None:
    table = {
        "populations": list(specs.PD_SIZES),
        "full_num_neurons": list(specs.PD_SIZES.values()),
        "conn_probs_target_by_source": [list(row) for row in specs.PD_PROBABILITIES],
        "K_ext": list(specs.PD_DRIVE.values()),
        "full_mean_rates_Hz_one_run": [1.0] * 8,
    }
    assert pd14.check_parameters(json.loads(json.dumps(table))).tolist() == [1.0] * 8
    with pytest.raises(ValueError, match="K_ext is"):
        pd14.check_parameters({**table, "K_ext": [1] * 8})


def test_a_small_part_of_the_circuit_runs_by_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "result.json"
    arguments = ["--scale", "0.01", "--seconds", "0.02", "--seeds", "2", "--seed-seconds", "0.05"]
    assert pd14.main([*arguments, "--save", str(tmp_path / "own.npz"), "--json", str(path)]) == 0
    assert pd14.main([*arguments, "--seconds", "0", "--seeds", "1", "--reference", str(tmp_path / "own.npz")]) == 0
    result = json.loads(path.read_text())
    assert result["speed"]["factor"] > 0 and result["accuracy"]["seeds"] == 2
    assert set(result["accuracy"]["rates"]) == set(specs.PD_SIZES)
    shown = capsys.readouterr().out
    assert "wall / biological time" in shown and "KS rate" in shown
    assert "KS: mean over pairs of these seeds" in shown and "KS: mean over pairs of seeds, to the reference" in shown
    among = result["accuracy"]["ks"]["L4E rate"]["among_own"]
    assert 0 < among < 1


def test_a_simulator_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pd14.main(["--simulator", "NEST", "--peers", str(tmp_path)]) == 2
    assert "make bench-peers" in capsys.readouterr().err
