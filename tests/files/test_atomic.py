"""Files are whole or absent, whatever happens on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

import pytest

from neurosim.errors import FileError
from neurosim.files.atomic import replaced


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_appears_when_it_is_done(tmp_path):
    target = tmp_path / "new" / "folder" / "result"
    with replaced(target) as part:
        part.write_text("new")
        assert not target.exists()
        assert part.parent == target.parent
    assert target.read_text() == "new"
    assert left(target.parent) == ["result"]


def test_its_permissions_are_those_of_any_new_file(tmp_path):
    mask = os.umask(0o027)
    try:
        with replaced(tmp_path / "result") as part:
            part.write_text("new")
    finally:
        os.umask(mask)
    assert (tmp_path / "result").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, FileError])
def test_an_error_on_the_way_leaves_the_earlier_file(tmp_path, error):
    target = tmp_path / "result"
    target.write_text("old")
    with pytest.raises(error), replaced(target) as part:
        part.write_text("half")
        raise error("stop")
    assert target.read_text() == "old"
    assert left(tmp_path) == ["result"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("before", "said"), [("old", "the earlier file is untouched"), (None, "nothing was left behind")]
)
def test_a_full_disk_is_named_and_leaves_what_was_there(tmp_path, monkeypatch, call, before, said):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "result"
    if before:
        target.write_text(before)
    monkeypatch.setattr(os, call, full)
    with pytest.raises(FileError) as caught, replaced(target) as part:
        part.write_text("new")
    assert str(caught.value) == (
        f"cannot write {target}: No space left on device; {said}. Free some space or choose another folder."
    )
    assert left(tmp_path) == (["result"] if before else [])
    if before:
        assert target.read_text() == before


def test_a_write_that_fails_in_the_callers_hands_is_named(tmp_path):
    with (
        pytest.raises(FileError, match=r"result: No space left on device; nothing was left behind"),
        replaced(tmp_path / "result"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert left(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FileError) as caught, replaced(tmp_path / "file" / "result"):
        pass
    assert str(caught.value).startswith(f"cannot write {tmp_path / 'file' / 'result'}: ")
    assert str(caught.value).endswith("Choose a folder you may write to.")
    assert (tmp_path / "file").read_text() == "not a folder"


def write(path):
    with replaced(path) as part:
        part.write_text("new")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to(os.devnull)
    with socket.socket(socket.AF_UNIX) as server, monkeypatched_folder(tmp_path):
        server.bind("socket")
    for name, kind in (
        ("folder", "a folder"),
        ("pipe", "a named pipe"),
        ("device", "a device"),
        ("socket", "a socket"),
        (os.devnull, "a device"),
    ):
        with pytest.raises(FileError, match=f"it is {kind}, not a file. Give the name of a file"):
            write(tmp_path / name)
    assert left(tmp_path) == ["device", "folder", "pipe", "socket"]
    assert not os.path.isfile(os.devnull)


@contextlib.contextmanager
def monkeypatched_folder(folder):
    """Run the body in a folder: the path of a socket has at most about 100 characters."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize("path", ["", ".", Path("")])
def test_an_empty_path_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"is empty|it is a folder"):
        write(path)
    assert left(tmp_path) == []


def test_a_link_stays_and_the_file_it_points_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "real")
    (tmp_path / "new").symlink_to(tmp_path / "there" / "fresh")
    write(tmp_path / "link")
    write(tmp_path / "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "new").is_symlink()
    assert (tmp_path / "there" / "real").read_text() == (tmp_path / "there" / "fresh").read_text() == "new"
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(FileError, match="circle"):
        write(tmp_path / "circle")


def test_a_path_with_a_zero_byte_is_refused():
    with pytest.raises(FileError, match="null byte"):
        write("a\0b")
