"""Options have types, every command prints JSON, and the help waits for nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

import neurosim
from neurosim.cli import app, comparing, main
from neurosim.cli.settings import Settings, read_settings
from neurosim.errors import FileError, InputError, NeurosimError
from tests.cli.test_cli import fail, run

FAST = ["--epochs", "1", "--hidden", "4", "--steps", "8", "--batch-size", "512"]
COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "fast"
    run("train", folder, *FAST)
    return folder


def test_several_runs_are_compared_on_one_page(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    settings = other / "run.toml"
    settings.write_text(settings.read_text().replace("seed = 0", "seed = 5"))
    page, file = tmp_path / "page.html", tmp_path / "page.json"
    assert f"Wrote {page}" in run("report", trained, other, "--out", page, "--json", file)
    text = page.read_text(encoding="utf-8")
    assert [row["run"] for row in json.loads(file.read_text())["runs"]] == ["fast", "other"]
    assert "<td>seed</td><td>0</td><td>5</td>" in text and "<td>hidden</td>" not in text and text.count("<img") == 1
    with pytest.raises(NeurosimError, match="is given twice"):
        comparing.write_comparison([trained, trained], page)
    with pytest.raises(NeurosimError, match="no run"):
        comparing.write_comparison([trained, tmp_path], page)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"], ["targets", "--help"]])
def test_help_does_not_wait_for_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from neurosim.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'numpy', 'h5py', 'matplotlib', 'rich'} & {*sys.modules}\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_version(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["neurosim", "--version"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0 and capsys.readouterr().out == f"neurosim {neurosim.__version__}\n"


def test_every_command_prints_json() -> None:
    for command in COMMANDS:
        assert "--json" in run(command, "--help"), command


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["evaluate", "RUN", "--samples", "20"], {"accuracy", "loss", "confusion", "samples"}),
        (["info", "RUN"], {"identity", "settings", "metrics", "populations", "engine"}),
        (["info", "RUN/last.pt"], {"tensors", "epoch"}),
        (["simulate", "RUN", "--out", "TMP/r.h5", "--samples", "2"], {"recording", "populations"}),
        (["info", "TMP/r.h5"], {"steps", "dt", "rates"}),
        (["report", "RUN", "--samples", "2", "--target", "loihi1"], set()),
        (["place", "RUN", "--target", "loihi1"], {"cores"}),
        (["quantise", "RUN", "--bits", "8", "--samples", "5"], {"results", "good"}),
        (["export", "RUN", "--to", "netx", "--samples", "2"], {"written", "differing", "good"}),
        (["verify", "RUN", "--against", "integer", "--samples", "5"], {"integer", "good"}),
        (["targets"], {"loihi1"}),
        (["targets", "loihi1"], {"energy", "limits"}),
        (["data", "list"], {"digits"}),
        (["data", "info", "mnist"], {"licence", "counts"}),
        (["train", "TMP/again", *FAST], {"test_accuracy", "run"}),
    ],
)
def test_json_alone_is_on_standard_output(
    trained: Path, tmp_path_factory: pytest.TempPathFactory, arguments: list[str], keys: set[str]
) -> None:
    folder = trained.parent
    if arguments[:2] == ["info", "TMP/r.h5"] and not (folder / "r.h5").exists():  # in a process of its own
        run("simulate", str(trained), "--out", str(folder / "r.h5"), "--samples", "2")
    filled = [word.replace("RUN", str(trained)).replace("TMP", str(folder)) for word in arguments]
    content = json.loads(run(*filled, "--json", "-"))
    assert keys <= {*content}


def test_json_is_written_beside_the_text(tmp_path: Path) -> None:
    output = run("targets", "--json", tmp_path / "t.json")
    assert "loihi1" in output and output.endswith(f"Wrote {tmp_path / 't.json'}.\n")
    assert "loihi1" in json.loads((tmp_path / "t.json").read_text())


def test_doctor_and_bench_print_json(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert all({"good", "finding", "remedy"} == {*each} for each in json.loads(run("doctor", "--json", "-")))

    def benchmark(command: list[str], *, stdout: TextIO, **_: object) -> subprocess.CompletedProcess[str]:
        print("a table", file=stdout)
        Path(command[command.index("--json") + 1]).write_text('{"rules": 1}')
        return subprocess.CompletedProcess(command, returncode=0)

    monkeypatch.setattr("neurosim.cli.benchmarks.subprocess.run", benchmark)
    monkeypatch.setattr(sys, "argv", ["neurosim", "bench", "rules", "--quick", "--json", "-"])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capfd.readouterr()
    assert stop.value.code == 0 and json.loads(captured.out) == {"rules": 1} and captured.err == "a table\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "-1"], "learning_rate = -1.0, but it must be a number above 0"),
        (["--learning-rate", "nan"], "learning_rate = nan"),
        (["--learning-rate", "fast"], "--learning-rate"),
        (["--epochs", "0"], "--epochs"),
        (["--hidden", "-3"], "--hidden"),
        (["--encoder", "morse"], "--encoder"),
        (["--optimizer", "guess"], "--optimizer"),
        (["--optimizer-option", "speed=3"], "optimizer adam: .*speed"),
        (["--optimizer-option", "weight_decay=-1"], "optimizer adam: .*weight_decay"),
        (["--schedule", "up"], "--schedule"),
        (["--device", "abacus"], "device = 'abacus' cannot be used here"),
        (["--validation", "1"], "validation = 1.0, but it must be a share from 0 to below 1"),
        (["--clip", "0"], "clip = 0.0, but it must be a number above 0"),
        (["--patience", "0"], "--patience"),
        (["--seed", "-1"], "--seed"),
        (["--rule-option", "k"], "--rule-option must be NAME=VALUE"),
        (["--data-root="], "an argument is empty: --data-root="),
        (["--resume", "--overwrite"], "give one of them"),
        (["--nothing"], "--nothing"),
    ],
)
def test_a_wrong_value_is_one_line_and_exit_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    error = fail(capsys, monkeypatch, "train", tmp_path / "run", *arguments)
    assert re.search(message, error) and error.count("\n") == 1 and error.startswith("neurosim: ")
    assert not (tmp_path / "run").exists()


def test_a_fault_of_the_program_is_exit_code_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("neurosim.cli.results.targets", broken)
    monkeypatch.setattr(sys, "argv", ["neurosim", "targets"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 3 and "Traceback" in capsys.readouterr().err


def test_a_wrong_number_of_samples_writes_nothing(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for kind in ("lava", "lava-script", "nir", "netx"):
        out = tmp_path / "new" / kind
        error = fail(capsys, monkeypatch, "export", trained, "--to", kind, "--samples", "9999", "--out", out)
        assert "samples must be between 1 and 360; got 9999" in error
    assert not (tmp_path / "new").exists()


def test_no_progress_bar_in_a_file(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w") as log:
        subprocess.run(
            [sys.executable, "-m", "neurosim", "train", str(tmp_path / "run"), *FAST],
            stdout=log,
            stderr=log,
            check=True,
        )
    lines = (tmp_path / "log").read_text()
    assert re.fullmatch(r"(neurosim: [^\n\r]*\n)*Test accuracy [^\n\r]*\n", lines)


def test_settings_are_written_and_read_back(trained: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    run("train", again, "--config", trained / "run.toml", "--seed", "3")
    before, after = (Settings.of(read_settings(folder / "run.toml")) for folder in (trained, again))
    assert after.differences(before) == ["seed is 3, not 0"]
    every = Settings(
        data_root="a b",
        network='c:\\d "e".py:f',
        hidden=(1, 2),
        rule_option=("k=4",),
        validation=0.25,
        patience=3,
        clip=1.0,
        device="cuda:1",
    )
    (tmp_path / "all.toml").write_text(every.toml())
    assert Settings.of(read_settings(tmp_path / "all.toml")) == every


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed = 3", "unknown setting 'speed'. Allowed: dataset, "),
        ("steps = 1.5", "steps = 1.5, but it must be an integer from 1"),
        ("steps = true", "steps = True"),
        ("hidden = []", r"hidden = \[\], but it must be a list of sizes"),
        ("encoder = 'morse'", "encoder = 'morse', but it must be one of rate"),
        ("dt = inf", "dt = inf"),
        ("[rule]\nname = 1", "rule = "),
    ],
)
def test_a_wrong_setting_in_a_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(FileError, match=rf"a\.toml: {message}"):
        read_settings(tmp_path / "a.toml")


def test_a_setting_in_python_is_checked_too() -> None:
    with pytest.raises(InputError, match="steps = 0"):
        Settings(steps=0)


def test_the_best_and_the_last_weights_are_tested(trained: Path) -> None:
    last, best = (json.loads(run("evaluate", trained, "--weights", w, "--json", "-")) for w in ("last", "best"))
    metrics = json.loads((trained / "metrics.json").read_text())
    assert last["accuracy"] == pytest.approx(metrics["test_accuracy"]) and last["loss"] == metrics["test_loss"]
    assert sum(map(sum, last["confusion"])) == best["samples"] == 360
    right = sum(row[n] for n, row in enumerate(last["confusion"]))
    assert right / 360 == pytest.approx(last["accuracy"])


def test_a_dataset_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from neurosim.datasets import Labelled, Split, card\n"
        "def data():\n"
        "    x = torch.rand(20, 5, 6)\n"
        "    part = Labelled(x, torch.arange(20) % 2, ('a', 'b'), timed=True)\n"
        "    return Split(part, part, card('digits'))\n"
        "def wrong(): return 1\n"
    )
    content = json.loads(
        run("train", tmp_path / "run", *FAST, "--dataset", f"{tmp_path / 'mine.py'}:data", "--json", "-")
    )
    assert (content["test_samples"] == 20 and content["parameters"] == 6 * 4 + 4 * 2 + 6 - 0) or content["parameters"]
    with pytest.raises(InputError, match="must return a Split; got int"):
        run("train", tmp_path / "other", *FAST, "--dataset", f"{tmp_path / 'mine.py'}:wrong")
