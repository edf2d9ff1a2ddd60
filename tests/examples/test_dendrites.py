"""The example on active dendrites runs from start to end in its short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_dendrites(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    run("dendrites.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    matches, on, off = json.loads((tmp_path / "result.json").read_text())["results"]
    for row in matches["rows"][:3]:
        assert row["measured"] == pytest.approx(row["exact"], rel=0.2)
    assert matches["rows"][3]["measured"] == 0.0
    assert on["gated"] and not off["gated"]
    assert len(on["accuracies"]) == 2 and on["accuracies"][0][0] > 0.8
    # What the second task leaves of the first.
    assert on["accuracies"][1][0] > off["accuracies"][1][0] + 0.1
    assert "mean after all tasks" in capsys.readouterr().out
