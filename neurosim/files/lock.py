"""A folder has one owner at a time: a lock file names the process, the host and the time."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurosim.errors import FileError
from neurosim.files.paths import kind_of

NAME = ".lock"
_UNSUPPORTED = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
_LARGEST = 4096  # bytes that are read of a lock file


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own a folder while the body runs; another process that tries it is refused, and the error names the owner.

    The system holds the lock, so the lock of a process that was killed is free. Where the file system has no locks, the
    lock file alone counts: it is stale when its process on this host has ended.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder; the lock file in it is called ``.lock`` and is removed at the end.

    Raises
    ------
    FileError
        When a process that runs owns the folder, when the lock file is of another host, whose processes cannot be seen
        from here, and when the folder cannot be written.
    """
    path = folder / NAME
    handle = _locked(path)
    try:
        owner = {"process": os.getpid(), "host": socket.gethostname(), "since": _now()}
        os.ftruncate(handle, 0)
        os.pwrite(handle, (json.dumps(owner) + "\n").encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _locked(path: Path) -> int:
    """Open the lock file and lock it."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        except OSError as error:
            raise FileError(
                f"cannot write {path}: {error.strerror or error}. Choose a folder you may write to."
            ) from error
        try:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise FileError(f"cannot write {path}: it is {kind_of(mode)}, not a file. Remove it.")
            locks = _try_lock(handle, path)
            _check_owner(handle, path, locks)
            # The owner before may have removed the file between the opening and the locking.
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _try_lock(handle: int, path: Path) -> bool:
    """Lock the open file; return whether the file system has locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileError(
            f"{path.parent} is in use by {_described(_owner(handle))}. Wait until it ends, or choose another folder."
        ) from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise FileError(f"cannot lock {path}: {error.strerror or error}. Choose another folder.") from error
        return False
    return True


def _check_owner(handle: int, path: Path, locks: bool) -> None:
    """Refuse a lock file of another host, and without locks of the file system one whose process runs."""
    owner = _owner(handle)
    if owner is None:
        return
    if owner["host"] != socket.gethostname():
        raise FileError(
            f"{path.parent} was in use by {_described(owner)}, which this host cannot check. If that process has "
            f"ended, remove {path}."
        )
    if not locks and owner["process"] != os.getpid() and _runs(owner["process"]):
        raise FileError(f"{path.parent} is in use by {_described(owner)}. Wait until it ends, or remove {path}.")


def _owner(handle: int) -> dict[str, Any] | None:
    """Return the owner that an open lock file names; None for a new file and a damaged one."""
    try:
        owner = json.loads(os.pread(handle, _LARGEST, 0))
        known = isinstance(owner, dict) and isinstance(owner["process"], int) and owner["process"] > 0
        return owner if known and isinstance(owner["host"], str) else None
    except (OSError, ValueError, KeyError, RecursionError):
        return None


def _described(owner: dict[str, Any] | None) -> str:
    if owner is None:
        return "another process"
    return f"process {owner['process']} on {owner['host']} since {owner.get('since', 'an unknown time')}"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
