"""The example of the resistive liquid runs from start to end in its short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_resistive_liquid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("resistive_liquid.py", monkeypatch, "--quick", "--neurons", "80", "--out", tmp_path / "result.json")
    rows = json.loads((tmp_path / "result.json").read_text())["results"]
    still, noisy, _ = (row for row in rows if row["kind"] == "images")
    assert still["accuracy"] > 0.8 > 0.6 > still["summed"]
    assert noisy["read_noise"] == 0.1 and noisy["accuracy"] < still["accuracy"]
    assert "of digits never learned" in capsys.readouterr().out
    assert (tmp_path / "result.svg").stat().st_size > 1000
