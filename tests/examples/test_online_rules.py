"""The example of rules that learn online runs from start to end in its short form, and every rule learns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neurosim.errors import FileError
from tests.examples.test_examples import run

RULES = {
    ("rows", "BPTT"),
    ("rows", "e-prop, symmetric feedback"),
    ("rows", "e-prop, random feedback"),
    ("rows", "e-prop, learning feedback"),
    ("rows", "FPTT"),
    ("rows", "BPTT, liquid neurons"),
    ("rows", "FPTT, liquid neurons"),
    ("local", "DECOLLE"),
    ("latency", "EventProp"),
    ("latency", "BPTT"),
}


def test_online_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")  # its digits
    run("online_rules.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    results = json.loads((tmp_path / "result.json").read_text())
    assert {(result["task"], result["rule"]) for result in results} == RULES
    # Ten classes; two epochs of 600 images are no training, but chance is left behind.
    assert min(result["test_accuracy"] for result in results) > 0.25
    assert "e-prop, random feedback" in capsys.readouterr().out


def test_online_rules_says_which_data_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="mnist not found below"):
        run("online_rules.py", monkeypatch, "--data-root", tmp_path)
