"""The example on temporal sparsity runs from start to end in its short form."""

from __future__ import annotations

import io
import json
import runpy
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.examples.test_examples import run

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "temporal_sparsity.py"


def test_temporal_sparsity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    run("temporal_sparsity.py", monkeypatch, "--quick", "--out", tmp_path / "result.json")
    ordered, control = json.loads((tmp_path / "result.json").read_text())["results"]
    assert (ordered["clips"], control["clips"]) == ("in order", "without order")
    for layer in ordered["delta"]:
        assert layer["changes"] < layer["nonzero"]
    for layer in control["delta"]:
        assert layer["changes"] > layer["nonzero"], "frames without order have more changes than values"
    assert ordered["delta"][1]["changes"] < ordered["delta"][0]["changes"], "a loss on activity lowers it"
    sent = [run["changes"] for run in ordered["sigma_delta"]]
    assert sent == sorted(sent, reverse=True) and sent[0] > sent[-1]


def test_recordings_are_read_event_by_event(tmp_path: Path) -> None:
    # x, y, polarity and the three bytes of the time in microseconds: 100 ms is in frame 5 of 20 ms, 400 ms is too late.
    events = [(3, 7, 1, 100_000), (3, 7, 1, 100_001), (5, 6, 0, 0), (1, 1, 0, 400_000)]
    raw = b"".join(bytes((x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255)) for x, y, p, t in events)
    with tarfile.open(tmp_path / "nmnist_small_bs2.tar.xz", "w:xz") as archive:
        for name in ("small/1.bs2", "small/2.bs2", "small/note.txt"):
            about = tarfile.TarInfo(name)
            about.size = len(raw)
            archive.addfile(about, io.BytesIO(raw))
    (tmp_path / "train1K.txt").write_text("#sample #class\n1\t5\n9\t4\n")
    (tmp_path / "test100.txt").write_text("#sample #class\n2\t3\n8\t4\n")
    module = runpy.run_path(str(EXAMPLE))
    clips, classes = module["nmnist_clips"](tmp_path)
    assert clips.shape == (2, 16, 2, 34, 34) and classes.tolist() == [5, 3]
    unit = float(clips[0, 0, 0, 6, 5])
    wanted = np.zeros((16, 2, 34, 34))
    wanted[:, 0, 6, 5] = unit * 0.8 ** np.arange(16)
    wanted[5:, 1, 7, 3] = 2 * unit * 0.8 ** np.arange(11)
    np.testing.assert_allclose(clips[0].numpy(), wanted, rtol=1e-5)


def test_a_missing_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"not found\. Give the folder"):
        run("temporal_sparsity.py", monkeypatch, "--data-root", tmp_path)
