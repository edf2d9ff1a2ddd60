"""Recordings are read as N-MNIST writes them, from files and from tars."""

from __future__ import annotations

import tarfile

import pytest
import torch

from benchmarks import nmnist
from neurosim.errors import FileError


def event(x: int, y: int, polarity: int, microseconds: int) -> bytes:
    time = microseconds.to_bytes(3, "big")
    return bytes((x, y, polarity << 7 | time[0], time[1], time[2]))


def test_events_are_placed_by_time_polarity_and_pixel(tmp_path):
    (tmp_path / "2.bin").write_bytes(event(3, 5, 1, 0) + event(33, 0, 0, 999) + event(1, 2, 1, 70_000))
    (tmp_path / "10.bin").write_bytes(event(0, 0, 0, 1000) + event(9, 9, 1, 400_000))
    (tmp_path / "labels.txt").write_text("2 7\n10 1\n")
    x = nmnist.batch(tmp_path, steps=100, size=2)
    assert x.shape == (100, 2, 2, 34, 34)
    assert x.nonzero().tolist() == [
        [0, 0, 0, 0, 33],
        [0, 0, 1, 5, 3],
        [1, 1, 0, 0, 0],
        [70, 0, 1, 2, 1],
    ]  # the event at 400 ms is after the end


def test_a_tar_is_read_like_a_folder(tmp_path):
    (tmp_path / "files").mkdir()
    for number in (1, 2):
        (tmp_path / "files" / f"{number}.bs2").write_bytes(event(number, 0, 0, 1000 * number))
    whole = nmnist.batch(tmp_path, steps=5, size=2)
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "some.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "files", "files")
    assert torch.equal(nmnist.batch(packed, steps=5, size=2), whole)
    assert whole.sum() == 2


def test_too_few_recordings_are_refused(tmp_path):
    (tmp_path / "1.bin").write_bytes(event(0, 0, 0, 0))
    with pytest.raises(FileError, match=r"holds 1 N-MNIST recordings \(.bin, .bs2, or a tar of those\); 16 are needed"):
        nmnist.batch(tmp_path, steps=5, size=16)
