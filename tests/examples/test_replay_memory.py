"""The example of replayed memory runs from start to end in its short form."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_replay_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("replay_memory.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    printed = capsys.readouterr().out
    held = {
        int(n): (float(a), float(b)) for n, a, b in re.findall(r"(\d+) tokens: ([\d.]+) kB .* ([\d.]+) kB", printed)
    }
    assert held[400][0] < 1.2 * held[50][0] and held[400][1] > 7.8 * held[50][1]
    differ, largest = map(float, re.findall(r"differ by (\S+); the largest is (\S+)", printed)[0])
    assert differ < 1e-12 * largest
    rows = json.loads((tmp_path / "result.json").read_text())["results"]
    assert [(row["task"], row["retention"]) for row in rows] == [
        (task, retention) for task in ("recall", "listops") for retention in ("astrocyte", "none")
    ]
    assert all(0.0 <= row["accuracy"] <= 0.6 for row in rows)
