"""A folder has one owner; the lock of a process that has ended is free."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neurosim.errors import FileError
from neurosim.files.lock import NAME, owned

HOLD = """
import sys, time
from pathlib import Path
from neurosim.files.lock import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Start a process that owns the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "owned\n"
    return process


def test_the_owner_is_named_while_it_runs_and_a_killed_one_is_stale(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(FileError, match=rf"in use by process {process.pid} on .* since 20\d\d-"), owned(tmp_path):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert (tmp_path / NAME).exists()
    with owned(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_one_process_does_not_own_it_twice(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(FileError, match=f"in use by process {os.getpid()}"), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


def test_an_error_in_the_body_frees_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), owned(tmp_path):
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_host_is_named_with_the_file_to_remove(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"process": 1, "host": "elsewhere", "since": "2026-01-01T00:00:00+00:00"}')
    with pytest.raises(FileError, match=r"process 1 on elsewhere .*remove .*\.lock"), owned(tmp_path):
        pass
    (tmp_path / NAME).unlink()
    with owned(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", '{"process": "x"}', '{"process": -1, "host": "a"}', "[" * 3000])
def test_a_damaged_lock_is_free(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with owned(tmp_path):
        pass


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("keep")
    (tmp_path / NAME).symlink_to(tmp_path / "real")
    with pytest.raises(FileError, match="cannot write"), owned(tmp_path):
        pass
    assert (tmp_path / "real").read_text() == "keep"
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    with pytest.raises(FileError, match="cannot write"), owned(tmp_path):
        pass


def test_without_locks_of_the_file_system_the_process_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    process = holder(tmp_path)
    monkeypatch.setattr(fcntl, "flock", unsupported)
    try:
        with pytest.raises(FileError, match=f"in use by process {process.pid}"), owned(tmp_path):
            pass
    finally:
        process.kill()
        process.communicate()
    with owned(tmp_path):
        pass
