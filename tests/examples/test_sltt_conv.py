"""The convolutional recipe of SLTT runs from start to end in its short form, and every network learns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_sltt_conv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")  # its digits
    arguments = ("--quick", "--images", "300", "--test-images", "100", "--channels", "6", "--out", tmp_path / "r.json")
    run("sltt_conv.py", monkeypatch, *arguments)
    results = json.loads((tmp_path / "r.json").read_text())
    assert [(each["network"], each["rule"]) for each in results] == [
        (kind, rule)
        for kind in ("batch-norm", "norm-free")
        for rule in ("BPTT()", "SLTT(k=None, chunk=1)", "SLTT(k=2, chunk=1)")
    ]
    # Ten classes; two epochs of 300 images are no training, but chance is left behind.
    assert min(each["test_accuracy"] for each in results if "k=2" not in each["rule"]) > 0.25
    assert all(abs(each["test_accuracy"] - each["folded_accuracy"]) <= 0.02 for each in results)
    held = [each["bytes_held"] for each in results]
    assert held[1] < held[0] / 4 and held[4] < held[3] / 4
    run("sltt_conv.py", monkeypatch, *arguments, "--resume")
    assert json.loads((tmp_path / "r.json").read_text()) == results
    assert "MB held" in capsys.readouterr().out
