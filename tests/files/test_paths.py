"""Input comes from regular files alone, and the folder of an output is a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from neurosim.datasets import fashion_mnist, read_idx, read_shd, read_text, read_words
from neurosim.errors import FileError
from neurosim.files.paths import contents, output_file, output_folder
from neurosim.files.tables import read_json, read_toml
from neurosim.hardware import load_target
from neurosim.learning import load_checkpoint
from neurosim.recording.recording import Recording

READERS = {
    "contents": lambda path: contents(path, limit=100),
    "read_toml": read_toml,
    "read_json": read_json,
    "read_idx": read_idx,
    "read_shd": read_shd,
    "read_text": read_text,
    "read_words": read_words,
    "load_target": load_target,
    "load_checkpoint": load_checkpoint,
    "Recording.load": Recording.load,
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_does_not_block_and_a_device_is_not_read(tmp_path: Path, reader: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "missing"):
        with pytest.raises(FileError, match=r"pipe|zero|missing"):
            READERS[reader](path)


def test_a_pipe_among_the_files_of_a_dataset_is_refused(tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        for holds in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            os.mkfifo(tmp_path / f"{part}-{holds}")
    with pytest.raises(FileError):
        fashion_mnist(tmp_path)


def test_the_size_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(101))
    with pytest.raises(FileError, match=r"file is 101 bytes long; 100 are allowed"):
        contents(path, limit=100)
    assert contents(path, limit=101) == bytes(101)


def test_an_output_folder_is_made_or_refused(tmp_path: Path) -> None:
    assert output_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    for path, why in (
        (tmp_path / "file", "it is no regular file|not a folder"),
        (tmp_path / "nowhere", "a link that leads nowhere"),
        (tmp_path / "file" / "below", "Not a directory"),
        ("", "is empty"),
        ("/dev/null", "it is a device, not a folder"),
    ):
        with pytest.raises(FileError, match=why):
            output_folder(path)


@pytest.mark.parametrize("wrong", [5, None, 2.0])
def test_what_is_no_path_is_refused(wrong):
    for door in (output_file, output_folder, lambda path: contents(path, limit=100)):
        with pytest.raises(FileError, match=r"a path is a text or a pathlib\.Path; got"):
            door(wrong)
