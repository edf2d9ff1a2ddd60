"""The example of pruning runs from start to end in its short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_sparsity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("sparsity.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    dense, magnitude, dynamic, neurons = json.loads((tmp_path / "result.json").read_text())["results"]
    weights = 64 * 128 + 128 * 10
    assert dense["synapses"] == weights and min(magnitude["accuracy"], neurons["accuracy"]) > 0.6
    for sparse in (magnitude, dynamic, neurons):
        assert sparse["synapses"] == pytest.approx(0.2 * weights, rel=0.03)
        assert sparse["core_memory"] < 0.5 * dense["core_memory"] and sparse["joules"] < 0.6 * dense["joules"]
    assert neurons["neurons"] == 26 + 10 and dynamic["neurons"] == 138
    assert "uJ an image" in capsys.readouterr().out
