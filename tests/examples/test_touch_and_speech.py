"""The two short examples on recorded data, on small files of the same form."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from neurosim.hardware.xylo import XyloConfiguration
from tests.examples.test_examples import run


def test_braille(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    label = np.arange(140) % 7
    rate = 0.1 + 0.8 * (np.arange(12) % 7 == label[:, None])
    x = rng.random((140, 64, 12)) < rate[:, None, :]
    path = tmp_path / "letters.npz"
    np.savez(path, x_packed=np.packbits(x), shape=np.array(x.shape), label=label.astype(np.uint8))
    run("braille.py", monkeypatch, path, "--epochs", "12")
    assert float(capsys.readouterr().out.split("%")[0]) > 80


def write_tones(folder: Path) -> None:
    """Write recordings of tones, a frequency for each digit, named as those of the dataset."""
    time, rng = np.arange(4000) / 8000, np.random.default_rng(0)
    for digit in range(10):
        for take in range(11):
            wanted = np.sin(2 * np.pi * (300 + 300 * digit + 10 * rng.random()) * time) * 0.8
            with wave.open(str(folder / f"{digit}_nobody_{take}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes((wanted * 32767).astype("<i2").tobytes())


def test_spoken_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tones(tmp_path)
    run("spoken_digits.py", monkeypatch, tmp_path, "--epochs", "12")
    assert float(capsys.readouterr().out.split("%")[0]) > 80


def test_xylo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tones(tmp_path)
    document = tmp_path / "xylo.json"
    run("xylo.py", monkeypatch, tmp_path, "--epochs", "4", "--further", "1", "--hidden", "32", "--out", document)
    printed = capsys.readouterr().out
    assert f"wrote {document}: 16 inputs, 32 hidden neurons" in printed
    assert XyloConfiguration.read(document).outputs == 10
    assert "xylosim is not installed" in printed or "xylosim and simulator: 0 of " in printed
