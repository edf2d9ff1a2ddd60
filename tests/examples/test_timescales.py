"""The example of time constants runs from start to end in its short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_timescales(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run("timescales.py", monkeypatch, "--quick", "--seconds", "1", "--out", tmp_path / "result.json")
    single, multi = json.loads((tmp_path / "result.json").read_text())["results"]
    assert (single["curriculum"], multi["curriculum"]) == ("single", "multi")
    assert min(single["solved"], multi["solved"]) >= 2 and single["alone"] >= 1.0 and multi["network"] > 0.0
