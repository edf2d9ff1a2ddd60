"""The example of the spike-driven transformer runs from start to end in its short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_spikeformer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")  # its digits
    run("spikeformer.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    (row,) = json.loads((tmp_path / "result.json").read_text())["results"]
    assert row["accuracy"] > 0.15 and row["same_classes"] == 1.0
    assert row["real"] == ["stages.0.0.layers.0"]
    assert 0.0 < row["energy_J"]["counted"] < row["energy_J"]["formula"]
    assert "folded, the same class for 100.00%" in capsys.readouterr().out
