"""The example of quantisation: on digits, and its reader of recordings on files of the same form."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from examples import quantise


def test_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["quantise.py", "--quick", "--out", str(tmp_path)])
    quantise.main()
    found = json.loads((tmp_path / "result.json").read_text())
    results = {(r["bits"], r["trained"]): r["accuracy"] for r in found["results"]}
    assert list(results) == [*((b, False) for b in (None, 8, 6, 4, 3)), (4, True), (3, True)]
    assert results[None, False] > 0.85 and abs(results[8, False] - results[None, False]) < 0.03
    assert results[3, True] >= results[3, False] - 0.02
    assert (tmp_path / "bits.png").stat().st_size > 5000
    assert "8 bits" in capsys.readouterr().out


def test_recordings(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    with tarfile.open(tmp_path / "nmnist_small_bs2.tar.xz", "w:xz") as archive:
        for number in (1, 2, 60001):
            time = np.sort(generator.integers(0, 320_000, 200))
            rows = [generator.integers(0, 34, 200), generator.integers(0, 34, 200)]
            rows += [generator.integers(0, 2, 200) << 7 | time >> 16, time >> 8 & 255, time & 255]
            content = np.stack(rows, axis=1).astype(np.uint8).tobytes()
            member = tarfile.TarInfo(f"small/{number}.bs2")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (tmp_path / "train1K.txt").write_text("#sample #class\n1\t5\n2\t0\n")
    (tmp_path / "test100.txt").write_text("#sample #class\n60001\t7\n")
    task = quantise.recordings(tmp_path, 0)
    x, y = next(iter(task.test))
    assert x.shape == (60, 1, 2, 34, 34) and y.tolist() == [7] and 150 < x.sum() < 200
    assert task.net(x)[0].shape == (60, 1, 10)
