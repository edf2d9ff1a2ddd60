"""Read tar archives of unknown origin, member by member: sizes are checked before and while data are unpacked."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any, cast

from neurosim.errors import FileError
from neurosim.files.paths import regular_file

LIMIT = 2**30  # bytes of an archive, unpacked
LARGEST = 2**26  # bytes of a member
MEMBERS = 1_000_000
_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}
# What tarfile and the decoders raise on damaged data.
DAMAGE = (
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    MemoryError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
)


def tar_members(
    path: str | os.PathLike[str],
    selects: Callable[[str], bool],
    *,
    limit: int = LIMIT,
    largest: int = LARGEST,
) -> Iterator[tuple[str, bytes]]:
    """Yield the name without folders and the content of each regular member of a tar archive that `selects` chooses.

    Nothing is written to disk. Links, devices and folders in the archive are passed over.

    Parameters
    ----------
    path : path-like
        A tar archive, packed with gzip, bzip2, xz, lzma or not at all.
    selects : callable
        ``selects(name)`` is whether a member of this name is read.
    limit : int
        Largest size in bytes of the unpacked archive.
    largest : int
        Largest size in bytes of a member that is read.

    Raises
    ------
    FileError
        When the archive is missing, no regular file, damaged, or larger than allowed, as a whole or in one member.
    """
    with regular_file(path) as (raw, _), _readable(path), contextlib.closing(unpacked(raw)) as plain:
        stream = cast("IO[bytes]", _Limited(plain, path, limit))
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for number, member in enumerate(archive):
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header it has read
                if number >= MEMBERS:
                    raise FileError(f"{path} has more than {MEMBERS:,} members. It is left unchanged.")
                name = PurePosixPath(member.name).name
                if not (member.isreg() and selects(name)):
                    continue
                # The holes of a sparse member take no place in the archive, so that `limit` would not count them.
                if member.issparse() or member.size > largest:
                    raise FileError(
                        f"{path}: {name} declares {member.size:,} bytes{' with holes' if member.issparse() else ''}; "
                        f"{largest:,} without holes are allowed. The archive is left unchanged."
                    )
                content = archive.extractfile(member)
                assert content is not None  # a regular member has content
                yield name, content.read(largest + 1)
        # The decoder checks its checksum at the end, which tarfile does not reach.
        while stream.read(2**16):
            pass


class _Limited:
    """A stream that refuses to give more than `limit` bytes: a small archive may unpack to any size."""

    def __init__(self, stream: Any, path: str | os.PathLike[str], limit: int) -> None:
        self._stream, self._path, self._limit, self._given = stream, path, limit, 0

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes."""
        chunk: bytes = self._stream.read(size)
        self._given += len(chunk)
        if self._given > self._limit:
            raise FileError(f"{self._path} unpacks to more than {self._limit:,} bytes. It is left unchanged.")
        return chunk


def unpacked(raw: Any) -> Any:
    """Return a stream of the plain bytes of a packed file, which its first bytes tell, or the file itself."""
    head = raw.read(6)
    raw.seek(0)
    opener = next((each for magic, each in _OPENERS.items() if head.startswith(magic)), None)
    return raw if opener is None else opener(raw, "rb")


@contextlib.contextmanager
def _readable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Convert what is raised on a damaged archive to one error."""
    try:
        yield
    except FileError:
        raise
    except DAMAGE as error:
        raise FileError(f"{path} is not a complete tar archive: {error}. It is left unchanged.") from error
