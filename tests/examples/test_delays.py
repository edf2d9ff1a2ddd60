"""The example of learnable delays runs from start to end in its short forms."""

from __future__ import annotations

import json
import runpy
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from neurosim.errors import FileError


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    """Run the example as a script."""
    path = Path(__file__).resolve().parents[2] / "examples" / "delays.py"
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    runpy.run_path(str(path), run_name="__main__")


def test_learned_delays_tell_the_order_of_two_spikes_and_no_delays_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--quick", "--out", tmp_path / "result.json")
    learned, none = json.loads((tmp_path / "result.json").read_text())["results"]
    assert (learned["kind"], none["kind"]) == ("learned", "none")
    assert learned["accuracy"] == 1.0 and 0.4 < none["accuracy"] < 0.6
    assert learned["parameters"] == 128 and none["parameters"] <= 128
    assert "the order task instead of the digits" in capsys.readouterr().out


def test_words_from_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for digit in range(10):
        for index in range(14):
            write_tone(tmp_path / f"{digit}_nobody_{index}.wav", 300.0 + 300.0 * digit, index)
    out = tmp_path / "result.json"
    run(
        monkeypatch, *("--data-root", tmp_path, "--out", out, "--seeds", "0", "--epochs", "8", "--batch-size", "16"),
        *("--hidden", "16", "--dropout", "0", "--kinds", "learned", "fixed", "slow"),
    )  # fmt: skip
    learned, fixed, slow = json.loads(out.read_text())["results"]
    assert learned["accuracy"] > 0.5
    assert learned["parameters"] == 2 * 80 * 16 + 2 * 16 + 2 * 16 * 10
    assert max(fixed["parameters"], slow["parameters"]) <= learned["parameters"]
    assert fixed["hidden"] == slow["hidden"] and fixed["hidden"][0] > 16


def test_recurrent_delays_and_neurons_of_state_space_models_stay_within_the_parameters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for digit in range(10):
        for index in (0, 5):
            write_tone(tmp_path / f"{digit}_nobody_{index}.wav", 300.0 + 300.0 * digit, index)
    out = tmp_path / "result.json"
    run(
        monkeypatch, *("--data-root", tmp_path, "--out", out, "--seeds", "0", "--epochs", "1", "--hidden", "8"),
        *("--kinds", "recurrent", "silif", "csilif"),
    )  # fmt: skip
    most = 2 * 80 * 8 + 2 * 8 + 2 * 8 * 10
    for found, of_a_neuron in zip(json.loads(out.read_text())["results"], (0, 5, 4), strict=True):
        hidden = found["hidden"][0]
        loop = 2 * hidden**2 if found["kind"] == "recurrent" else of_a_neuron * hidden
        assert found["parameters"] == 80 * hidden + 2 * hidden + loop + 10 * hidden <= most


def test_without_data_it_says_where_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch)
    assert "github.com/Jakobovski/free-spoken-digit-dataset" in capsys.readouterr().err
    with pytest.raises(FileError, match="holds no recordings called digit_speaker_take"):
        run(monkeypatch, "--data-root", tmp_path)


def write_tone(path: Path, pitch: float, seed: int) -> None:
    """Write a tone that swells and fades, with some noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(3200) / 8000
    sound = np.sin(2 * np.pi * pitch * t) * np.sin(np.pi * t / 0.4) + 0.01 * rng.standard_normal(t.size)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * sound).astype("<i2").tobytes())
