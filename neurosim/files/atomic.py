"""Atomic writes: a file is written beside its place, flushed, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurosim.errors import FileError
from neurosim.files.paths import output_file


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` on leaving without error.

    Parameters
    ----------
    path : path-like
        Path of the finished file. Missing folders are created. Where it is a link, the file that the link points to is
        replaced, and the link stays.

    Yields
    ------
    pathlib.Path
        A new empty file in the same folder, to be written by the caller.

    Raises
    ------
    FileError
        When the path is empty, when it is a folder, a device, a named pipe or a socket, and when the system refuses
        (full disk, no permission). `path` is then unchanged.
    """
    target = output_file(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}. Choose a folder you may write to.") from error
    part = Path(name)
    try:
        yield part
        with open(part, "rb+") as stream:
            os.fsync(stream.fileno())
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, target)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        kept = "the earlier file is untouched" if target.exists() else "nothing was left behind"
        raise FileError(
            f"cannot write {path}: {error.strerror or error}; {kept}. Free some space or choose another folder."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def json_text(content: Any, path: str | os.PathLike[str] | None = None) -> str:
    """Return plain values as JSON text, and write it to `path` if given, completely or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if path is not None:
        with replaced(path) as part:
            part.write_text(text, encoding="utf-8")
    return text


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
