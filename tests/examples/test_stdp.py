"""The example of timing rules runs from start to end in its short form, and what is learnt tells digits apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neurosim.errors import FileError
from tests.examples.test_examples import run


def test_stdp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")  # its digits
    run("stdp.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["stdp"] > 0.7 and result["stdp"] > result["fixed"] + 0.1
    curves = result["curves"]
    assert curves["triplet, post before pre by 10 ms"][0] < -0.3 < 0.7 < curves["triplet, post before pre by 10 ms"][-1]
    assert curves["pair, post after pre by 10 ms"][0] > 0 > curves["pair, post after pre by 10 ms"][-1]
    assert "accuracy:" in capsys.readouterr().out


def test_stdp_says_which_data_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="mnist not found below"):
        run("stdp.py", monkeypatch, "--data-root", tmp_path)
