"""The example of placement runs from start to end in its short form, and draws what it places."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_placement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("placement.py", monkeypatch, "--quick", "--out", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:4] for line in lines[1:3]] == [["loihi1", "8", "2/128"], ["loihi2", "8", "2/128"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["784-128-10-loihi1.svg", "784-128-10-loihi2.svg"]
