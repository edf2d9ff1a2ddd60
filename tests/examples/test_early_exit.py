"""The example on fewer time steps runs from start to end in its short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples.test_examples import run


def test_early_exit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    run("early_exit.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    stopped, reduced = json.loads((tmp_path / "result.json").read_text())["results"]
    assert stopped["accuracy_at_32"] > 0.85
    # A temperature for each step is surer of its doubts on so few images, and takes longer.
    for temperatures, longest in (("one", 8), ("each", 16)):
        found = stopped[temperatures]
        assert found["accuracy"] > 0.85 and 1 <= found["mean_steps"] < longest
        assert stopped["bound_accuracy"] >= found["accuracy"] and stopped["bound_mean_steps"] <= found["mean_steps"]
        assert found["spikes_per_image"] < 0.5 * stopped["spikes_per_image_at_32"]
        assert found["synaptic_operations_per_image"] < 0.5 * stopped["synaptic_operations_per_image_at_32"]
        before, after = found["calibration_error_held_out_before_after"]
        assert after < before
    assert len(stopped["each"]["alpha"]) == 32
    assert (tmp_path / "result-confidence-0.svg").stat().st_size > 1000
    assert [stage["steps"] for stage in reduced["by_stages"]] == [5, 3, 2, 1]
    assert reduced["by_stages"][-1]["after"] > 0.7
    assert [stage["steps"] for stage in reduced["at_once"] + reduced["from_scratch"]] == [1, 1]
    assert "the same steps for all" in capsys.readouterr().out
