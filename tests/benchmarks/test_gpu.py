"""The GPU benchmark runs through in the interpreter, says when it cannot, and sees through what cannot be."""

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

from benchmarks import gpu, gpu_parity
from benchmarks.timing import ImplausibleError, Times

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, and it is used")


def run(root: Path, *arguments: str, interpret: bool) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TRITON_INTERPRET": "1" if interpret else "0", "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=200)


@WITHOUT_GPU
@pytest.mark.parametrize(("arguments", "interpret"), [((), False), (("--quick",), False), ((), True)])
def test_without_a_gpu_it_says_so(root: Path, arguments: tuple[str, ...], interpret: bool) -> None:
    done = run(root, *arguments, interpret=interpret)
    assert done.returncode == 2 and done.stdout == ""
    assert "torch sees no CUDA device" in done.stderr
    assert "TRITON_INTERPRET=1 python -m benchmarks.gpu --quick" in done.stderr


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("gpu") / "figures.json"
    assert gpu.main(["--quick", "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_every_operator_is_compared_and_timed(figures: dict[str, Any]) -> None:
    compared = {each["operator"] for each in figures["parity"]}
    operators = {"run_core", "run_core_backward", "pack", "gather", "scatter"}
    assert operators | {"layer", "layer_backward", "recurrent", "recurrent_backward"} <= compared
    assert all(each["holds"] for each in figures["parity"])
    assert {"copy_bytes_per_s", "float32_flop_per_s", "tf32_flop_per_s"} <= set(figures["rates"])
    assert {(each["direction"], each["dtype"]) for each in figures["lif"]} == {
        (direction, dtype) for direction in ("forward", "backward") for dtype in ("float32", "bfloat16")
    }
    events = [each for each in figures["products"] if each["way"] == "events"]
    assert {each["product"] for each in events} == {"pack", "forward", "weight gradient"}
    assert {each["direction"] for each in figures["recurrent"]} == {"forward", "backward"}
    assert figures["train_step"][0]["contender"] == "neurosim"
    assert "date" in figures and "device" in figures


@WITHOUT_GPU
def test_the_interpreter_gives_no_times(figures: dict[str, Any]) -> None:
    assert "no times" in figures["device"]
    assert all(rate is None for rate in figures["rates"].values())
    for part in ("lif", "products", "recurrent", "train_step"):
        assert not any("median_s" in each or "share" in each for each in figures[part]), part


def test_the_table_holds_what_does_not_agree(figures: dict[str, Any]) -> None:
    wrong = {"operator": "pack", "case": "this one", "away": 0.25, "allowed": 0.125, "holds": False}
    text = gpu.table({**figures, "parity": [*figures["parity"], wrong]})
    count = len(figures["parity"])
    assert f"{count} of {count + 1} comparisons hold" in text
    assert "pack, this one: 2.50e-01 away, 1.25e-01 allowed" in text


def test_a_kernel_that_is_wrong_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = gpu_parity.Parity("gather", "case", 1.0, 0.1)
    monkeypatch.setattr(gpu_parity, "all_of", lambda *_: [wrong])
    for part in ("lif", "products", "recurrent", "train_step"):
        monkeypatch.setattr(gpu, part, lambda *_: [])
    assert gpu.main(["--quick"]) == 1
    assert "do not agree with their definition" in capsys.readouterr().err


def test_more_than_the_device_can_do_is_an_error() -> None:
    times = Times((0.5, 1.0, 2.0))
    assert gpu.share(times, 8.0, 10.0) == {"share": 0.8}
    assert gpu.share(None, 8.0, 10.0) == gpu.share(times, 8.0, None) == {}
    with pytest.raises(ImplausibleError, match=r"2.00 of the device's rate"):
        gpu.share(times, 20.0, 10.0)


@pytest.mark.parametrize(
    ("a", "b", "far"), [([1.0, 2.0], [1.0, 2.0], 0.0), ([1.0, 3.0], [1.0, 2.0], 0.5), ([float("nan")], [1.0], None)]
)
def test_distance(a: list[float], b: list[float], far: float | None) -> None:
    found = gpu_parity.away(torch.tensor(a), torch.tensor(b))
    assert found == (float("inf") if far is None else far)
    assert gpu_parity.Parity("", "", found, 0.5).holds == (far is not None)
