"""The example on fewer time steps runs from start to end in its short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_examples import run


def test_early_exit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    run("early_exit.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    (stopped,), (reduced,) = result["confidence"], result["one-step"]
    assert stopped["accuracy"] > 0.85 and stopped["accuracy_at_32"] > 0.85
    assert 1 <= stopped["mean_steps"] < 10
    assert stopped["bound_accuracy"] >= stopped["accuracy"] and stopped["bound_mean_steps"] <= stopped["mean_steps"]
    assert stopped["spikes_per_image"] < 0.5 * stopped["spikes_per_image_at_32"]
    assert stopped["synaptic_operations_per_image"] < 0.5 * stopped["synaptic_operations_per_image_at_32"]
    before, after = stopped["calibration_error_before_after"]
    assert after < before
    assert [stage["steps"] for stage in reduced["by_stages"]] == [5, 3, 2, 1]
    assert reduced["by_stages"][-1]["after"] > 0.7
    assert "all stopped after as many" in capsys.readouterr().out
