"""The examples of astrocytes and of gain control run from start to end in their short forms."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import neurosim as ns
from tests.examples.test_examples import run


def test_astrocytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("astrocytes.py", monkeypatch, "--quick", "--out", tmp_path / "astrocytes.png")
    printed = capsys.readouterr().out
    # Fewer spikes of the receiver make one of IP3 where they are denser, and the bursts are all alike.
    ratios = [int(ratio) for ratio in re.findall(r"\((\d+) per IP3 spike\)", printed)]
    assert len(ratios) == 6 and ratios[:3] == sorted(ratios[:3], reverse=True) and min(ratios) > 750
    assert printed.count("31 in the first burst") == 3 and "10 Hz: receiver" in printed
    assert "neuron without astrocyte: 0.0 Hz in" in printed and "IP3 0.40 uM: oscillates by 0.3" in printed
    assert (tmp_path / "astrocytes.png").stat().st_size > 1000


def test_whitening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("whitening.py", monkeypatch, "--quick", "--out", tmp_path / "whitening.png")
    distances = [float(value) for value in re.findall(r"\|C_yy - I\| = (\S+),", capsys.readouterr().out)]
    assert distances[0] < 0.1 < 0.4 < distances[1]
    assert (tmp_path / "whitening.png").stat().st_size > 1000


def test_astro_language_goes_on_from_its_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def bits(out: Path) -> list[float]:
        options = ("--quick", "--seeds", "0", "--kinds", "gain")
        run("astro_language.py", monkeypatch, *options, "--out", out / "result.json")
        return [row["bits"] for row in json.loads((out / "result.json").read_text())["runs"]]

    def stopped(*args: Any, **kwargs: Any) -> None:
        save(*args, **kwargs)
        raise KeyboardInterrupt

    whole, save = bits(tmp_path / "one"), ns.save_checkpoint
    assert whole[0] < 3.5  # 4.0 is what the frequencies of the characters give
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ns, "save_checkpoint", stopped)
        bits(tmp_path / "two")
    assert bits(tmp_path / "two") == whole


def test_liquid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("liquid.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    runs = json.loads((tmp_path / "result.json").read_text())["runs"]
    by_kind = {(row["start"], row["kind"]): row["after"][0] for row in runs}
    assert by_kind["strong", "astrocyte"] < by_kind["strong", "fixed"] - 0.3
    assert "driven strong, astrocyte: mean branching factor" in capsys.readouterr().out


def test_digits_read_off_a_liquid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")  # its digits
    run("liquid.py", monkeypatch, "--quick", "--task", "digits", "--start", "strong", "--out", tmp_path / "result.json")
    found = {row["kind"]: row["accuracy"] for row in json.loads((tmp_path / "result.json").read_text())["runs"]}
    assert set(found) == {"input alone", "untrained", "fixed", "astrocyte"}
    assert found["input alone"] > 0.7 and found["astrocyte"] > found["fixed"] + 0.2
