"""Files are whole or absent, whatever happens on the way."""

from __future__ import annotations

import errno
import os

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


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "result").mkdir()
    with (
        pytest.raises(FileError, match=r"result: Is a directory; the earlier file is untouched"),
        replaced(tmp_path / "result") as part,
    ):
        part.write_text("new")
    assert left(tmp_path) == ["result"]
