"""The example of continual learning runs from start to end in its short form, and forgets less with HLOP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neurosim.errors import FileError
from tests.test_examples import run


def test_hlop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")  # its digits
    run("hlop.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    hlop, baseline = json.loads((tmp_path / "result.json").read_text())["results"]
    assert (hlop["method"], baseline["method"]) == ("HLOP", "baseline")
    assert hlop["acc"] > 0.92 and hlop["bwt"] > -0.04
    assert baseline["acc"] < hlop["acc"] - 0.05 and baseline["bwt"] < -0.12
    assert len(hlop["accuracies"]) == len(hlop["accuracies"][0]) == 3
    printed = capsys.readouterr().out
    assert "HLOP, after task 3:" in printed and "baseline: ACC" in printed


def test_hlop_says_which_data_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="mnist not found below"):
        run("hlop.py", monkeypatch, "--data-root", tmp_path)
    with pytest.raises(SystemExit):
        run("hlop.py", monkeypatch, "--tasks", "1")
