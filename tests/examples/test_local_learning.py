"""The examples of learning without a global gradient run from start to end in their short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_softhebb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")  # its digits
    small = ("--images", "300", "--neurons", "50", "--channels", "8")
    run("softhebb.py", monkeypatch, "--quick", *small, "--out", tmp_path / "r.json")
    results = json.loads((tmp_path / "r.json").read_text())
    assert [each["layer"] for each in results] == ["dense", "conv"]
    assert all(each["learned"] > 0.5 and each["random"] > 0.5 and each["winners"] > 1 for each in results)
    assert "win, norms" in capsys.readouterr().out


def test_forward_forward(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    run("forward_forward.py", monkeypatch, "--quick", "--images", "300", "--out", tmp_path / "r.json")
    local, bptt = json.loads((tmp_path / "r.json").read_text())
    assert (local["rule"], bptt["rule"]) == ("ForwardForward(threshold=10.0, through_time=True)", "BPTT()")
    assert local["test_accuracy"] > 0.25 and bptt["test_accuracy"] > 0.5  # ten classes


def test_adaptation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    small = ("--images", "300", "--test-images", "120", "--test-batch", "60")
    run("adaptation.py", monkeypatch, "--quick", *small, "--out", tmp_path / "r.json")
    results = {
        (each["corruption"], each["arm"]): each["test_accuracy"]
        for each in json.loads((tmp_path / "r.json").read_text())
    }
    assert len(results) == 3 * 6
    assert results["clean", "source"] > 0.3
    # Running statistics of bright images are of no use to dim ones; those of the batch are.
    assert results["contrast", "statistics"] > results["contrast", "source"] + 0.1
