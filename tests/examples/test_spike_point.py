"""The example of the network of points runs from start to end in its short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_spike_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("spike_point.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    timed, shuffled = json.loads((tmp_path / "result.json").read_text())["results"]
    # Without time all four directions look alike.
    assert timed["accuracy"] > 0.6 > 0.45 > shuffled["accuracy"]
    assert "bars, times shuffled: " in capsys.readouterr().out
