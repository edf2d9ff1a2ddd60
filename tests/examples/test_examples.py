"""Every example runs from start to end in its short form."""

from __future__ import annotations

import functools
import hashlib
import json
import runpy
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import neurosim.datasets


def run(example: str, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    """Run an example as a script."""
    path = Path(__file__).resolve().parents[2] / "examples" / example
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    runpy.run_path(str(path), run_name="__main__")


def test_izhikevich(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("izhikevich.py", monkeypatch, "--quick", "--out", tmp_path / "patterns.png")
    printed = capsys.readouterr().out
    assert "fused kernel and definition give the same spikes: True" in printed
    assert "140 - w[t-1]" in printed
    assert (tmp_path / "patterns.png").stat().st_size > 1000


def test_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_digits(tmp_path, "train", 2000)
    write_digits(tmp_path, "t10k", 1000)
    # The files are not the official ones, so their digests are not looked at.
    monkeypatch.setattr(neurosim.datasets, "mnist", functools.partial(neurosim.datasets.mnist, verify=False))
    run("mnist.py", monkeypatch, "--quick", "--data-root", tmp_path, "--out", tmp_path / "result.json")
    results = json.loads((tmp_path / "result.json").read_text())
    assert [result["rule"] for result in results] == ["SLTT(k=None, chunk=8)", "OTTT(chunk=16)", "BPTT()"]
    assert min(result["test_accuracy"] for result in results) > 0.9
    assert "images, 1 epochs in" in capsys.readouterr().out


def write_digits(folder: Path, part: str, number: int) -> None:
    """Write idx files in which class c lights up a band of rows of its own."""
    rng = np.random.default_rng(number)
    labels = np.arange(number, dtype=np.uint8) % 10
    images = rng.integers(0, 60, (number, 28, 28), dtype=np.uint8)
    for label in range(10):
        images[labels == label, 2 * label + 2 : 2 * label + 6] += 180
    head = struct.pack(">IIII", 0x00000803, number, 28, 28)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x00000801, number) + labels.tobytes())


def accuracies(printed: str) -> list[float]:
    return [float(line.rpartition(" ")[2]) for line in printed.splitlines() if "test accuracy" in line]


def test_torch_loop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("torch_loop.py", monkeypatch, "--epochs", "3")
    found = accuracies(capsys.readouterr().out)
    assert len(found) == 3 and found[-1] > 0.75


@pytest.mark.filterwarnings("ignore")  # of Lightning itself
@pytest.mark.parametrize("rule", ["bptt", "sltt"])
def test_lightning(rule: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightning")
    run("lightning_module.py", monkeypatch, "--epochs", "3", "--rule", rule)
    assert accuracies(capsys.readouterr().out)[-1] > 0.8


def test_pretrained_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    run("pretrained_digits.py", monkeypatch, tmp_path / "digits.pt", "--epochs", "1")
    torch.set_num_threads(threads)
    *accuracies, digest = capsys.readouterr().out.splitlines()
    assert len(accuracies) == 3 and min(float(line.split("%")[0]) for line in accuracies) > 60
    assert digest == f"sha256 {hashlib.sha256((tmp_path / 'digits.pt').read_bytes()).hexdigest()}"
