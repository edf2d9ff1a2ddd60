"""The example of the ELM neuron runs from start to end in its short form."""

from __future__ import annotations

import json
import runpy
import sys
import wave
from pathlib import Path

import numpy as np
import pytest


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    path = Path(__file__).resolve().parents[2] / "examples" / "elm_adding.py"
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    runpy.run_path(str(path), run_name="__main__")


def test_without_data(monkeypatch, tmp_path, capsys):
    out = tmp_path / "result.json"
    run(monkeypatch, "--quick", "--memory", "20", "--out", out)
    kept = json.loads(out.read_text())
    long, short = kept["results"]
    assert (long["name"], short["name"], kept["settings"]["batches"]) == ("long memory", "short memory", 200)
    # The most frequent of the nine sums of two of five patterns is a fifth of the pairs.
    assert long["accuracy"] > 0.3
    assert "long memory, seed 0: " in capsys.readouterr().out


def test_with_recordings(monkeypatch, tmp_path):
    for digit in range(10):
        for take in (0, 5, 6):
            with wave.open(str(tmp_path / f"{digit}_ann_{take}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                sound = np.sin(2 * np.pi * 200 * 1.3**digit * np.arange(1600) / 8000)
                file.writeframes((30000 * sound).astype("<i2").tobytes())
    out = tmp_path / "result.json"
    run(monkeypatch, "--quick", "--data-root", tmp_path, "--memory", "5", "--batch-size", "8", "--out", out)
    assert len(json.loads(out.read_text())["results"]) == 2


def test_missing_data_are_requested(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch)
    assert "give the recordings as --data-root or --shd" in capsys.readouterr().err


def test_networks_within_a_budget(monkeypatch, tmp_path, capsys):
    examples = Path(__file__).resolve().parents[2] / "examples"
    monkeypatch.syspath_prepend(str(examples))
    monkeypatch.setattr(sys, "argv", ["elm_network.py", "--quick", "--out", str(tmp_path / "a" / "result.json")])
    runpy.run_path(str(examples / "elm_network.py"), run_name="__main__")
    rows = json.loads((tmp_path / "a" / "result.json").read_text())["results"]
    assert [row["memory"] for row in rows] == [2, 4]
    # One neuron more would be too many.
    for row in rows:
        neuron = 8 * 8 + 4 * row["memory"] ** 2 + 20 * row["memory"] + 1 + 19
        assert row["parameters"] <= 2000 < row["parameters"] + neuron
    assert (tmp_path / "a" / "result.svg").stat().st_size > 1000
