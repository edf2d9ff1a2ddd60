"""The example of the content-addressable memory runs from start to end in its short form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_content_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("content_memory.py", monkeypatch, "--quick", "--out", tmp_path)
    printed = capsys.readouterr().out
    assert "10 cues, 10 ms apart: 100% of cues, 100% of neurons recall exactly" in printed
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("spikes.svg", "capacity.svg"))
