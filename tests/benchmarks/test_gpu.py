"""The GPU run: every part runs in the interpreter, a part that fails costs the others nothing, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from benchmarks import gpu, gpu_page, gpu_parity
from benchmarks.gpu_clock import Clock, share
from benchmarks.gpu_parts import ON_PURPOSE, PARTS
from benchmarks.timing import Times

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, and it is used")
Result = dict[str, Any]


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=300)


@WITHOUT_GPU
def test_without_a_gpu_it_says_so(root: Path, tmp_path: Path) -> None:
    done = run(root, "--out", str(tmp_path / "results"))
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "results").exists()
    assert "torch sees no CUDA device" in done.stderr and "python -m benchmarks.gpu --dry" in done.stderr


@WITHOUT_GPU
@pytest.mark.parametrize("name", PARTS)
def test_every_part_runs_in_the_interpreter_without_times(name: str) -> None:
    part, seconds = PARTS[name]
    found = json.loads(json.dumps(list(part(Clock(torch.device("cpu")), {}, True))))
    assert found and seconds <= 150
    assert not any("median_s" in each or "share" in each for each in found)
    assert all(each["holds"] for each in found if "holds" in each)
    if name == "parity":
        both = {f"{each}{way}" for each in ("run_core", "run_layer", "run_recurrent") for way in ("", "_backward")}
        assert both | {"pack", "gather", "scatter", "network"} <= {each["operator"] for each in found}
    if name == "train_step":
        kinds = [each.get("measured") for each in found if each["contender"] == "neurosim"]
        assert kinds == ["call to end", "host alone", "replayed graph"]


def test_the_parts_take_no_more_than_the_run() -> None:
    assert gpu.SECONDS == 480
    first = [seconds for _, seconds in list(PARTS.values())[:4]]
    assert sum(first) <= gpu.SECONDS  # what is wanted most is not left out


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[int, Path, str]:
    root, folder = request.getfixturevalue("root"), tmp_path_factory.mktemp("gpu")
    done = run(root, "--dry", "--out", str(folder), "--parts", "failing", "dying", "smoke")
    return done.returncode, folder, done.stdout + done.stderr


@WITHOUT_GPU
def test_a_part_that_fails_or_ends_its_process_costs_the_others_nothing(dry: tuple[int, Path, str]) -> None:
    status, folder, said = dry
    result = json.loads((folder / "results.json").read_text())
    assert status == 0, said  # these two fail on purpose
    parts = result["parts"]
    assert [*parts] == ["failing", "dying", "smoke"] and parts["smoke"]["status"] == "done"
    assert parts["failing"]["status"] == "failed with exit status 1"
    assert "RuntimeError: this part fails on purpose" in parts["failing"]["error"]
    assert parts["dying"]["status"].startswith("failed with exit status -")
    assert [len(parts[name]["records"]) for name in ("failing", "dying")] == [1, 1]  # what it had written is kept
    html = (folder / "index.html").read_text()
    assert "fails on purpose" in html and "Triton&#x27;s interpreter" in html and "run_core" in html
    assert "failing: failed with exit status 1; 1 records kept" in said


def result_of(*records: Result, status: str = "done") -> Result:
    part = {"status": status, "seconds": 1.0, "error": "", "records": [*records]}
    return {"dry": True, "seconds": 1.0, "parts": {"part": part}}


def test_verdicts() -> None:
    holds = {"case": "a", "away": 0.0, "allowed": 0.1, "holds": True}
    wrong = {"case": "this one", "away": 0.25, "allowed": 0.125, "holds": False}
    result = result_of(
        {"operator": "pack", **holds},
        {"operator": "pack", **wrong},
        {"operator": "gather", **holds},
        {"operator": "gather", "share": 0.5, "launches": 2},
        {"operator": "gather", "share": 0.25, "launches": 1},
        {"operator": "scatter", **holds},
        {"operator": "scatter", "share": 1.5, "implausible": True},
        {"operator": "step", "launches": None},
    )
    assert gpu_page.verdicts(result) == [
        ("pack", "1 of 2", "not measured", "not counted", "wrong"),
        ("gather", "1 of 1", "0.25 to 0.50", "1 to 2", "right"),
        ("scatter", "1 of 1", "1.50 to 1.50", "not counted", "suspect"),
        ("step", "none", "not measured", "not counted", "not compared"),
    ]
    text = gpu_page.summary(result)
    assert "does not hold: pack, this one: 2.50e-01 away, 1.25e-01 allowed" in text


def test_the_exit_status_and_what_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended: dict[str, str] = {}

    def fake(name: str, options: Any, seconds: float) -> Result:
        part = result_of({"operator": "x", "holds": ended.get(name) != "wrong", "case": "", "away": 1, "allowed": 0})
        return {**part["parts"]["part"], "status": ended.get(name, "done")}

    monkeypatch.setattr(gpu, "_run", fake)
    monkeypatch.setattr(gpu, "_has_gpu", lambda: True)
    arguments = ["--out", str(tmp_path), "--parts", "smoke", "neurons"]
    assert gpu.main(arguments) == 0
    ended["neurons"] = "stopped after 75 s"
    assert gpu.main(arguments) == 1
    ended["neurons"] = "wrong"
    assert gpu.main(arguments) == 1
    assert gpu.main(["--out", str(tmp_path), "--parts", "nothing"]) == 2
    assert json.loads((tmp_path / "results.json").read_text())["parts"]["smoke"]["status"] == "done"


def test_a_part_that_hangs_is_stopped_and_one_without_time_is_left_out(tmp_path: Path) -> None:
    options = gpu.argparse.Namespace(out=tmp_path, dry=True)
    (tmp_path / "smoke.jsonl").write_text("old")
    assert gpu._run("smoke", options, 3.0)["status"] == "left out: no time was left"
    assert not (tmp_path / "smoke.jsonl").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "_STARTING", 0.1)
        patch.setattr(gpu.sys, "executable", str(_hanging(tmp_path)))
        found = gpu._run("smoke", options, 0.5)
    assert found["status"] == "stopped after 0 s" and found["records"] == []


def _hanging(folder: Path) -> Path:
    """Return a program that does nothing for longer than it may."""
    program = folder / "hanging"
    program.write_text("#!/bin/sh\nexec sleep 20\n")
    program.chmod(0o755)
    return program


def test_records_before_a_broken_line_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    path.write_text('{"a": 1}\n{"b": 2}\n{"c": ')
    assert gpu.read(path) == [{"a": 1}, {"b": 2}] and gpu.read(tmp_path / "none.jsonl") == []


def test_more_than_the_device_can_do_is_marked() -> None:
    times = Times((0.5, 1.0, 2.0))
    assert share(times, 8.0, 10.0) == {"share": 0.8}
    assert share(None, 8.0, 10.0) == share(times, 8.0, None) == {}
    assert share(times, 20.0, 10.0) == {"share": 2.0, "implausible": True}


@pytest.mark.parametrize(
    ("a", "b", "far"), [([1.0, 2.0], [1.0, 2.0], 0.0), ([1.0, 3.0], [1.0, 2.0], 0.5), ([float("nan")], [1.0], None)]
)
def test_distance(a: list[float], b: list[float], far: float | None) -> None:
    found = gpu_parity.away(torch.tensor(a), torch.tensor(b))
    assert found == (float("inf") if far is None else far)
    assert gpu_parity.Parity("", "", found, 0.5).holds == (far is not None)


def test_those_that_fail_on_purpose_run_in_a_dry_run_alone() -> None:
    assert not {*ON_PURPOSE} & {*PARTS}
