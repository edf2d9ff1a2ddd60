"""The example of continual learning runs from start to end in its short form, and forgets less with HLOP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import neurosim
from neurosim.errors import FileError
from tests.examples.test_examples import run


def test_hlop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")  # its digits
    run("hlop.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    hlop, baseline = json.loads((tmp_path / "result.json").read_text())["results"]
    assert (hlop["method"], baseline["method"]) == ("HLOP", "baseline")
    assert hlop["acc"] > 0.92 and hlop["bwt"] > -0.04
    assert baseline["acc"] < hlop["acc"] - 0.05 and baseline["bwt"] < -0.12
    assert [len(row) for row in hlop["accuracies"]] == [1, 2, 3]
    printed = capsys.readouterr().out
    assert "HLOP, seed 0, after task 3:" in printed and "baseline, seed 0: ACC" in printed


def test_hlop_goes_on_after_the_last_task_that_was_learnt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    whole, parts = tmp_path / "whole" / "result.json", tmp_path / "parts" / "result.json"
    choices = ("--quick", "--methods", "HLOP", "--train-samples", "200", "--test-samples", "100")
    run("hlop.py", monkeypatch, *choices, "--out", whole)
    fit, calls = neurosim.fit, []

    def stopped(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(neurosim, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        run("hlop.py", monkeypatch, *choices, "--out", parts)
    run("hlop.py", monkeypatch, *choices, "--out", parts)
    assert len(calls) == 4 and "after task 2\n" in capsys.readouterr().out
    (one,), (other,) = (json.loads(path.read_text())["results"] for path in (whole, parts))
    assert one["accuracies"] == other["accuracies"]
    assert [path.name for path in parts.parent.iterdir()] == ["result.json"]


def test_hlop_says_which_data_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="mnist not found below"):
        run("hlop.py", monkeypatch, "--data-root", tmp_path)
    with pytest.raises(SystemExit):
        run("hlop.py", monkeypatch, "--tasks", "1")
