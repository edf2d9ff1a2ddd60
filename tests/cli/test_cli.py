"""The command line does what its help says, and an error is one clear line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neurosim.cli import app, main
from neurosim.recording.recording import Recording

QUICK = ["--epochs", "1", "--hidden", "16", "--steps", "8"]


def run(*arguments: str | Path) -> str:
    """Run a command in this process and return what it prints."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def fail(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    """Run a command that must fail the way a user sees it; return its standard error."""
    monkeypatch.setattr(sys, "argv", ["neurosim", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "quick"
    output = run("train", folder, *QUICK)
    assert "Test accuracy" in output
    return folder


def test_train_leaves_a_run(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["test_samples"] == 360
    assert 0.0 <= metrics["test_accuracy"] <= 1.0
    assert {"run.toml", "run.json", "last.pt", "best.pt", "history.json"} <= {f.name for f in trained.iterdir()}


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    straight, parts = tmp_path / "straight", tmp_path / "parts"
    run("train", straight, *QUICK[2:], "--epochs", "2")
    # The cosine schedule depends on the number of epochs, so the first part is stopped rather than asked for less.
    code = (
        "import sys, neurosim.learning.training.fit as loop\n"
        "from pathlib import Path\n"
        "from neurosim.cli import runs\n"
        "fit = loop.fit\n"
        "def stop(row): raise KeyboardInterrupt\n"
        "runs.fit = lambda *a, **k: fit(*a, **{**k, 'on_epoch': stop})\n"
        "runs.train(runs.Settings(epochs=2, hidden=(16,), steps=8), Path(sys.argv[1]), progress=False)\n"
    )
    stopped = subprocess.run([sys.executable, "-c", code, str(parts)], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in stopped.stderr
    run("train", parts, *QUICK[2:], "--epochs", "2", "--resume")
    first, second = (json.loads((f / "metrics.json").read_text()) for f in (straight, parts))
    assert first["test_loss"] == second["test_loss"]
    assert first["epochs"] == second["epochs"] == 2


def test_simulate_writes_a_recording(trained: Path, tmp_path: Path) -> None:
    output = run(
        "simulate", trained, "--out", tmp_path / "r.h5", "--samples", "3", "--record", "hidden", "--record", "output.v"
    )
    assert "hidden:" in output
    with Recording.load(tmp_path / "r.h5") as recording:
        assert recording.spikes["hidden"].B == 3
        assert recording.traces["output.v"].shape == (8, 3, 10)


def test_report_draws_and_prices(trained: Path) -> None:
    output = run("report", trained, "--samples", "3", "--target", "loihi1", "--target", "loihi2")
    assert "loihi2 is refused" in output
    for name in (
        "raster.png",
        "traces.png",
        "learning.png",
        "energy.png",
        "energy.json",
        "latency.json",
        "report.html",
    ):
        assert (trained / name).stat().st_size > 500
    assert (trained / "raster.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_export_checks_every_spike(trained: Path) -> None:
    pytest.importorskip("lava")
    output = run("export", trained, "--samples", "2")
    assert "0 of" in output
    check = json.loads((trained / "lava_check.json").read_text())
    assert check["spikes_differing"] == 0
    assert check["spikes_compared"] == 2 * 8 * (16 + 10)
    assert (trained / "lava.npz").exists()


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import neurosim as ns\n"
        "def make(shape, classes, dt):\n"
        "    return ns.Sequential(ns.Input(shape), ns.Conv2d(1, 4, 3), ns.LIF(r=10.0, dt=dt), ns.Flatten(),\n"
        "                         ns.Linear(144, classes), ns.LI(dt=dt))\n"
    )
    run(
        "train",
        tmp_path / "run",
        *QUICK,
        "--network",
        f"{file}:make",
        "--rule",
        "sltt",
        "--loss",
        "cross-entropy",
        "--rule-option",
        "k=4",
    )
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["rule"] == "SLTT(k=4, chunk=8)"


def test_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Path
) -> None:
    assert "no run.toml" in fail(capsys, monkeypatch, "report", tmp_path / "nothing")
    assert "no 'cifar' among the bundled datasets: there are asl_dvs, braille, " in fail(
        capsys, monkeypatch, "train", tmp_path / "x", "--dataset", "cifar"
    )
    assert "Did you pass milliseconds?" in fail(capsys, monkeypatch, "train", tmp_path / "x", "--tau-mem", "20")
    assert "rule bptt has no option 'k'; it has recompute" in fail(
        capsys, monkeypatch, "train", tmp_path / "x", "--rule-option", "k=3"
    )
    assert "a mean over steps" in fail(capsys, monkeypatch, "train", tmp_path / "x", "--rule", "sltt")
    assert "'onnx' is not one of 'lava'" in fail(capsys, monkeypatch, "export", trained, "--to", "onnx")
    assert "FILE.py:FUNCTION" in fail(capsys, monkeypatch, "train", tmp_path / "x", "--network", "missing.py:make")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.toml").write_text("dataset = ")
    error = fail(capsys, monkeypatch, "simulate", broken, "--out", tmp_path / "r.h5")
    assert "run.toml is not TOML" in error
    assert (broken / "run.toml").read_text() == "dataset = "


def test_a_truncated_checkpoint_is_named_and_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("run.toml", "run.json", "metrics.json", "history.json"):
        (copy / name).write_bytes((trained / name).read_bytes())
    damaged = (trained / "last.pt").read_bytes()[:1000]
    (copy / "last.pt").write_bytes(damaged)
    assert "last.pt" in fail(capsys, monkeypatch, "report", copy)
    assert (copy / "last.pt").read_bytes() == damaged


def test_help_names_every_command() -> None:
    output = run("--help")
    for command in (
        "demo",
        "train",
        "evaluate",
        "info",
        "targets",
        "data",
        "simulate",
        "report",
        "export",
        "doctor",
    ):
        assert command in output
