"""The example of N-parity runs from start to end in its short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_parity_of_two_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("elm_parity.py", monkeypatch, "--quick", "--batches", "600", "--out", tmp_path / "result.json")
    long, short = json.loads((tmp_path / "result.json").read_text())["results"]
    assert (long["name"], short["name"]) == ("long memory", "short memory")
    assert long["solved"] >= 2 and long["orders"][0]["accuracy"] >= 0.98
    assert "parity of up to" in capsys.readouterr().out
