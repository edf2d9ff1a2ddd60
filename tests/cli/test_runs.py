"""The folder of a run: one owner, one identity, settings that stay, and no file of an older run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from neurosim.cli import runs
from neurosim.cli.folder import identity_of, settings_of
from neurosim.cli.schedule import Cosine
from neurosim.cli.settings import Settings
from neurosim.errors import FileError, InputError, NeurosimError
from neurosim.learning import load_checkpoint
from tests.cli.test_cli import QUICK, fail, run

FAST = Settings(epochs=1, hidden=(4,), steps=2, batch_size=512)
KILL = """
import os, signal, sys
from pathlib import Path
from neurosim.cli import runs
from neurosim.learning.training import trainer
def stop(*_): os.kill(os.getpid(), signal.SIGKILL)
trainer.Run.train_epoch = stop
settings = runs.Settings(epochs=1, hidden=(4,), steps=2, batch_size=512, seed=1)
runs.train(settings, Path(sys.argv[1]), overwrite=True, progress=False)
"""


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "fast"
    runs.train(FAST, folder, progress=False)
    return folder


def copied(source: Path, target: Path) -> Path:
    target.mkdir()
    for name, data in content(source).items():
        (target / name).write_bytes(data)
    return target


@pytest.mark.parametrize(
    "change",
    [
        ("--hidden", "5"),
        ("--steps", "3"),
        ("--batch-size", "511"),
        ("--seed", "1"),
        ("--dt", "2e-3"),
        ("--tau-mem", "4e-3"),
        ("--gain", "4"),
        ("--learning-rate", "1e-3"),
        ("--rule", "sltt"),
        ("--loss", "cross-entropy"),
        ("--schedule", "constant"),
        ("--encoder", "latency"),
    ],
)
def test_a_resume_with_another_setting_is_refused_and_changes_nothing(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, change: tuple[str, str]
) -> None:
    before = content(trained)
    error = fail(capsys, monkeypatch, "train", trained, "--resume", *change)
    assert change[0].removeprefix("--").replace("-", "_") in error and "keeps its settings, except epochs" in error
    assert content(trained) == before


def test_a_resume_needs_no_option_again(trained: Path, tmp_path: Path) -> None:
    folder = copied(trained, tmp_path / "run")
    run("train", folder, "--resume", "--epochs", "3")
    assert settings_of(folder) == Settings.of({**FAST.table(), "epochs": 3})
    assert identity_of(folder) == identity_of(trained)
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == 3
    rates = [row["learning_rate"] for row in json.loads((folder / "history.json").read_text())["rows"]]
    assert rates == pytest.approx([2e-3, 1.5e-3, 0.5e-3])


def test_fewer_epochs_than_were_trained_are_refused(trained: Path, tmp_path: Path) -> None:
    folder = copied(trained, tmp_path / "run")
    run("train", folder, "--resume", "--epochs", "2")
    before = content(folder)
    with pytest.raises(InputError, match=r"epochs = 1, but the run in .* has 2 already"):
        runs.train(FAST, folder, resume=True, progress=False)
    assert content(folder) == before


def test_a_fresh_run_in_the_folder_of_another_is_refused(trained: Path) -> None:
    before = content(trained)
    with pytest.raises(FileError, match=r"holds a run\. Give --resume to continue it, --overwrite"):
        runs.train(FAST, trained, progress=False)
    assert content(trained) == before


def test_a_fresh_run_that_is_killed_leaves_nothing_of_the_older_one(trained: Path, tmp_path: Path) -> None:
    folder = copied(trained, tmp_path / "run")
    (folder / "report.html").write_text("of the older run")
    (folder / "notes.txt").write_text("mine")
    killed = subprocess.run([sys.executable, "-c", KILL, str(folder)], check=False)
    assert killed.returncode == -9
    assert {*content(folder)} == {".lock", "last.pt", "notes.txt", "run.json", "run.toml"}
    assert settings_of(folder).seed == 1 and identity_of(folder) != identity_of(trained)
    with pytest.raises(FileError, match=r"no metrics\.json"):
        runs.open_run(folder)
    # The lock of the killed process is stale.
    run("train", folder, "--resume")
    straight = runs.train(Settings.of({**FAST.table(), "seed": 1}), tmp_path / "straight", progress=False)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test_loss"] == straight["test_loss"] and metrics["run"] == identity_of(folder).id


def test_a_run_that_another_process_writes_is_refused(trained: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from neurosim.files.lock import owned\n"
        "with owned(Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", hold, str(trained)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()
        for resume in (True, False):
            with pytest.raises(FileError, match=f"in use by process {process.pid}"):
                runs.train(FAST, trained, resume=resume, overwrite=not resume, progress=False)
    finally:
        process.kill()
        process.communicate()
        (trained / ".lock").unlink()


def test_settings_that_cannot_be_used_write_nothing(tmp_path: Path) -> None:
    for settings in (
        {"dataset": "cifar"},
        {"rule": "nothing"},
        {"rule": "event-prop", "loss": "cross-entropy"},  # found at the first batch
        {"device": "abacus"},
        {"optimizer_option": ("speed=1",)},
        {"tau_mem": 20.0},
        {"validation": 1e-9},
    ):
        with pytest.raises(NeurosimError):
            runs.train(Settings.of({**FAST.table(), **settings}), tmp_path / "run", progress=False)
        assert not (tmp_path / "run").exists(), settings


def test_a_file_of_another_run_is_refused(trained: Path, tmp_path: Path) -> None:
    folder = copied(trained, tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "run": "another"}))
    with pytest.raises(FileError, match=r"metrics\.json belongs to another run"):
        runs.open_run(folder)


def test_a_user_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    text = (
        "import neurosim as ns\n"
        "def make(shape, classes, dt):\n"
        "    return ns.Sequential(ns.Input(shape), ns.Flatten(), ns.Linear(64, classes), ns.LIF(r=9.0, dt=dt))\n"
    )
    mine.write_text(text)
    settings = Settings.of({**FAST.table(), "network": f"{mine}:make"})
    runs.train(settings, tmp_path / "run", progress=False)
    runs.open_run(tmp_path / "run")
    mine.write_text(text.replace("r=9.0", "r=1.0"))
    for act in (
        lambda: runs.open_run(tmp_path / "run"),
        lambda: runs.train(settings, tmp_path / "run", resume=True, progress=False),
    ):
        with pytest.raises(FileError, match=r"mine\.py has changed since the run"):
            act()


ODD = [
    "1",
    "null",
    "[]",
    "{}",
    '"text"',
    "[" * 50 + "]" * 50,
    "[" * 100_000,
    "9" * 20_000,
    '{"rows": []}',
    '{"rows": [1]}',
]


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "history.json", "run.toml"])
@pytest.mark.parametrize(
    "text", [*ODD, "hidden = 5", "rule = 3", 'dataset = ""', "a.b = 1", "hidden = [[1]]", "dt = nan"]
)
def test_a_damaged_file_is_named(trained: Path, tmp_path: Path, name: str, text: str) -> None:
    folder = copied(trained, tmp_path / "run")
    (folder / name).write_text(text)
    with pytest.raises(FileError, match=name.replace(".", r"\.")):
        runs.open_run(folder)
    assert (folder / name).read_text() == text


@pytest.mark.parametrize("out", ["", "/dev/null"])
def test_an_output_that_is_no_folder_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trained: Path, out: str
) -> None:
    error = fail(capsys, monkeypatch, "train", out, *QUICK)
    assert "empty" in error or "device" in error
    error = fail(capsys, monkeypatch, "simulate", trained, "--samples", "1", "--out", out)
    assert "empty" in error or "it is a device" in error
    assert not os.path.isfile("/dev/null")


def test_held_out_samples_stop_the_training(tmp_path: Path) -> None:
    settings = Settings.of({**FAST.table(), "epochs": 30, "validation": 0.25, "patience": 1, "learning_rate": 1e-9})
    metrics = runs.train(settings, tmp_path / "run", progress=False)
    assert metrics["epochs"] < 30 and 0 <= metrics["validation_accuracy"] <= 1
    split = runs.data(settings)
    part, held = runs._held_out(settings, split.train)
    assert held is not None and (len(part), len(held)) == (1078, 359)
    rows = {tuple(x.flatten().tolist()) for x in split.train.x}
    assert {tuple(x.flatten().tolist()) for x in (*part.x, *held.x)} == rows


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rprop"])
def test_another_optimizer_and_schedule(tmp_path: Path, optimizer: str) -> None:
    option = ("momentum=0.9",) if optimizer == "sgd" else ()
    settings = {**FAST.table(), "optimizer": optimizer, "optimizer_option": option, "schedule": "constant", "epochs": 2}
    runs.train(Settings.of(settings), tmp_path / "run", progress=False)
    training = load_checkpoint(tmp_path / "run" / "last.pt").training
    assert training is not None and training["run"]["optimizer"].lower() == optimizer
    assert {row["learning_rate"] for row in training["rows"]} == {2e-3}


def rates_of(schedule: Cosine, number: int) -> list[float]:
    found = []
    for _ in range(number):
        found.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return found


def cosine(epochs: int) -> Cosine:
    return Cosine(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), epochs)


def test_a_longer_schedule_has_its_own_rates_and_an_equal_one_the_same_bits() -> None:
    for stop in (1, 3, 4):
        first = cosine(4)
        rates_of(first, stop)
        longer = cosine(8)
        longer.optimizer.load_state_dict(first.optimizer.state_dict())
        longer.load_state_dict(first.state_dict())
        assert rates_of(longer, 8 - stop) == pytest.approx(rates_of(cosine(8), 8)[stop:], abs=1e-12)
    first, same = cosine(4), cosine(4)
    rates_of(first, 2)
    same.optimizer.load_state_dict(first.optimizer.state_dict())
    same.load_state_dict(first.state_dict())
    assert rates_of(same, 2) == rates_of(cosine(4), 4)[2:]


def test_a_refused_resume_leaves_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    runs.train(FAST, folder, progress=False)
    before = (folder / "run.toml").read_bytes()
    monkeypatch.setattr(Cosine, "may_change", ())
    longer = Settings.of({**FAST.table(), "epochs": FAST.epochs + 1})
    with pytest.raises(InputError, match="T_max"):
        runs.train(longer, folder, resume=True, progress=False)
    assert (folder / "run.toml").read_bytes() == before
    monkeypatch.undo()
    runs.train(longer, folder, resume=True, progress=False)
    assert f"epochs = {longer.epochs}\n".encode() in (folder / "run.toml").read_bytes()
