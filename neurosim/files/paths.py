"""Check paths at the door: outputs never replace devices or links, and input is read from regular files alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from neurosim.errors import FileError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def output_file(path: str | os.PathLike[str]) -> Path:
    """Return the path that a file is written to: links are resolved, and only a regular file may be replaced.

    Parameters
    ----------
    path : path-like
        As the user gave it.

    Returns
    -------
    pathlib.Path
        Absolute. Where `path` is a link, the file that it points to.

    Raises
    ------
    FileError
        For an empty path, for what is no path, and for what exists and is no regular file: a folder, a device, a named
        pipe, a socket.
    """
    target = _resolved(path, "file")
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return target
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}. Choose a folder you may write to.") from error
    if not stat.S_ISREG(mode):
        raise FileError(f"cannot write {path}: it is {kind_of(mode)}, not a file. Give the name of a file.")
    return target


def output_folder(path: str | os.PathLike[str]) -> Path:
    """Create the folder that files are written to, if it is missing; return its path, as given.

    Raises
    ------
    FileError
        For an empty path, for what exists and is no folder, and where the system refuses.
    """
    _resolved(path, "folder")
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        kind = kind_of(folder.stat().st_mode) if folder.exists() else "a link that leads nowhere"
        raise FileError(f"cannot write to {path}: it is {kind}, not a folder. Give the name of a folder.") from error
    except OSError as error:
        raise FileError(
            f"cannot create the folder {path}: {error.strerror or error}. Choose a folder you may write to."
        ) from error
    return folder


@contextmanager
def regular_file(path: str | os.PathLike[str], *, limit: int | None = None) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file for reading; nothing is read from a device, and a named pipe cannot block.

    Parameters
    ----------
    path : path-like
        The file.
    limit : int, optional
        The largest allowed size in bytes.

    Yields
    ------
    stream : binary file
        At the first byte.
    size : int
        Size in bytes.

    Raises
    ------
    FileError
        When there is no such file, it is no regular file, it is larger than `limit`, or it cannot be read.
    """
    _text(path)
    try:
        # The kind is checked before the file is opened, since opening can act on a device, and after it, since the path
        # may lead to another file by then.
        mode = os.stat(path).st_mode
        stream = None if not stat.S_ISREG(mode) else os.fdopen(os.open(path, _FLAGS), "rb")
    except FileNotFoundError as error:
        raise FileError(f"cannot read {path}: there is no such file. Check the path.") from error
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}. Check the path.") from error
    except ValueError as error:
        raise FileError(f"cannot read {str(path)!r}: {error}. Check the path.") from error
    if stream is None:
        raise FileError(f"cannot read {path}: it is {kind_of(mode)}, not a file. Give the name of a file.")
    with stream:
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise FileError(f"cannot read {path}: it is {kind_of(about.st_mode)}, not a file. Check the path.")
        if limit is not None and about.st_size > limit:
            raise FileError(f"{path} is {about.st_size:,} bytes long; {limit:,} are allowed. It is left unchanged.")
        yield stream, about.st_size


def contents(path: str | os.PathLike[str], *, limit: int) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes.

    Raises
    ------
    FileError
        As `regular_file`.
    """
    with regular_file(path, limit=limit) as (stream, _):
        try:
            content = stream.read(limit + 1)
        except OSError as error:
            raise FileError(f"cannot read {path}: {error.strerror or error}. Check the path.") from error
    if len(content) > limit:
        raise FileError(f"{path} grows while it is read, beyond {limit:,} bytes. It is left unchanged.")
    return content


def kind_of(mode: int) -> str:
    """Return the name of a kind of file that is not regular, by its mode."""
    return next((name for test, name in _KINDS if test(mode)), "no regular file")


# Without O_NONBLOCK, opening a named pipe waits for its writer.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def _text(path: str | os.PathLike[str]) -> str:
    """Return a path as text; a number would be taken for an open file."""
    try:
        return os.fspath(path)
    except TypeError as error:
        raise FileError(f"a path is a text or a pathlib.Path; got {path!r}.") from error


def _resolved(path: str | os.PathLike[str], kind: str) -> Path:
    text = _text(path)
    if not text:
        raise FileError(f"the path of an output is empty. Give the name of a {kind}.")
    try:
        return Path(os.path.realpath(text))
    except (OSError, ValueError) as error:
        raise FileError(f"cannot write {text!r}: {error}. Give the name of a {kind}.") from error
